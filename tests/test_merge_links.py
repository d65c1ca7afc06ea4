"""`zoobench results merge`: what a link of a folder that came from elsewhere points to is not read or copied."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from zoobench.benchmarks.merge import merge
from zoobench.benchmarks.store import Results

from .test_merge import contents, store


def _moved(path: Path) -> None:
    """Put a link in the place of a file or a folder."""
    outside = next(each for each in path.parents if each.name == "two").with_name("outside")
    path.symlink_to(path.rename(outside))


@pytest.mark.parametrize(
    "of",
    [
        lambda stored: stored.attempt / "log.txt",
        lambda stored: stored.attempt / "artefact" / "0",
        lambda stored: stored.attempt / "artefact",
        lambda stored: stored.attempt,
        lambda stored: stored.path,
        lambda stored: stored.path.parent,
        lambda stored: stored.path.parents[1],
        lambda stored: stored.path.parents[3],
    ],
    ids=["log", "artefact", "folder of it", "attempt", "record", "key", "model", "cells"],
)
def test_what_a_link_points_to_is_not_copied(of: Any, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    store(one, "birch")
    _moved(of(store(two, "ash")))
    [taken] = merge(Results(one), [Results(two)])
    assert taken.came == "refused"
    assert "is a link" in taken.why
    assert "ash" not in " ".join(contents(one))


def test_a_log_that_was_lacking_is_not_completed_by_a_link(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    stored = store(one, "ash")
    shutil.copytree(one, two)
    (stored.attempt / "log.txt").unlink()
    _moved(two / stored.attempt.relative_to(one) / "log.txt")
    assert [taken.came for taken in merge(Results(one), [Results(two)])] == ["refused"]
    assert not (stored.attempt / "log.txt").exists()


@pytest.mark.parametrize("place", ["trials/0000/probabilities.parquet", "trials/0000", "trials", ".", "../../.."])
def test_a_study_with_a_link_is_refused(place: str, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for root in (one, two):
        store(root, "ash")
    study = two / "studies" / "made-up" / "ash" / "key"
    (study / "trials" / "0000").mkdir(parents=True)
    (study / "trials" / "0000" / "probabilities.parquet").write_text("a secret")
    _moved(Path(os.path.normpath(study / place)))
    first, _ = merge(Results(one), [Results(two)])
    assert (first.came, first.path) == ("refused", study)
    assert "is a link" in first.why
    assert not (one / "studies").exists()


def test_a_study_with_a_pipe_is_refused(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    store(two, "ash")
    study = two / "studies" / "made-up" / "ash" / "key"
    study.mkdir(parents=True)
    os.mkfifo(study / "journal.log")
    assert [taken.came for taken in merge(Results(one), [Results(two)])] == ["refused", "added"]
