"""The published numbers beside ours, and what three leaks are worth, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..benchmarks.metrics import METRICS
from .leaks import SPLITS, TUNED, Split, SplitGap, ThresholdGap, split_gaps, threshold_gap
from .originals import COUNTS, TRAINING, Original, originals
from .reproduction import NOT_RUN, Boards, Gap, Line, Reproduced, reproduce
from .sheets import pipes
from .tables import MISSING, Column, Row, short_figure

STANDS_IN, WITHIN = "°", "="
_NOTES = (
    f"{STANDS_IN} another model stands in the original's place, as its name says. Why the original's own has no figure "
    "stands below its table, with the command that fills it.",
    f"{WITHIN} theirs lies within our 95 % interval (bootstrap of the test rows). No interval: a measure, or a "
    "threshold policy, that records keep no resamples of.",
    "Fit s: features of the training and validation rows, tuning and fit. Seconds and counts of rows are of other "
    "machines and folds than the originals': they stand side by side, and no difference is drawn.",
)


def reproduction_markdown(results: Path) -> str:
    """Return every table of the originals beside ours; raises as `frame.load_board` does."""
    boards = Boards(results)
    tables, left_out = originals()
    found = [reproduce(boards, table) for table in tables]
    parts = [_table(each) for each in found]
    places = sorted({line.hardware for each in found for line in each.lines if line.hardware})
    hardware = [f"Hardware: {', '.join(places)}."] if places else []
    notes = [*_NOTES, *hardware, *(f"Not above, of system {each.system}: {each.what}." for each in left_out)]
    return "\n\n".join([*parts, _bullets(notes)]) + "\n"


def _table(found: Reproduced) -> str:
    original = found.original
    decided = "the most probable class" if original.policy == "argmax" else f"thresholds `{original.policy}`"
    lead = f"From: {original.where}. Ours: `{original.task}`, {decided}. {original.differs}"
    table = pipes(_columns(original, found.lines))
    if any(entry.label for entry in original.entries):
        table = f"<details><summary>By label: {len(found.lines)} figures</summary>\n\n{table}\n\n</details>"
    parts = [f"### {original.title}", lead, table, _bullets(_below(found))]
    return "\n\n".join(filter(None, parts))


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _below(found: Reproduced) -> list[str]:
    """Return the best row here, and the commands that fill what is missing."""
    lines = []
    if found.best is not None:
        best = found.best
        title = METRICS[best.reading.measure].title
        told = f"{_ours(best)} by `{best.by}`, which fits in {_seconds(best)} s"
        lines.append(f"The best here by {title}: {told}; the best of theirs is {best.theirs}.")
    lines += [f"{gap.missing.capitalize()}; this fills it{_hub(gap)}: `{gap.command}`" for gap in found.gaps]
    return lines


def _hub(gap: Gap) -> str:
    """Say what has to be had first."""
    if gap.encoders:
        names = ", ".join(f"`{name}`" for name in gap.encoders)
        return f", where a hub gives {names} (or with `--set encoder=FOLDER` that holds it)"
    if gap.downloads:
        return (
            f", where the weights `{gap.downloads[0]}` can be downloaded (or with `--set weights=none`, from scratch)"
        )
    return ""


def _columns(original: Original, lines: Sequence[Line]) -> list[Column]:
    measures = [_measure(original, line) for line in lines]
    columns = [
        Column("name", "Result", [line.name for line in lines], right=False),
        Column("measure", "Measure", measures, right=False),
        Column("theirs", "Theirs", [str(line.theirs) for line in lines]),
        Column("ours", "Ours", [_ours(line) for line in lines], right=False),
        Column("difference", "Ours - theirs", [_difference(line) for line in lines]),
        Column(
            "model",
            "By",
            [line.by + (f" {STANDS_IN}" if line.missing and line.by else "") for line in lines],
            right=False,
        ),
        Column("fit_s", "Fit s", [_seconds(line) for line in lines]),
    ]
    empty = {"model": {""}, "fit_s": {MISSING}, "difference": {MISSING}}
    return [column for column in columns if set(column.cells) != empty.get(column.name, {""})]


def _measure(original: Original, line: Line) -> str:
    reading = line.reading
    lower = METRICS[reading.measure.removeprefix(TRAINING)].higher_is_better is False if _is_metric(line) else False
    where = "" if reading.task == original.task else f", {reading.task}"
    return reading.title + (" (-)" if lower else "") + where


def _is_metric(line: Line) -> bool:
    return line.reading.measure.removeprefix(TRAINING) in METRICS


def _ours(line: Line) -> str:
    if line.ours is None:
        return line.missing
    if line.reading.measure in COUNTS:
        return short_figure(line.ours) if line.reading.measure == "fit_s" else f"{line.ours:.0f}"
    bounds = "" if line.low is None else f" [{line.low:.3f}, {line.high:.3f}]"
    return f"{line.ours:.3f}{bounds}"


def _difference(line: Line) -> str:
    return MISSING if line.difference is None else f"{line.difference:+.3f}" + (f" {WITHIN}" if line.within else "")


def _seconds(line: Line) -> str:
    return MISSING if line.fit_s is None else short_figure(line.fit_s)


def leaks_markdown(results: Path) -> str:
    """Return what the three leaks are worth; raises as `frame.load_board` does."""
    boards = Boards(results)
    parts = [_split(boards, split) for split in SPLITS]
    gaps = [threshold_gap(boards, tuned) for tuned in TUNED]
    return "\n\n".join([*parts, _thresholds(gaps)]) + "\n"


def _split(boards: Boards, split: Split) -> str:
    gaps = split_gaps(boards, split)
    heading = f"### {split.title}"
    if not gaps:
        return (
            f"{heading}\n\n{NOT_RUN.capitalize()}: no model has records of both `{split.leaky}` and `{split.honest}`."
        )
    title = METRICS[split.metric].title
    columns = [
        Column("model", "Model", [gap.name for gap in gaps], right=False),
        Column("leaky", f"{title}, {split.leaky}", [_figure(gap.leaky) for gap in gaps], right=False),
        Column("honest", f"{title}, {split.honest}", [_figure(gap.honest) for gap in gaps], right=False),
        Column("gap", "Difference", [f"{gap.gap:+.3f}" for gap in gaps]),
    ]
    return f"{heading}\n\n{pipes(columns)}\n\n- {_told(gaps)}"


def _told(gaps: Sequence[SplitGap]) -> str:
    apart = [gap for gap in gaps if _overlap(gap) is False]
    rows = f"{gaps[0].leaky['test_rows']} and {gaps[0].honest['test_rows']} test rows"
    return (
        f"The best of each family by the honest split, on {rows}. Of {len(gaps)}, the intervals of {len(apart)} do not "
        "overlap; the two test folds are other rows, so the differences have none of their own."
    )


def _overlap(gap: SplitGap) -> bool | None:
    bounds = [gap.leaky["low"], gap.leaky["high"], gap.honest["low"], gap.honest["high"]]
    return None if None in bounds else bounds[0] <= bounds[3] and bounds[2] <= bounds[1]


def _figure(row: Row) -> str:
    bounds = "" if row["low"] is None else f" [{row['low']:.3f}, {row['high']:.3f}]"
    return f"{row['value']:.3f}{bounds}"


def _thresholds(gaps: Sequence[ThresholdGap]) -> str:
    columns = [
        Column("system", "System", [str(gap.tuned.system) for gap in gaps]),
        Column("way", "Thresholds", [gap.tuned.title for gap in gaps], right=False),
        Column("model", "Model", [gap.by or MISSING for gap in gaps], right=False),
        Column("metric", "Measure", [METRICS[gap.tuned.metric].title for gap in gaps], right=False),
        Column("test", "Chosen on test", [_side(gap, gap.on_test) for gap in gaps]),
        Column("validation", "Chosen on validation", [_side(gap, gap.on_validation) for gap in gaps]),
        Column("gap", "Difference", [_gap(gap) for gap in gaps]),
    ]
    told = (
        "Both score the same stored probabilities of the same test rows. Chosen on test is what the originals' figures "
        "hold, and no score: `score_with_thresholds_chosen_on_the_rows_it_scores` of `leaks.py` computes it for this "
        "table alone."
    )
    return f"### Thresholds chosen on test, or on validation\n\n{pipes(columns)}\n\n- {told}"


def _side(gap: ThresholdGap, value: float | None) -> str:
    return gap.missing if value is None else f"{value:.3f}"


def _gap(gap: ThresholdGap) -> str:
    if gap.on_test is None or gap.on_validation is None:
        return MISSING
    return f"{gap.on_test - gap.on_validation:+.3f}"
