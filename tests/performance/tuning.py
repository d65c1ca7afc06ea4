"""Measure a study against separate runs: python tests/performance/tuning.py [--trials 30] [--model embedding-mlp].

A study of `--trials` trials by `zoobench run --trials`, and then as many `zoobench run` commands, each of the
configuration of one of those trials, one after another; the embeddings of movie-genres are cached before either
begins. The study has `--jobs` trials side by side, by default as many as `--jobs auto` finds best; a run has as many
threads as one of its trials. Both fit the same configurations with the same seeds, to their ends, so that the best
validation score must be the same; with `--pruner median`, as a study is by default, trials that lag behind are given
up, and it may not be; with `--threads N` the runs have other threads, and it may differ in its last digits.

The lines give how many times faster the study was with the seconds of both, and by how much the best scores differ;
`MISSED` marks what is not reached, and the exit status is then 1. It needs the published files (ZOOBENCH_DATA) and
more than an hour on two cores; with `--keep DIR` what was measured stays there, and the same command goes on.
"""

from __future__ import annotations

import argparse
import csv
import functools
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from figures import Figure, head, show
from zoobench.datasets.support.files import read_json, write_json

TARGET, SAME = 2.0, 1e-4
NO_SETTING = ("trial", "state", "value", "seconds", "reason", "sha256")


@dataclass(frozen=True)
class Kept:
    """Seconds by the name of what took them, in a file: what was measured before is not measured again."""

    file: Path
    subject: str
    """What is measured: the file of another is refused."""

    def seconds(self, name: str, job: Callable[[], float]) -> float:
        taken = read_json(self.file) if self.file.exists() else {"of": self.subject}
        if taken["of"] != self.subject:
            raise SystemExit(f"{self.file} is of {taken['of']}, not of {self.subject}: name another folder")
        if name not in taken:
            print(f"{name} …", file=sys.stderr, flush=True)
            taken[name] = job()
            write_json(self.file, taken)
            print(f"{name}: {taken[name]:.1f} s", file=sys.stderr, flush=True)
        return taken[name]


def zoobench(*words: str | Path) -> float:
    """Run a command in a process of its own and return its seconds."""
    start = time.monotonic()
    command = [sys.executable, "-m", "zoobench.leaderboard.cli", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with status {done.returncode}:\n{done.stderr[-2000:]}")
    return time.monotonic() - start


def zoobench_anew(results: Path, *words: str | Path) -> float:
    """Run a command that begins with no results: a study that was killed would go on, and be timed in part."""
    shutil.rmtree(results, ignore_errors=True)
    return zoobench(*words, "--results", results)


def records(results: Path) -> list[dict[str, object]]:
    return [json.loads(path.read_text()) for path in sorted(results.glob("cells/*/*/*/record.json"))]


def validation(record: dict) -> float:
    return record["validation"][record["policy"]]["values"][record["primary_metric"]]


def measure(common: Sequence[str | Path], options: argparse.Namespace, folder: Path) -> Iterator[Figure]:
    subject = {name: str(value) for name, value in vars(options).items() if name != "keep"}
    kept = Kept(folder / "seconds.json", json.dumps(subject))
    kept.seconds("features and data, for both", lambda: zoobench(*common, "--results", folder / "warm"))
    study, apart = folder / "study", folder / "apart"
    searched = ("--trials", str(options.trials), "--pruner", options.pruner, "--jobs", options.jobs)
    together = kept.seconds("study", lambda: zoobench_anew(study, *common, *searched))
    tuned = next(record for record in records(study) if record["mode"] == "tuned")
    threads = options.threads or tuned["threads"]
    [path] = study.glob("cells/*/*/*/*/trials.csv")
    rows = list(csv.DictReader(path.open()))
    separate = 0.0
    for number, row in enumerate(rows, start=1):
        settings = [f"{name}={value}" for name, value in row.items() if name not in NO_SETTING and value]
        chosen = [word for each in settings for word in ("--set", each)]
        run = [*common, "--results", apart, "--fresh", "--threads", str(threads), *chosen]  # fresh: if killed
        separate += kept.seconds(f"run {number} of {len(rows)}", functools.partial(zoobench, *run))
    best = max(validation(record) for record in records(apart))
    whole = sum(row["state"] == "complete" for row in rows)
    how = f"{len(rows)} trials ({whole} to their end, threads: {tuned['threads']}) {together:.0f} s"
    how += f", {len(rows)} runs (threads: {threads}) {separate:.0f} s"
    yield Figure("separate runs / study, seconds", separate / together, TARGET, how)
    told = f"best of the runs {best:.4f}, of the study {validation(tuned):.4f}"
    yield Figure("best of the runs less that of the study", best - validation(tuned), SAME, told, at_most=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--pruner", default="none", help="median: trials that lag behind are given up")
    parser.add_argument("--jobs", default="auto", help="trials side by side")
    parser.add_argument("--threads", type=int, help="of a separate run (default: those of a trial)")
    parser.add_argument("--model", default="embedding-mlp")
    parser.add_argument("--task", default="movie-genres")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of all fits; not searched")
    parser.add_argument("--plugin", type=Path)
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where what was measured stays; goes on from there")
    options = parser.parse_args()
    head(" ".join(["python tests/performance/tuning.py", *sys.argv[1:]]))
    plugin = ["--plugin", options.plugin] if options.plugin else []
    with tempfile.TemporaryDirectory(prefix="zoobench.tuning.") as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        held = [word for each in options.set for word in ("--set", each)]
        common = ("run", "--task", options.task, "--model", options.model, *held, *plugin)
        figures = list(measure(common, options, folder))
    for figure in figures:
        show(figure)
    return int(any(figure.missed for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
