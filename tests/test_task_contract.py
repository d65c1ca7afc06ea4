"""Every registered task against the conformance suite: nothing registered escapes it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from zoobench.benchmarks.check import TASK_CHECKS, Broken
from zoobench.benchmarks.options import load_plugin
from zoobench.datasets.core import TASKS, Examples, Task
from zoobench.datasets.support.errors import UnavailableError

from .conftest import REAL_DATA


@pytest.mark.parametrize("check", TASK_CHECKS)
@pytest.mark.parametrize("name", list(TASKS.entries()))
def test_task(name: str, check: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # An empty data folder, not a download, where the published files are not at hand.
    monkeypatch.setenv("ZOOBENCH_DATA", str(REAL_DATA))
    try:
        TASK_CHECKS[check](TASKS.get(name))
    except UnavailableError as error:
        pytest.skip(str(error))


def _changed(task: Task, **change: object) -> Task:
    found = task.read()
    values = {name: change.get(name, getattr(found, name)) for name in ("ids", "inputs", "targets", "groups")}
    return dataclasses.replace(task, reader=lambda: Examples(**values))  # type: ignore[arg-type]


def test_each_check_catches_what_it_is_for(tiny: Path) -> None:
    load_plugin(tiny)
    task = TASKS.get("tiny")
    found = task.read()
    blank = found.inputs.copy()
    blank[5] = " "
    with pytest.raises(Broken, match="an input is empty"):
        TASK_CHECKS["reads_the_same_twice"](_changed(task, inputs=blank))
    turns = iter([found.targets, 1 - found.targets])
    moody = dataclasses.replace(task, reader=lambda: Examples(found.ids, found.inputs, next(turns), found.groups))
    with pytest.raises(Broken, match="two readings differ"):
        TASK_CHECKS["reads_the_same_twice"](moody)
    never = found.targets.copy()
    never[:, 1] = 0
    with pytest.raises(Broken, match="no training row holds fracture"):
        TASK_CHECKS["folds_are_fair"](_changed(task, targets=never))
    card = dataclasses.replace(task.card, licence="", primary_metric="f1_macro")
    with pytest.raises(Broken, match="no licence"):
        TASK_CHECKS["task_card_is_complete"](dataclasses.replace(task, card=card))
    card = dataclasses.replace(task.card, primary_metric="f1_mega")
    with pytest.raises(Broken, match="f1_mega"):
        TASK_CHECKS["task_card_is_complete"](dataclasses.replace(task, card=card))
    assert np.array_equal(task.read().targets, found.targets)
