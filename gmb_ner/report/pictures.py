"""The plots of the report, by matplotlib, as SVG that takes the colours of the page."""

from collections.abc import Callable, Mapping, Sequence
from io import StringIO
from typing import Any, TypeAlias

Axes: TypeAlias = Any

# Stands for the colour of the page's text until the SVG is written.
INK = "#010203"
# Okabe and Ito's colours, which people with any colour vision can tell apart and which stand out
# from white and from black alike.
BLUE, ORANGE, GREEN = "#0072b2", "#e69f00", "#009e73"


def svg(draw: Callable[[Axes], None], *, title: str, size: tuple[float, float] = (7, 4)) -> str:
    """Draw on one pair of axes; returns an `<svg>` element.

    title: what the picture shows, for those who do not see it. size: in inches.
    """
    # Not pyplot, which keeps figures and looks for a screen.
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    settings: Any = {
        "svg.fonttype": "none",  # text stays text
        "svg.hashsalt": title,  # the same picture has the same ids
        "font.size": 11,
        **dict.fromkeys(
            ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK
        ),
    }
    with rc_context(settings):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        figure.patch.set_alpha(0)
        axes = figure.add_subplot()
        axes.patch.set_alpha(0)
        axes.spines[["top", "right"]].set_visible(False)
        draw(axes)
        written = StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None, "Title": title})
    text = written.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    return text.replace("<svg", '<svg role="img" aria-label="' + title.replace('"', "'") + '"', 1)


def label_counts(parts: Mapping[str, Any], labels: Sequence[str]) -> str:
    """Entities by label and part of the corpus. parts: those of the manifest."""

    def draw(axes: Axes) -> None:
        left = [0.0] * len(labels)
        for color, part in zip((BLUE, GREEN, ORANGE), ("train", "dev", "test"), strict=True):
            counts = [parts[part]["entities"].get(label, 0) for label in labels]
            axes.barh(labels, counts, left=left, color=color, label=part)
            left = [a + b for a, b in zip(left, counts, strict=True)]
        for place, total in enumerate(left):
            axes.text(total, place, f" {total:,.0f}", va="center")
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.set_xlabel("entities")
        axes.legend(frameon=False)

    return svg(draw, title="Entities of the corpus by label and part")


def label_scores(rows: Sequence[Mapping[str, Any]]) -> str:
    """Strict F1 with its interval. rows: label, f, low and high (0..1), earlier or None."""

    def draw(axes: Axes) -> None:
        for place, row in enumerate(rows):
            axes.barh(place, 100 * row["f"], color=BLUE, height=0.6)
            axes.plot([100 * row["low"], 100 * row["high"]], [place, place], color=ORANGE, lw=3)
            if row["earlier"] is not None:
                axes.plot(100 * row["earlier"], place, "D", color=INK, mfc="none")
        axes.set_yticks(range(len(rows)), [f"{row['label']} ({row['support']:,})" for row in rows])
        axes.invert_yaxis()
        axes.set_xlim(0, 100)
        axes.set_xlabel(
            "strict F1 with its 95 % interval"
            + ("; diamonds: the study, by token" if any(row["earlier"] for row in rows) else "")
        )

    return svg(draw, title="Strict F1 by label")


def confusion(table: Mapping[str, Mapping[str, int]]) -> str:
    """A heat map of gold label by predicted label, each row as shares of gold."""
    rows, columns = list(table), list(next(iter(table.values())))

    def draw(axes: Axes) -> None:
        shares = [
            [100 * table[row][column] / max(1, sum(table[row].values())) for column in columns]
            for row in rows
        ]
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=100, aspect="auto")
        for y, line in enumerate(shares):
            for x, share in enumerate(line):
                count = table[rows[y]][columns[x]]
                if count:
                    axes.text(x, y, f"{count:,}", ha="center", va="center", fontsize=9,
                              color="white" if share > 55 else "black")  # fmt: skip
        axes.set_xticks(range(len(columns)), columns)
        axes.set_yticks(range(len(rows)), rows)
        axes.set_xlabel("predicted")
        axes.set_ylabel("gold")
        axes.spines[:].set_visible(False)

    return svg(draw, title="Gold label by predicted label", size=(8, 4.6))


def bars(values: Mapping[str, float], *, title: str, unit: str) -> str:
    """Horizontal bars, in the order given."""

    def draw(axes: Axes) -> None:
        axes.barh(list(values), list(values.values()), color=BLUE, height=0.6)
        for place, value in enumerate(values.values()):
            axes.text(value, place, f" {value:,.0f}" if value == round(value) else f" {value:.1f}",
                      va="center")  # fmt: skip
        axes.invert_yaxis()
        axes.margins(x=0.15)
        axes.set_xlabel(unit)

    return svg(draw, title=title, size=(7, 1 + 0.42 * len(values)))


def reliability(rows: Sequence[Mapping[str, Any]]) -> str:
    """Precision by mean confidence. rows: `reliability` of an evaluation's calibration."""
    filled = [row for row in rows if row["count"]]

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=INK, ls="--", lw=1, label="confidence says what is so")
        confidence = [row["mean_confidence"] for row in filled]
        axes.plot(confidence, [row["precision"] for row in filled], "o-", color=BLUE,
                  label="this pipeline")  # fmt: skip
        axes.set_xlabel("mean confidence")
        axes.set_ylabel("precision")
        axes.legend(frameon=False)

    return svg(draw, title="Precision of entities by their confidence", size=(6, 4))


def thresholds(rows: Sequence[Mapping[str, Any]]) -> str:
    """Precision, recall and F1 by threshold. rows: `thresholds` of an evaluation's calibration."""
    known = [row for row in rows if row["precision"] is not None]

    def draw(axes: Axes) -> None:
        at = [row["threshold"] for row in known]
        kinds = (("precision", BLUE), ("recall", ORANGE), ("f", GREEN))
        for name, color in kinds:
            axes.plot(at, [row[name] for row in known], "o-", color=color,
                      label="F1" if name == "f" else name)  # fmt: skip
        axes.set_xlabel("threshold: entities with less confidence are left out")
        axes.set_ylim(0, 1.02)
        axes.legend(frameon=False, loc="lower left")

    return svg(draw, title="Precision, recall and F1 by threshold", size=(6, 4))


def curve(points: Sequence[tuple[float, float]], *, title: str, unit: str, log: bool) -> str:
    """F1 (0..100) over something, with each point's figure."""

    def draw(axes: Axes) -> None:
        axes.plot(*zip(*points, strict=True), "o-", color=BLUE)
        for x, y in points:
            axes.annotate(f"{y:.1f}", (x, y), xytext=(0, 7), textcoords="offset points",
                          ha="center", fontsize=9)  # fmt: skip
        if log:
            axes.set_xscale("log")
        axes.margins(0.1, 0.15)
        axes.set_xlabel(unit)
        axes.set_ylabel("strict F1")

    return svg(draw, title=title, size=(6, 3.6))
