"""Systems of others beside zoobench's own models, and what the harness costs, as Markdown."""

from __future__ import annotations

from pathlib import Path

from ..benchmarks.metrics import METRICS
from ..datasets.support.errors import UserError
from .peers import FOLDER, HARNESS, Harness, Kept, Line, kept_lines, own_lines
from .sheets import pipes
from .tables import MISSING, Column, short_figure

_COMMAND = "python tests/performance/peers.py"
_NOTES = (
    "Own: by the decisions that a peer makes itself; policy: by thresholds that the harness chose on the validation "
    "fold. A peer's two stand side by side, and the higher one counts.",
    "Nothing of a peer is tuned, and none was given a test target. Zoobench's model is the one that is best on the "
    "validation fold, not on test.",
    "Fit s: from texts to fitted model, imports apart. Wall s: the whole process, of zoobench the cell. GB: resident "
    "at the peak, libraries included.",
    f"`{_COMMAND} --keep DIR` measures it, into `DIR/{FOLDER}/`.",
)


def peers_markdown(results: Path) -> str:
    """Return each task's peers beside zoobench's own, and the price of the harness.

    Raises
    ------
    UserError
        If nothing is kept in the results folder, or a file there cannot be read.
    """
    tasks, harness = kept_lines(results), results / FOLDER / HARNESS
    if not tasks and not harness.exists():
        raise UserError(f"{results / FOLDER} holds no peer's line: run {_COMMAND} --keep {results} first")
    parts = [_table(task, lines, results) for task, lines in tasks.items()]
    told = [_price(Harness.read(harness))] if harness.exists() else []
    return "\n\n".join([*parts, "\n".join(f"- {line}" for line in [*told, *_NOTES])]) + "\n"


def _table(task: str, kept: list[Kept], results: Path) -> str:
    cells = list(kept[0].rows.records(results, task))
    ours = own_lines(cells) if cells else []
    peers = sorted((each.line for each in kept), key=lambda line: -line.best.value)
    lines, metric = [*ours, *peers], METRICS[peers[0].metric].title
    columns = [
        Column("who", "Who", [line.who for line in lines], right=False),
        Column("own", f"{metric}, own", [line.own.text if line.own else MISSING for line in lines], right=False),
        Column("policy", f"{metric}, policy", [line.policy.text for line in lines], right=False),
        Column("f1_macro", "F1 macro", [f"{line.best.f1_macro:.3f}" for line in lines]),
        Column("f1_micro", "F1 micro", [f"{line.best.f1_micro:.3f}" for line in lines]),
        Column("fit_s", "Fit s", [short_figure(line.fit_s) for line in lines]),
        Column("wall_s", "Wall s", [short_figure(line.wall_s) for line in lines]),
        Column("peak_gb", "GB", [short_figure(line.peak_gb) for line in lines]),
    ]
    return f"### {task}\n\n{pipes(columns)}\n\n- {_margin(ours, peers)} {_conditions(kept)}"


def _margin(ours: list[Line], peers: list[Line]) -> str:
    best = peers[0]
    if not ours:
        return f"No model of zoobench has a record of these rows; the best peer is {best.who}."
    margin = 100 * (ours[0].policy.value - best.best.value)
    against = f"{best.who}'s {best.best.value:.3f}, the best of its {len(peers)} peers"
    return f"{ours[0].who}: {ours[0].policy.value:.3f}, {margin:+.1f} points against {against}."


def _conditions(kept: list[Kept]) -> str:
    places = ", ".join(sorted({each.hardware for each in kept}))
    threads = ", ".join(_threads(count) for count in sorted({each.threads for each in kept}))
    return f"On {places}; {threads}; load at most {max(each.load for each in kept):.1f} as a peer began."


def _price(harness: Harness) -> str:
    low, high = min(harness.ratios), max(harness.ratios)
    turns, threads = len(harness.ratios), _threads(harness.threads)
    return (
        f"What the harness costs: one `zoobench run` of the plain script's pipeline on {len(harness.tasks)} tasks "
        f"takes {harness.ratio:.2f} times as long as the scripts, a process a task (median of {turns} turns of "
        f"{low:.2f} to {high:.2f}; {threads}; {harness.hardware})."
    )


def _threads(count: int) -> str:
    return "one thread" if count == 1 else f"{count} threads"
