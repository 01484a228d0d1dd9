"""The benchmark in pictures, by matplotlib."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from gmb_ner.benchmark.benchmark import Outcome, results_by_row, sample_note
from gmb_ner.benchmark.prediction_speed import Timings
from gmb_ner.benchmark.row import Row
from gmb_ner.benchmark.systems import DEFAULT, SYSTEMS
from gmb_ner.files import atomic_path
from gmb_ner.report.pictures import BLUE, GREEN, ORANGE

Results: TypeAlias = dict[Row, dict[str, Any]]
Axes: TypeAlias = Any

GREY = "#777777"
LINES = (BLUE, ORANGE, GREEN, "#cc79a7", "#d55e00", "#56b4e9")


def plot_all(outcomes: Sequence[Outcome], folder: Path) -> list[Path]:
    """Draw what the figures at hand allow into PNG files; returns them.

    scores: strict F1 with its interval; speed: F1 by words a second; labels: F1 by label; forms:
    names that the training part has and has not; reliability: precision by confidence; learning:
    F1 by share of the training part.
    """
    results = results_by_row(outcomes)
    whole = {row: result for row, result in results.items() if row.part == 1 and row.seed == 0}
    written = []
    for protocol in dict.fromkeys(row.protocol for row in whole):
        own = {row: result for row, result in whole.items() if row.protocol == protocol}
        said = f"{protocol}, test part{sample_note(own.values())}"
        drawings = (_scores, _speed, _labels, _forms, _reliability)
        for draw in drawings:
            path = folder / f"{draw.__name__[1:]}-{protocol}.png"
            written.append(_drawn(draw, own, path, said))
        parts = {row: r for row, r in results.items() if row.protocol == protocol}
        if any(row.part > 1 for row in parts):
            path = folder / f"learning-{protocol}.png"
            written.append(_drawn(_learning, parts, path, said))
    return written


def _drawn(
    draw: Callable[[Axes, Results], None], own: Results, path: Path, title: str, *, rows: int = 0
) -> Path:
    # Not pyplot, which keeps figures and looks for a screen.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = len(own) if draw in (_scores, _speed, _labels, _forms) else rows
    figure = Figure(figsize=(9, 1.6 + 0.42 * rows if rows else 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    draw(axes, own)
    said = axes.get_title()
    axes.set_title("")
    axes.set_title(f"{said} ({title})", loc="left", fontsize=11)
    with atomic_path(path) as part:
        figure.savefig(part, format="png", dpi=144)
    return path


def plot_speeds(
    timings: Mapping[str, Timings], kinds: Sequence[int], batch_size: int, path: Path
) -> Path:
    """Draw words a second of pipelines, for texts of so many sentences, in batches of one size."""

    from matplotlib.ticker import LogLocator, StrMethodFormatter

    names = list(timings)[::-1]

    def draw(axes: Axes, _: Results) -> None:
        for color, marker, n in zip(LINES, "osD^v", kinds, strict=False):
            speeds = [timings[name].speed(n, batch_size) for name in names]
            label = f"texts of {n} sentence{'s' if n > 1 else ''}"
            axes.plot(speeds, range(len(names)), marker, color=color, label=label)
        for place, name in enumerate(names):
            fastest = max(timings[name].speed(n, batch_size) for n in kinds)
            axes.annotate(f"{fastest:,.0f}", (fastest, place), xytext=(8, 0),
                          textcoords="offset points", va="center", fontsize=8)  # fmt: skip
        axes.set_yticks(range(len(names)), names)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.minorticks_off()
        axes.margins(x=0.12)
        axes.grid(True, axis="x", color="#dddddd")
        axes.set_xlabel("words a second from raw text")
        axes.legend(loc="upper right", frameon=False)
        axes.set_title("Speed of prediction")

    return _drawn(draw, {}, path, f"batches of {batch_size}", rows=len(timings))


def _title(system: str) -> str:
    return SYSTEMS[system].title.replace("`", "")  # which is Markdown


def _by_score(own: Results) -> list[tuple[Row, dict[str, Any]]]:
    return sorted(own.items(), key=lambda item: item[1]["gold_tokens"]["ents_f"])


def _scores(axes: Axes, own: Results) -> None:
    for height, (row, result) in enumerate(_by_score(own)):
        f1 = 100 * result["gold_tokens"]["ents_f"]
        low, high = (100 * end for end in result["interval95"])
        color = BLUE if row.system == DEFAULT else GREY
        axes.barh(height, f1, color=color, height=0.6)
        axes.plot([low, high], [height, height], color="black", linewidth=1.5)
        axes.text(high + 1, height, f"{f1:.1f}", va="center")
    axes.set_yticks(range(len(own)), [_title(row.system) for row, _ in _by_score(own)])
    axes.set_xlim(0, 100)
    axes.set_xlabel("strict entity F1, with its 95 % interval")
    axes.set_title("How well each system finds entities")


def _speed(axes: Axes, own: Results) -> None:
    """A row a system, the best below the title: many are as good and as fast as each other."""
    ordered = _by_score(own)
    for height, (row, result) in enumerate(ordered):
        speed = result["prediction"]["words_per_second"]
        axes.scatter(speed, height, color=BLUE if row.system == DEFAULT else GREY, zorder=3)
        axes.annotate(f"{speed:,.0f}", (speed, height), xytext=(8, -4), textcoords="offset points")
    titles = [f"{_title(row.system)}, {100 * r['gold_tokens']['ents_f']:.1f}" for row, r in ordered]
    axes.set_yticks(range(len(ordered)), titles)
    axes.set_xscale("log")
    axes.margins(x=0.2)
    axes.grid(True, axis="x", color="#dddddd")
    axes.set_xlabel("words a second from raw text, when it was scored")
    axes.set_title("Speed, systems in the order of their strict F1")


def _labels(axes: Axes, own: Results) -> None:
    ordered = _by_score(own)[::-1]
    per_type = [result["gold_tokens"]["ents_per_type"] for _, result in ordered]
    names = sorted(per_type[0], key=lambda name: -per_type[0][name]["support"])
    values = [
        [100 * found[name]["f"] if name in found else 0 for name in names] for found in per_type
    ]
    axes.imshow(values, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    for y, line in enumerate(values):
        for x, value in enumerate(line):
            axes.text(x, y, f"{value:.0f}", ha="center", va="center",
                      color="white" if value > 60 else "black")  # fmt: skip
    labels = [f"{name}\n{per_type[0][name]['support']:,}" for name in names]
    axes.set_xticks(range(len(names)), labels)
    axes.set_yticks(range(len(ordered)), [_title(row.system) for row, _ in ordered])
    axes.set_title("Strict F1 by label and its number of entities")


def _forms(axes: Axes, own: Results) -> None:
    ordered = _by_score(own)
    for height, (_, result) in enumerate(ordered):
        seen, unseen = (100 * result["forms"][kind]["f"] for kind in ("seen", "unseen"))
        axes.plot([unseen, seen], [height, height], color="#bbbbbb", zorder=1)
        axes.scatter(seen, height, color=BLUE, zorder=2, label="" if height else "seen in training")
        axes.scatter(unseen, height, color=ORANGE, zorder=2, label="" if height else "not seen")
    axes.set_yticks(range(len(ordered)), [_title(row.system) for row, _ in ordered])
    axes.set_xlim(0, 100)
    axes.grid(True, axis="x", color="#dddddd")
    axes.set_xlabel("strict entity F1")
    axes.legend(loc="upper left", frameon=False)
    axes.set_title("Names that training has seen, and others")


def _reliability(axes: Axes, own: Results) -> None:
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1)
    calibrated = [(row, r) for row, r in _by_score(own)[::-1] if r["calibration"]]
    for color, (row, result) in zip(LINES, calibrated, strict=False):
        bins = [bin_ for bin_ in result["calibration"]["reliability"] if bin_["count"]]
        axes.plot(
            [bin_["mean_confidence"] for bin_ in bins],
            [bin_["precision"] for bin_ in bins],
            marker="o", color=color,
            label=f"{_title(row.system)}: ECE {result['calibration']['ece']:.3f}",
        )  # fmt: skip
    axes.set_xlabel("mean confidence of predicted entities")
    axes.set_ylabel("precision")
    axes.legend(loc="upper left", frameon=False)
    axes.set_title("What confidences are worth: on the dashed line they say what is so")


def _learning(axes: Axes, own: Results) -> None:
    systems = dict.fromkeys(row.system for row in own if row.part > 1)
    for color, system in zip(LINES, systems, strict=False):
        found = sorted(
            (1 / row.part, 100 * result["gold_tokens"]["ents_f"])
            for row, result in own.items()
            if row.system == system and row.seed == 0
        )
        axes.plot(*zip(*found, strict=True), marker="o", color=color, label=_title(system))
        for share, f1 in found:
            axes.annotate(f"{f1:.1f}", (share, f1), xytext=(0, 6), textcoords="offset points",
                          ha="center", fontsize=8)  # fmt: skip
    shares = sorted({1 / row.part for row in own if row.system in systems})
    axes.set_xscale("log")
    axes.set_xticks(shares, [f"1/{round(1 / share)}" if share < 1 else "all" for share in shares])
    axes.minorticks_off()
    axes.grid(True, color="#dddddd")
    axes.set_xlabel("share of the training part")
    axes.set_ylabel("strict entity F1")
    axes.legend(loc="lower right", frameon=False)
    axes.set_title("What more training text brings")
