"""The command that makes a record again, from the record's own words."""

from __future__ import annotations

import shlex
from pathlib import PurePosixPath, PureWindowsPath

from ...benchmarks.budget import PRUNERS
from ...benchmarks.options import TIMEOUT_S
from ...benchmarks.record import ENSEMBLES, Record

FOLDER = "FOLDER"
"""Stands for a folder of the machine that made the record: where it lay is nobody's business, what it held is known."""
NO_MODEL_SETTING = "tf32"
"""Said among a record's settings, and an option of the run."""


def command(record: Record) -> str:
    """Return the command that makes a record again: what it plans has the record's fit key.

    That is, as long as data, folds and code are the record's, the plug-ins that it needs are given by ``--plugin``, and
    each ``FOLDER`` is one that holds the same. That of an ensemble names its members, which must be recorded.
    """
    words = _ensemble(record) if record.mode == "ensemble" else _run(record)
    return shlex.join(words)


def _run(record: Record) -> list[str]:
    model = f"{record.model}@{record.preset}" if record.preset else record.model
    words = ["zoobench", "run", "--task", record.task_name, "--model", model, "--seed", str(record.seed)]
    for name, value in sorted(record.settings.items()):
        if name == NO_MODEL_SETTING and name not in record.config:
            words.append("--tf32" if value else "--no-tf32")
        else:
            words += ["--set", f"{name}={FOLDER if is_place(record, name) else value}"]
    if record.fraction != 1:
        words += ["--fractions", str(record.fraction)]
    if record.tuning is not None:
        words += ["--trials", str(record.tuning.budget)]
        words += [] if record.tuning.tune_time_s is None else ["--tune-time", _plain(record.tuning.tune_time_s)]
        words += [] if record.tuning.pruner == PRUNERS[0] else ["--pruner", record.tuning.pruner]
    if record.timeout_s is not None and record.timeout_s != TIMEOUT_S:
        words += ["--timeout", _plain(record.timeout_s)]
    return words if record.device == "cpu" else [*words, "--device", record.device]


def _plain(seconds: float) -> str:
    return str(int(seconds) if seconds == int(seconds) else seconds)


def _ensemble(record: Record) -> list[str]:
    """Return the command of an ensemble; one of trials is made of tuned cells, whose keys its members do not say."""
    how = "mean" if record.model == ENSEMBLES[1] else "greedy"
    words = ["zoobench", "ensemble", record.task_name, "--how", how, "--hardware", record.hardware_class]
    if "size" in record.settings:
        words += ["--size", str(record.settings["size"])]
    if "name" in record.settings:
        words += ["--name", str(record.settings["name"])]
    if "trials" in record.settings:
        return [*words, "--trials"]
    return [*words, *(word for share in record.members for word in ("--cell", share.key))]


def is_place(record: Record, name: str) -> bool:
    """Return whether a setting of a record names a folder or file of the machine that made it."""
    if name in (record.folders or {}):
        return True
    value = record.config.get(name, record.settings.get(name))
    return isinstance(value, str) and (PurePosixPath(value).is_absolute() or PureWindowsPath(value).is_absolute())
