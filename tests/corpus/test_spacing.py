"""How tokenised English gets its spaces back: each kind of word, then what holds for all words.

The examples are written as the restored text beside the words, parted by "|". Curly quotes and
dashes are escapes, as they are hard to tell from the plain ones.
"""

import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st

from gmb_ner.corpus.spacing import spaces


def restored(words):
    text = "".join(word + " " * space for word, space in zip(words, spaces(words), strict=True))
    return text.removesuffix(" ")


EXAMPLES = {
    "punctuation": [
        ("Well, she left; nobody knew: why?", "Well|,|she|left|;|nobody|knew|:|why|?"),
        ("Stop! And then... nothing.", "Stop|!|And|then|...|nothing|."),
        ("And then\u2026 nothing.", "And|then|\u2026|nothing|."),
    ],
    "abbreviations": [
        ("Mr. Hill left the U.S. in May.", "Mr.|Hill|left|the|U.S.|in|May|."),
        # Two full stops in a row would be taken for an ellipsis.
        ("He left the U.S. .", "He|left|the|U.S.|."),
    ],
    "brackets": [
        ("The bank (founded here) grew.", "The|bank|(|founded|here|)|grew|."),
        ("They [the owners] sold {it}.", "They|[|the|owners|]|sold|{|it|}|."),
        ("The bank -LRB-founded here-RRB- grew.", "The|bank|-LRB-|founded|here|-RRB-|grew|."),
    ],
    "contractions": [
        ("Anna's dog can't swim.", "Anna|'s|dog|ca|n't|swim|."),
        ("We're sure I'm late, they'll wait.", "We|'re|sure|I|'m|late|,|they|'ll|wait|."),
        ("He'd say you've won.", "He|'d|say|you|'ve|won|."),
        ("It\u2019s what they don\u2019t know.", "It|\u2019s|what|they|do|n\u2019t|know|."),
        ("ANNA'S DOG CAN'T SWIM.", "ANNA|'S|DOG|CA|N'T|SWIM|."),
        ("'Twas late.", "'T|was|late|."),
        ("The Cape d'Or", "The|Cape|d'|Or"),
    ],
    "words cut in two": [
        ("We cannot pay.", "We|can|not|pay|."),
        ("I'm gonna stay, you gotta go.", "I|'m|gon|na|stay|,|you|got|ta|go|."),
        ("Lemme see if you wanna.", "Lem|me|see|if|you|wan|na|."),
        ("We could not pay, nor give me one.", "We|could|not|pay|,|nor|give|me|one|."),
        ("Not me", "Not|me"),
    ],
    "double quotes open and close by turns": [
        ('She said "no" twice.', 'She|said|"|no|"|twice|.'),
        ('"Come in," he said, "and sit."', '"|Come|in|,|"|he|said|,|"|and|sit|.|"'),
        ('The ship ("Swan") sank.', 'The|ship|(|"|Swan|"|)|sank|.'),
        # What one sentence leaves open is closed at the end of another.
        ('He said, "Sit down.', 'He|said|,|"|Sit|down|.'),
        ('Have some tea."', 'Have|some|tea|.|"'),
        ("``Yes,'' he said.", "``|Yes|,|''|he|said|."),
        ("A \u201cred\u201d, a \u2018blue\u2019.", "A|\u201c|red|\u201d|,|a|\u2018|blue|\u2019|."),
    ],
    "a single quote is an apostrophe or a pair": [
        ("the boys' room", "the|boys|'|room"),
        ("the boys' and the girls' rooms", "the|boys|'|and|the|girls|'|rooms"),
        ("Mr. Ruiz' car and Max' bike", "Mr.|Ruiz|'|car|and|Max|'|bike"),
        ("the 'Swan' sank", "the|'|Swan|'|sank"),
        ("'Come in,' he said.", "'|Come|in|,|'|he|said|."),
        ("called the 'Blue Swans'", "called|the|'|Blue|Swans|'"),
        ("\"Who's 'we'?\"", "\"|Who|'s|'|we|'|?|\""),
    ],
    "money": [
        ("It costs $5 or £4.", "It|costs|$|5|or|£|4|."),
        ("Sales of US$5 or \u20ac.50", "Sales|of|US$|5|or|\u20ac|.50"),
        # "US" stays a word of its own.
        ("It costs US $5.", "It|costs|US|$|5|."),
        ("Pay in $ or in #.", "Pay|in|$|or|in|#|."),
        ("from #90 million", "from|#|90|million"),
    ],
    "per cent and degrees": [
        ("5% or 5 percent", "5|%|or|5|percent"),
        ("at 30°C", "at|30|°C"),
        ("the % sign", "the|%|sign"),
    ],
    "hyphens and dashes": [
        ("a well-known man - my uncle - came", "a|well-known|man|-|my|uncle|-|came"),
        ("a man -- my uncle", "a|man|--|my|uncle"),
        ("a man \u2013 my uncle", "a|man|\u2013|my|uncle"),
        ("from 1990-95 to 2001\u20132", "from|1990|-|95|to|2001|\u2013|2"),
        ("in 1990 - my first year", "in|1990|-|my|first|year"),
        ("- said my uncle", "-|said|my|uncle"),
    ],
    "slashes": [("the input/output port", "the|input|/|output|port")],
    "ampersands": [
        ("Hill & Sons", "Hill|&|Sons"),
        ("the R&D team", "the|R|&|D|team"),
        ("Eight & I", "Eight|&|I"),
    ],
}


