"""Measure zoobench beside systems of others on the same folds: python tests/performance/peers.py [--only a|b].

a  Each peer is given the texts of a task's folds and the targets of train and validation, and fits as it comes: a
   plain scikit-learn script (`plain`), linear methods and KimCNN of LibMultiLabel, AutoGluon's table predictor. Each
   has a process of its own and an environment of its own, with pinned versions, in zoobench's cache; test targets stay
   here, where its answers are scored as any cell's. "Own" are the decisions that the peer makes itself, "policy" those
   of the harness's thresholds, chosen on its validation scores. Beside them: zoobench's recorded model that is best on
   the validation fold (of --results, and of --model, which are run here), and `tfidf-logreg` as it comes.
   The figure: the test score of that model less the peer's, by whichever decisions the peer scores higher, in points.
b  What the harness costs: the pipeline of `plain` as that script, in a process a task, imports, reading, fit and
   predictions of validation and test included; and as cells of `tfidf-logreg` with the same settings in one
   `zoobench run` of all tasks, everything from its start to its end included: predictions of train as well, latency,
   scores, intervals, records. Prepared data and the measure of the machine are there before, as the script's folds are.
   Whole processes in turns, either first by turns, with as many threads; the figure is the median ratio. The lines of
   single tasks hold the cell's wall time against the script's process; they are no targets.

What a peer did is kept as it comes, a file a task x peer in --keep: the same command goes on where it stopped, and a
peer with other versions, limits, data or folds runs anew. Fit seconds are those of texts to fitted model, imports
apart; wall those of the process; GB the most that it had in memory. `MISSED` marks what is not reached, and the exit
status is then 1, as where a peer failed. Tasks need the published files (ZOOBENCH_DATA); LibMultiLabel's linear methods
take all cores, whatever --threads says.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from figures import Figure, head, show
from peer_environments import EXCHANGE, PEERS, Peer, environment, in_threads, run
from peer_scores import ANSWERS, Asked
from zoobench.benchmarks.hardware import cores, measure
from zoobench.benchmarks.options import load_plugin
from zoobench.benchmarks.store import PROBABILITIES, read_record
from zoobench.datasets.own import registered
from zoobench.datasets.support.errors import UnavailableError, UserError, unknown_name
from zoobench.datasets.support.files import read_json, sha256_file, sha256_json, write_json
from zoobench.datasets.support.folders import cache_root
from zoobench.datasets.support.progress import tracked
from zoobench.leaderboard.peers import FOLDER, HARNESS, Line, own_lines

TASKS = ("openi-reports", "biomedical-abstracts", "litcoin-relations", "movie-genres", "medical-abstracts")
RESULTS = Path(__file__).parents[2] / "leaderboard" / "results"
MOST, SAME = 1.15, 1e-3
"""Cost of the harness over the plain script, at most; mean difference of their probabilities, at most."""
TABLE = """\
| who | own [95 %] | policy [95 %] | F1 macro own, policy | F1 micro own, policy | fit s | wall s | GB |
|---|---|---|---|---|---:|---:|---:|"""
AS_PLAIN = {
    **{"ngrams": 1, "min_df": 1, "shortest": 2, "sublinear_tf": "false", "pair": "false"},
    **{"C": 1, "balanced": "false", "solver": "lbfgs"},
}
"""`tfidf-logreg` set to what scikit-learn's TfidfVectorizer and LogisticRegression do as they come."""


