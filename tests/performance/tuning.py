"""Measure a study against separate runs: python tests/performance/tuning.py [--trials 30] [--model embedding-mlp].

A study of `--trials` trials by `zoobench run --trials`, and then as many `zoobench run` commands, each of the
configuration of one of those trials, one after another; the embeddings of movie-genres are cached before either
begins. The study has `--jobs` trials side by side, by default as many as `--jobs auto` finds best; a run has as many
threads as one of its trials. Both fit the same configurations with the same seeds, to their ends, so that the best
validation score must be the same; with `--pruner median`, as a study is by default, trials that lag behind are given
up, and it may not be; with `--threads N` the runs have other threads, and it may differ in its last digits.

The lines give how many times faster the study was with the seconds of both, and by how much the best scores differ;
`MISSED` marks what is not reached, and the exit status is then 1. It needs the published files (ZOOBENCH_DATA) and
some 20 minutes on two cores.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from figures import Figure, head, show

TARGET, SAME = 2.0, 1e-4
NO_SETTING = ("trial", "state", "value", "seconds", "reason", "sha256")


def zoobench(*words: str | Path) -> float:
    """Run a command in a process of its own and return its seconds."""
    start = time.monotonic()
    command = [sys.executable, "-m", "zoobench.leaderboard.cli", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with status {done.returncode}:\n{done.stderr[-2000:]}")
    return time.monotonic() - start


def records(results: Path) -> list[dict[str, object]]:
    return [json.loads(path.read_text()) for path in sorted(results.glob("cells/*/*/*/record.json"))]


def validation(record: dict) -> float:
    return record["validation"][record["policy"]]["values"][record["primary_metric"]]


def measure(common: Sequence[str | Path], options: argparse.Namespace, folder: Path) -> Iterator[Figure]:
    zoobench(*common, "--results", folder / "warm")  # features and prepared data, for both
    study, apart = folder / "study", folder / "apart"
    searched = ("--trials", str(options.trials), "--pruner", options.pruner, "--jobs", options.jobs)
    together = zoobench(*common, "--results", study, *searched)
    tuned = next(record for record in records(study) if record["mode"] == "tuned")
    threads = options.threads or tuned["threads"]
    [path] = study.glob("cells/*/*/*/*/trials.csv")
    rows = list(csv.DictReader(path.open()))
    separate = 0.0
    for row in rows:
        settings = [f"{name}={value}" for name, value in row.items() if name not in NO_SETTING and value]
        chosen = [word for each in settings for word in ("--set", each)]
        separate += zoobench(*common, "--results", apart, "--threads", str(threads), *chosen)
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
    options = parser.parse_args()
    head(" ".join(["python tests/performance/tuning.py", *sys.argv[1:]]))
    plugin = ["--plugin", options.plugin] if options.plugin else []
    with tempfile.TemporaryDirectory(prefix="zoobench.tuning.") as folder:
        held = [word for each in options.set for word in ("--set", each)]
        common = ("run", "--task", options.task, "--model", options.model, *held, *plugin)
        figures = list(measure(common, options, Path(folder)))
    for figure in figures:
        show(figure)
    return int(any(figure.missed for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
