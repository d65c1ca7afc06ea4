"""A suite of small cells to disturb, and the comparison of what is left with an undisturbed run."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from ..conftest import TASK
from ..tunable import SOURCE

# Fits that take a while, say how far they are, and answer from their seed and what they were given.
NAPPER = """
import os
import time
import numpy as np
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import SGDClassifier
from sklearn.multiclass import OneVsRestClassifier
from zoobench.zoo.core import ModelCard, model


class Napper:
    def __init__(self, name, config, context):
        self.name, self.config, self.context = name, config, context
        self.words = HashingVectorizer(n_features=256)

    def fit(self, X, y, report):
        if fits := os.environ.get("FITS"):
            with open(fits, "a") as log:
                log.write(f"{self.context.task.name} {self.name}\\n")
        for step in range(1, 5):
            time.sleep(self.config["nap"])
            report(step, 4, loss=1 / step)
        classifier = SGDClassifier(loss="log_loss", max_iter=5, tol=None, random_state=self.context.seed)
        self.model = OneVsRestClassifier(classifier).fit(self.words.transform(X), y)
        return self

    def predict_proba(self, X):
        return self.model.predict_proba(self.words.transform(X))

    def save(self, folder):
        np.save(folder / "kept.npy", np.stack([each.coef_[0] for each in self.model.estimators_]))

    def load(self, folder):
        return self


def card(name):
    return ModelCard(name=name, title="t", description="d", modality="text", framework="scikit-learn", citation="c",
                     default={"nap": 0.1})


