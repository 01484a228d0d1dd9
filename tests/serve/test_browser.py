"""The page in a real browser: type, slide, toggle, rename, drop, and script that stays text."""

import shutil

import pytest

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")

FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
TEXT = "Ada Lin met Kenyan officials in Oslo on Monday."


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, address):
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    wrong = []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: wrong.append("a dialog: script ran"))
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    page.get_by_text("2 entities").or_(page.get_by_text("4 entities")).first.wait_for()
    yield page
    # The browser logs every answer of 4xx itself.
    assert [line for line in wrong if "status of 413" not in line] == []
    assert all(url.startswith((address, "data:")) for url in asked)
    context.close()


def shows(page, *entities):
    """Wait until exactly these are marked."""
    expected = ", ".join(entities)
    page.wait_for_function(
        """expected => Array.from(document.querySelectorAll("#marked mark"))
            .map(mark => mark.firstChild.data + " " + mark.lastChild.textContent)
            .join(", ") === expected""",
        arg=expected,
    )


def test_type_slide_toggle_and_rename(page):
    text = page.get_by_role("textbox", name="Your text")
    text.fill(TEXT)
    shows(page, "Ada Lin per", "Kenyan gpe", "Oslo geo", "Monday tim")
    page.get_by_label("tim").uncheck()
    shows(page, "Ada Lin per", "Kenyan gpe", "Oslo geo")
    page.get_by_label("Confidence").fill("0.8")
    shows(page, "Oslo geo")
    assert page.locator("#threshold-shown").text_content() == "0.80"
    page.get_by_label("Confidence").fill("0")
    page.get_by_label("Names of labels").select_option("conll")
    shows(page, "Ada Lin PER", "Kenyan MISC", "Oslo LOC")
    text.fill("")
    page.get_by_text("Nothing to read yet.").wait_for()
    shows(page)


def test_by_keyboard(page):
    page.get_by_role("button", name="Business").focus()
    page.keyboard.press("Enter")
    shows(page, "Oslo geo")


def test_script_stays_text(page):
    evil = '<img src=x onerror="alert(1)"><script>alert(1)</script> Oslo'
    page.get_by_role("textbox", name="Your text").fill(evil)
    shows(page, "Oslo geo")
    assert page.locator("#marked img, #marked script").count() == 0
    assert evil in page.locator("#marked").text_content()


def test_a_file_is_dropped(page):
    page.evaluate(
        """content => {
            const data = new DataTransfer();
            data.items.add(new File([content], "news.txt", { type: "text/plain" }));
            document.getElementById("text").dispatchEvent(
                new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
        }""",
        "It rains in Nairobi.",
    )
    shows(page, "Nairobi geo")
    assert page.get_by_role("textbox", name="Your text").input_value() == "It rains in Nairobi."


def test_what_is_too_long_is_told(browser, page):
    page.get_by_role("textbox", name="Your text").fill("a" * 3_000)
    page.get_by_text("send at most 2,000 in one").wait_for()
    page.get_by_role("textbox", name="Your text").fill("Oslo")
    shows(page, "Oslo geo")


def test_copy(page):
    page.get_by_role("textbox", name="Your text").fill("Oslo")
    shows(page, "Oslo geo")
    page.get_by_role("button", name="Copy as JSON").click()
    page.get_by_text("Copied.").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert '"label": "geo"' in copied