@pytest.mark.parametrize(
    ("text", "words"),
    [pytest.param(*pair, id=f"{kind}: {pair[0]}") for kind in EXAMPLES for pair in EXAMPLES[kind]],
)
def test_words_are_glued_as_english_is_written(text, words):
    assert restored(words.split("|")) == text


@pytest.mark.parametrize("word", [".", '"', "'", "$", "(", "/", "not", "", " ", "\x00", "\ud800"])
def test_a_sentence_of_one_word_is_followed_by_a_space(word):
    assert spaces([word]) == [True]


def test_no_words_have_no_spaces():
    assert spaces([]) == []


@pytest.mark.parametrize(
    "words",
    [
        "On|Monday|,|Dr.|Anna|Hill|'s|bank|(|HB|)|paid|$|5.5|million|,|or|9|%|.",
        '"|We|ca|n\'t|stay|in|the|U.S.|,|"|said|the|Reds|\'|coach|,|"|so|we|left|.|"',
        "The|city|-|once|rich|-|cannibalised|its|1990|-|95|plans|;|it|can|not|now|!",
        "It|cost|US|$|5|in|Kansas|/|Iowa|[|before|tax|]|.",
    ],
)
def test_the_tokenizer_finds_the_given_words_again(words):
    words = words.split("|")
    assert [token.text for token in spacy.blank("en")(restored(words))] == words


known_words = st.sampled_from(
    [w for kind in EXAMPLES.values() for _, ws in kind for w in ws.split("|")]
)
any_words = st.lists(known_words | st.sampled_from("'\"-.$%&/ \xa0") | st.text(max_size=6))


@given(any_words)
def test_any_words_keep_their_letters_and_order(words):
    follows = spaces(words)
    assert len(follows) == len(words)
    assert all(type(space) is bool for space in follows)
    assert restored(words).replace(" ", "") == "".join(words).replace(" ", "")


@given(any_words.filter(bool))
def test_the_last_word_is_followed_by_a_space(words):
    assert spaces(words)[-1] is True


@given(any_words)
def test_only_the_words_count(words):
    before = tuple(words)
    assert spaces(words) == spaces(before) == spaces(words)
    assert tuple(words) == before


@given(st.lists(st.text("abcdefghijABCDEFGHIJ0123456789", min_size=4)))
def test_plain_words_are_always_apart(words):
    assert restored(words) == " ".join(words)