first = model(card("naps"))(lambda config, context: Napper("naps", config, context))
second = model(card("naps-too"))(lambda config, context: Napper("naps-too", config, context))
"""


MODELS = ("naps", "naps-too", "dummy-stratified", "knows")
"""Two that take a while, one that answers at once, and one that is tuned."""


@dataclass(frozen=True)
class Scene:
    """A suite to disturb.

    Attributes
    ----------
    words
        Its options on the command line.
    unbroken, seconds
        The results folder of an undisturbed run, and what that took.
    """

    folder: Path
    words: tuple[str, ...]
    unbroken: Path
    seconds: float

    @classmethod
    def small(cls, folder: Path, tasks: Sequence[str] = ("tiny", "searched"), models: Sequence[str] = MODELS) -> Scene:
        """Return cells of some tenths of a second, one a task and model, and studies of three trials, run once.

        Raises
        ------
        RuntimeError
            If the undisturbed run fails.
        """
        files = {"tasks.py": TASK, "naps.py": NAPPER, "knows.py": SOURCE}
        for name, text in files.items():
            (folder / name).write_text(text)
        plugins = tuple(word for name in files for word in ("--plugin", str(folder / name)))
        asked = tuple(word for name in models for word in ("--model", name))
        tuned = ("--trials", "3", "--pruner", "none", "--set", "kind=plain", "--seed", "0")
        words, unbroken = (
            (*(word for name in tasks for word in ("--task", name)), *asked, *plugins, *tuned),
            folder / "unbroken",
        )
        start = time.monotonic()
        if status := cls(folder, words, unbroken, 0.0).finish(unbroken):
            raise RuntimeError(f"the undisturbed run ended with status {status}: {folder / 'unbroken.log'}")
        return cls(folder, words, unbroken, time.monotonic() - start)

    def command(self, results: Path) -> list[str]:
        """Return the command that runs the suite."""
        return [sys.executable, "-m", "zoobench.leaderboard.cli", "run", *self.words, "--results", str(results)]

    def start(self, results: Path, *more: str, **environment: str) -> subprocess.Popen[str]:
        """Start the suite in a session of its own."""
        log = (results.parent / f"{results.name}.log").open("a")
        with log:
            return subprocess.Popen(
                [*self.command(results), *more],
                stdout=log,
                stderr=log,
                text=True,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    def finish(self, results: Path, *more: str, **environment: str) -> int:
        """Run the suite to its end and return its exit status."""
        return self.start(results, *more, **environment).wait(600)

    def resume(self, results: Path) -> list[str]:
        """Run a disturbed suite to its end and return what is wrong then, a line each."""
        status = self.finish(results)
        return [*([f"the resumed run ended with status {status}"] if status else []), *losses(results, self.unbroken)]


def losses(results: Path, unbroken: Path) -> list[str]:
    """Return what a disturbed and resumed run lost, doubled or spoilt, a line each; none is the only good answer."""
    wanted, found = cells(unbroken), cells(results)
    lines = [f"{name}: no record" for name in sorted(wanted.keys() - found.keys())]
    lines += [f"{name}: a record that an unbroken run has not" for name in sorted(found.keys() - wanted.keys())]
    for name in sorted(wanted.keys() & found.keys()):
        lines += [f"{name}: {line}" for line in (*_unlike(found[name], wanted[name]), *_spoilt(found[name]))]
    work = results / ".work"
    left = [path.name for path in work.iterdir() if path.name not in {"locks", "checkpoints"}] if work.exists() else []
    lines += [f".work: {name} is left behind" for name in left]
    lines += [f"process {line} is left behind" for line in processes(results)]
    return lines


def cells(results: Path) -> dict[str, Path]:
    """Return the record of each cell by task, model and key."""
    paths = (results / "cells").glob("*/*/*")
    return {"/".join(path.parts[-3:]): path / "record.json" for path in paths if (path / "record.json").exists()}


def _unlike(found: Path, wanted: Path) -> list[str]:
    """Return how a record differs from the same cell's of an unbroken run; times and studies' draws may."""
    one, other = (json.loads(path.read_text()) for path in (found, wanted))
    names = ["status", "mode", "task", "model", "rows", "source_sha256"]
    if one["mode"] != "tuned":  # where a study was stopped its next trials are drawn anew, and may find another best
        names += ["config", "test", "validation", "policy"]
    lines = [f"{name} differs: {one[name]!r:.60} and {other[name]!r:.60}" for name in names if one[name] != other[name]]
    if one["tuning"] and other["tuning"]:
        counts = [sum(record["tuning"][name] for name in ("finished", "pruned", "failed")) for record in (one, other)]
        lines += [f"{counts[0]} trials, {counts[1]} wanted"] if counts[0] != counts[1] else []
    elif _probabilities(found) != _probabilities(wanted):
        lines.append("other probabilities")
    return lines


def _spoilt(path: Path) -> list[str]:
    """Return which files of a record are not those that it lists, and what stands beside that it does not know."""
    record = json.loads(path.read_text())
    attempt = path.parent / record["attempt"]
    listed: Mapping[str, str] = record["files"]
    lines = [f"{name} is not whole" for name, sha256 in listed.items() if _sha256(attempt / name) != sha256]
    beside = {each.name for each in path.parent.iterdir()} - {"record.json", record["attempt"]}
    return lines + [f"{name} stands beside the record" for name in sorted(beside)]


def _probabilities(path: Path) -> str:
    return _sha256(path.parent / json.loads(path.read_text())["attempt"] / "probabilities.parquet")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def processes(results: Path, seconds: float = 10) -> list[str]:
    """Return the processes that have to do with a results folder still, after so long."""
    deadline = time.monotonic() + seconds
    while found := list(_about(str(results))):
        if time.monotonic() > deadline:
            return found
        time.sleep(0.2)
    return []


def _about(folder: str) -> list[str]:
    lines = []
    for process in psutil.process_iter(["pid", "cmdline", "cwd", "status"]):
        told = process.info
        if told["pid"] == os.getpid() or told["status"] == psutil.STATUS_ZOMBIE:
            continue
        if folder in " ".join(told["cmdline"] or ()) or (told["cwd"] or "").startswith(folder):
            lines.append(f"{told['pid']} ({' '.join(told['cmdline'] or ())[:60]})")
    return lines