def zoobench(given: argparse.Namespace, results: Path, tasks: Sequence[Asked], *words: str) -> float:
    """Run cells into `results`; return the seconds of the whole command."""
    named = [word for asked in tasks for word in ("--task", asked.name)]
    plugins = [word for path in given.plugin for word in ("--plugin", str(path.absolute()))]
    places = ["--results", str(results), "--threads", str(given.threads), "--device", "cpu"]
    command = [sys.executable, "-m", "zoobench.leaderboard.cli", "run", *named, *places, *plugins, *words]
    start = time.perf_counter()
    done = subprocess.run(
        command, env={**os.environ, **in_threads(given.threads)}, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(
            f"{' '.join(command)} ended with {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    return seconds


def ask(given: argparse.Namespace, asked: Asked, peer: Peer) -> Line:
    """Return a peer's line on a task: the kept one where nothing has changed, or that of a run.

    Raises
    ------
    UnavailableError
        If it cannot be installed here, or came to no answer.
    UserError
        If it answered what is no probability.
    """
    words = [word.format(epochs=given.epochs, seconds=given.seconds) for word in peer.words]
    rows = asdict(asked.rows)
    parts: dict[str, Any] = {"data": [*rows.values()], "pins": peer.pins, "words": words}
    parts |= {"programs": [sha256_file(path) for path in (peer.path, EXCHANGE)]}
    key = sha256_json({**parts, "threads": given.threads, "here": given.here})
    kept = given.keep / FOLDER / asked.name / f"{peer.name}.json"
    with contextlib.suppress(OSError, ValueError):
        if (found := read_json(kept))["key"] == key:
            return Line.read(found["line"])
    python = Path(sys.executable) if given.here else environment(peer)
    with tempfile.TemporaryDirectory(prefix="zoobench.peers.") as name:
        folder, load = Path(name), os.getloadavg()[0]
        asked.lay_out(folder)
        ran = run([python, peer.path, folder, *words], folder, given.threads, given.timeout)
        if ran.failure or not (folder / ANSWERS).exists():  # lightning ends with status 0 when it is told to stop
            raise UnavailableError(ran.failure or "ended without an answer")
        line = asked.score(peer.name, folder, ran.wall_s)
    pinned = {"pins": peer.pins, "words": words}
    write_json(kept, {"key": key, **circumstances(given), "load": load, **rows, **pinned, "line": asdict(line)})
    return line


def circumstances(given: argparse.Namespace) -> dict[str, Any]:
    """Return when, where and in how many threads something was measured."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"created": now, "hardware": measure("cpu").label, "threads": given.threads}


def beside(given: argparse.Namespace, tasks: Sequence[Asked], peers: Sequence[Peer]) -> Iterator[Figure]:
    """Print the lines of each task as they come, and yield a figure for each peer."""
    for asked in tasks:
        fitting = [peer for peer in peers if asked.card.kind in peer.kinds]
        models = [word for model in given.model for word in ("--model", model)]
        results = given.keep / "results"
        zoobench(given, results, [asked], *models)
        ours = own_lines(asked.recorded([results, *given.results]))
        print(f"\n### {asked.name}: {ours[0].metric}, {asked.prepared.rows['test']:,} test rows\n")
        print(TABLE)
        for line in ours:
            print(row(line), flush=True)
        for peer in tracked(fitting, len(fitting), f"{asked.name}: peers"):
            what = f"a  {asked.name}: points over a peer"
            try:
                line = ask(given, asked, peer)
            except (UnavailableError, UserError) as error:
                print(f"| {peer.name} | {error} | | | | | | |", flush=True)
                yield Figure(what, float("nan"), None, f"{peer.name} is not measured: {error}")
                continue
            print(row(line), flush=True)
            best = ours[0].policy.value
            how = f"{ours[0].who} {best:.3f}, {peer.name} {line.best.value:.3f}"
            yield Figure(what, 100 * (best - line.best.value), 0.0, how)


def row(line: Line) -> str:
    said = (line.own, line.policy)

    def both(name: str) -> str:
        return ", ".join("" if each is None else f"{getattr(each, name):.3f}" for each in said).removeprefix(", ")

    own, costs = line.own.text if line.own else "", f"{line.fit_s:.1f} | {line.wall_s:.1f} | {line.peak_gb:.2f}"
    return f"| {line.who} | {own} | {line.policy.text} | {both('f1_macro')} | {both('f1_micro')} | {costs} |"


def harness(given: argparse.Namespace, tasks: Sequence[Asked]) -> list[Figure]:
    """Run the plain pipeline both ways in turns; return the ratios."""
    settings = [word for name, value in AS_PLAIN.items() for word in ("--set", f"{name}={value}")]
    turns: list[Turn] = []
    with tempfile.TemporaryDirectory(prefix="zoobench.peers.") as name:
        root = Path(name)
        for asked in tasks:
            asked.lay_out(root / "plain" / asked.name)
        if given.only == "b":  # a has prepared the tasks and measured the machine
            zoobench(given, root / "warm", tasks, "--model", "dummy-most-frequent")
        for turn in tracked(range(given.turns), given.turns, "harness: turns"):
            results = root / f"results-{turn}"
            ways: dict[str, Callable[[], Any]] = {
                "plain": lambda: [plainly(given, root / "plain" / asked.name) for asked in tasks],
                "whole": lambda results=results: zoobench(given, results, tasks, "--model", "tfidf-logreg", *settings),
            }
            spent = {way: ways[way]() for way in sorted(ways, reverse=turn % 2 == 1)}
            cells = [cell(results, asked, root / "plain" / asked.name) for asked in tasks]
            turns.append(Turn(spent["plain"], cells, spent["whole"]))
            shutil.rmtree(results)
    write_json(
        given.keep / FOLDER / HARNESS,
        {**circumstances(given), "tasks": [asked.name for asked in tasks], "turns": [turn._asdict() for turn in turns]},
    )
    figures = []
    for number, asked in enumerate(tasks):
        pairs = [(turn.cells[number], turn.plain[number]) for turn in turns]
        figures.append(ratio(f"b  {asked.name}: cell / plain script", pairs))
    pairs = [(turn.whole, sum(turn.plain)) for turn in turns]
    return [*figures, ratio(f"b  zoobench run / plain scripts, {len(tasks)} tasks", pairs, MOST)]


class Turn(NamedTuple):
    """Seconds of one turn: each script's and cell's, and the whole run's."""

    plain: list[float]
    cells: list[float]
    whole: float


def ratio(name: str, pairs: Sequence[tuple[float, float]], most: float | None = None) -> Figure:
    above, below = map(statistics.median, zip(*pairs, strict=True))
    each = [one / other for one, other in pairs]
    how = f"{above:.1f} / {below:.1f} s, turns {' '.join(f'{turn:.2f}' for turn in each)}"
    return Figure(name, statistics.median(each), most, how, at_most=True)


def plainly(given: argparse.Namespace, folder: Path) -> float:
    """Return the seconds of the plain script, in this Python: the same libraries as the harness has."""
    ran = run([sys.executable, PEERS["plain"].path, folder], folder, given.threads, given.timeout)
    if ran.failure:
        raise SystemExit(f"the plain script {ran.failure}")
    return ran.wall_s


def cell(results: Path, asked: Asked, folder: Path) -> float:
    """Return the seconds of the cell as the harness saw it; stop where it and the script answered different things."""
    import pandas as pd

    [path] = (results / "cells" / asked.name).glob("*/*/record.json")
    record = read_record(path)
    stored = pd.read_parquet(path.parent / record.attempt / PROBABILITIES).query("fold == 'test'").filter(regex="^p:")
    with np.load(folder / ANSWERS, allow_pickle=False) as kept:
        plain = kept["test"]
    if stored.shape != plain.shape or np.abs(stored.to_numpy() - plain).mean() > SAME:
        raise SystemExit(f"{asked.name}: the plain script and zoobench answer different probabilities: no figure")
    return record.timings.wall


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices="ab", help="one of the two")
    parser.add_argument("--task", action="append", help=f"[{', '.join(TASKS)}]")
    parser.add_argument("--peer", action="append", help=f"[{', '.join(PEERS)}]")
    parser.add_argument("--model", action="append", help="of zoobench, run beside the peers [tfidf-logreg]")
    parser.add_argument(
        "--results", action="append", type=Path, help="records to choose zoobench's best from; repeatable"
    )
    parser.add_argument("--keep", type=Path, help="where answers' scores and records stay [a folder of the cache]")
    parser.add_argument("--threads", type=int, help="of each process [a: all cores, b: 1]")
    parser.add_argument("--turns", type=int, default=3, help="of b")
    parser.add_argument("--epochs", type=int, default=10, help="of KimCNN at most [10; 50 in its example]")
    parser.add_argument("--seconds", type=int, default=300, help="of AutoGluon's fits on a task")
    parser.add_argument("--timeout", type=float, default=3600, help="seconds of a peer's process")
    parser.add_argument("--plugin", action="append", type=Path, default=[], help="Python file that adds tasks")
    parser.add_argument("--here", action="store_true", help="peers run in this Python, to try the script out")
    return parser.parse_args()


def checked(given: argparse.Namespace) -> tuple[list[Asked], list[Peer]]:
    """Settle what the options leave open and refuse names that nothing answers to."""
    for path in given.plugin:
        load_plugin(path)
    for name in given.peer or []:
        if name not in PEERS:
            raise unknown_name("peer", name, PEERS)
    for name in ("turns", "epochs", "seconds", "timeout"):
        if getattr(given, name) <= 0:
            raise UserError(f"--{name} {getattr(given, name):g}: give a number above 0")
    given.keep = (given.keep or cache_root() / "peers" / "kept").absolute()
    given.model = given.model or ["tfidf-logreg"]
    given.results = given.results or [RESULTS]
    names = list(map(registered, given.task or TASKS))
    return [Asked.of(name) for name in names], [PEERS[name] for name in given.peer or PEERS]


def main() -> int:
    given = options()
    head(" ".join(["python tests/performance/peers.py", *sys.argv[1:]]))
    print(f"{cores()} cores, load {os.getloadavg()[0]:.1f} at the start")
    figures: list[Figure] = []
    named = given.threads
    try:
        tasks, peers = checked(given)
        given.threads = named or cores()
        figures += beside(given, tasks, peers) if given.only != "b" else []
        given.threads = named or 1
        figures += harness(given, tasks) if given.only != "a" else []
    except (UserError, UnavailableError) as error:
        print(error, file=sys.stderr)
        return 2
    print()
    for figure in figures:
        show(figure)
    return int(any(figure.missed or np.isnan(figure.reached) for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
