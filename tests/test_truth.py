"""The files of ids and targets that zoobench ships: what they hold, and results that are verified by them alone."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from zoobench.benchmarks import run
from zoobench.benchmarks.known import Known
from zoobench.benchmarks.store import read_record
from zoobench.datasets import fetch, folds
from zoobench.datasets.core import TASKS
from zoobench.datasets.layout import SealedTest, mask
from zoobench.datasets.prepare import prepare
from zoobench.datasets.support.errors import UserError
from zoobench.datasets.truth import Truth, find_shipped, read_truth, write_truth
from zoobench.leaderboard.known_rows import TruthsHere

from .conftest import zoobench_here
from .contributed import Contributed
from .verifying import verify

FILES = sorted(folds.SPLITS.glob("*.masked"))
RESULTS = Path(__file__).parents[1] / "leaderboard" / "results"
SHIPPED = sorted({path.name.split(".")[0] for path in FILES} & {path.name for path in (RESULTS / "cells").iterdir()})
"""The tasks of committed records whose ids and targets are committed beside them."""
ROWS = """
FILE = Path(__file__).with_suffix(".csv")


def filed(kind, protocol=""):
    found = examples(kind, rows=len(FILE.read_text().split()))
    subsets = {"odd": np.arange(len(found)) % 2 == 1}
    return Examples(found.ids, found.inputs, found.targets, 7_000 + np.arange(len(found)) // 2 * 3, subsets=subsets)


PINNED = {"": Protocol(description="all"), "pinned": Protocol(description="pinned", fingerprint="ab" * 32)}


@task(replace(card("filed", "multilabel"), protocols=PINNED), sources=lambda: (FILE,))
def read_filed(protocol):
    return filed("multilabel")


@task(card("filed-classes", "multiclass"), sources=lambda: (FILE,))
def read_classes():
    return filed("multiclass")
"""
NAMES = ("filed", "filed-classes")


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tasks whose rows hang on a file beside them."""
    from .conftest import TASK

    path = tmp_path_factory.mktemp("plugins") / "filed_tasks.py"
    begin = "from dataclasses import replace\nfrom pathlib import Path\nfrom zoobench.datasets.core import Protocol\n"
    path.write_text(begin + TASK.partition("\n@task")[0] + ROWS)
    path.with_suffix(".csv").write_text("row\n" * 160)
    return path


@pytest.fixture(scope="module")
def results(plugin: Path, tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    folder = tmp_path_factory.mktemp("results")
    run(task=NAMES, model="dummy-stratified", plugin=plugin, results=folder, quiet=True)
    return folder


@pytest.fixture
def splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, results: Path, plugin: Path) -> Path:
    """What `zoobench data truth` wrote of both tasks, in the place of what zoobench ships."""
    monkeypatch.setattr(folds, "SPLITS", tmp_path / "splits")
    done = zoobench_here("data", "truth", *NAMES, "--plugin", plugin)
    assert done.returncode == 0, done.stderr
    assert "licence of the data: CC0-1.0" in done.stdout
    return folds.SPLITS


@pytest.fixture
def gone(plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Neither the raw file nor a preparation is there."""
    path = plugin.with_suffix(".csv")
    text = path.read_text()
    path.unlink()
    monkeypatch.setenv("ZOOBENCH_CACHE", str(tmp_path / "cache"))
    yield
    path.write_text(text)


@pytest.fixture
def copied(results: Path, tmp_path: Path) -> Contributed:
    root = shutil.copytree(results, tmp_path / "contributed")
    return Contributed(root, next(root.glob("cells/filed/*/*/record.json")))


def file_of(name: str) -> Path:
    return next(folds.SPLITS.glob(f"{name}.*"))


def test_a_file_holds_what_scoring_needs_and_nothing_else(splits: Path, plugin: Path) -> None:
    prepared = prepare(TASKS.get("filed"))
    sealed = prepared.sealed_test()
    table = pq.read_table(io.BytesIO(mask(file_of("filed").read_bytes())))
    assert table.column_names == ["fold", "id", "target", "group", "subset:odd"]
    about = json.loads(table.schema.metadata[b"zoobench"])
    assert about == {
        **{"name": "filed", "fingerprint": prepared.fingerprint, "split_sha256": prepared.split_sha256},
        "rows": dict(prepared.rows),
    }
    truth = read_truth(file_of("filed"))
    np.testing.assert_array_equal(truth.test.ids, sealed.ids)
    np.testing.assert_array_equal(truth.test.targets, sealed.targets)
    assert (truth.test.targets.dtype, truth.validation[1].dtype) == (np.uint8, np.uint8)
    assert truth.test.groups.min() == 0, "not the numbers that the data have"
    assert truth.test.groups.max() == len(set(sealed.groups)) - 1
    order = np.argsort(sealed.groups, kind="stable")
    assert (np.diff(truth.test.groups[order]) >= 0).all(), "in their order: the bootstrap draws the same"
    assert truth.parts() == Truth.of(prepared).parts()
    assert read_truth(file_of("filed-classes")).test.targets.dtype == np.int64


def test_the_same_bytes_twice(splits: Path, plugin: Path, tmp_path: Path) -> None:
    done = zoobench_here("data", "truth", "filed", "--out", tmp_path / "again", "--plugin", plugin)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "again" / file_of("filed").name).read_bytes() == file_of("filed").read_bytes()


def test_other_data_than_the_card_knows_are_refused(splits: Path, plugin: Path) -> None:
    done = zoobench_here("data", "truth", "filed@pinned", "--plugin", plugin)
    assert done.returncode == 2
    assert "filed@pinned here is other data than the published ones" in done.stderr.splitlines()[-1]
    assert not list(splits.glob("filed@*"))


def test_results_are_verified_without_the_data(splits: Path, gone: None, results: Path, plugin: Path) -> None:
    done = verify([plugin], results)
    assert done.returncode == 0, done.stdout
    assert "2 records: 2 verified, 0 refused, 0 not verified" in done.stdout
    assert (
        "note: the data are not here: held against the ids and targets that zoobench ships (2 records)" in done.stdout
    )
    for path in splits.iterdir():
        path.unlink()
    done = verify([plugin], results)
    assert done.returncode == 2
    assert "2 records: 0 verified, 0 refused, 2 not verified" in done.stdout


Change = Callable[[Any], Any]


@pytest.mark.parametrize(
    ("place", "change", "told"),
    [
        ("test/global/values/f1_micro", lambda value: value + 1e-5, "test global f1_micro"),
        ("test/global/intervals/f1_macro/0", lambda value: value + 1e-3, "test global interval f1_macro [0]"),
        ("validation/global/values/f1_macro", lambda value: value + 1e-5, "validation global f1_macro"),
        ("parts/odd/rows", lambda value: value + 1, "test part odd rows"),
        ("temperature", lambda value: value + 0.01, "temperature"),
        ("rows/train", lambda value: value + 1, "rows train"),
        ("split_sha256", lambda _: "ab" * 32, "SHA-256 of the folds"),
    ],
)
def test_a_false_record_is_refused_without_the_data(
    place: str, change: Change, told: str, copied: Contributed, splits: Path, gone: None, plugin: Path
) -> None:
    copied.edit(place, change)
    if place == "split_sha256":
        copied.rekey()
    done = verify([plugin], copied.root, "--task", "filed")
    assert done.returncode == 1, done.stdout
    assert told in done.stdout


def test_a_record_of_data_that_nobody_has_here(copied: Contributed, splits: Path, gone: None, plugin: Path) -> None:
    copied.edit("data_fingerprint", lambda _: "ab" * 32)
    copied.rekey()
    done = verify([plugin], copied.root, "--task", "filed")
    assert done.returncode == 2
    assert "the data are not here, and zoobench ships the targets of " in done.stdout
    assert "not those of abababab…" in done.stdout


def test_a_sample_here_and_the_original_shipped(splits: Path, results: Path, plugin: Path) -> None:
    path = plugin.with_suffix(".csv")
    text = path.read_text()
    path.write_text("row\n" * 130)
    try:
        done = verify([plugin], results, "--task", "filed")
    finally:
        path.write_text(text)
    assert done.returncode == 0, done.stdout
    assert "note: the data here are others: held against" in done.stdout


def turned(truth: Truth, fold: str) -> Truth:
    test = truth.test
    if fold == "validation":
        return dataclasses.replace(truth, validation=(truth.validation[0], 1 - truth.validation[1]))
    changed = {
        "targets": dataclasses.replace(test, targets=np.roll(test.targets, 1, axis=0)),
        "ids": dataclasses.replace(test, ids=test.ids[::-1]),
        "groups": dataclasses.replace(test, groups=np.arange(len(test.ids))),
        "subset": SealedTest(test.ids, test.groups, test.targets, {"odd": ~test.subsets["odd"]}),
    }
    return dataclasses.replace(truth, test=changed[fold])


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("targets", "targets of the test rows in the file that zoobench ships"),
        ("ids", "ids of the test rows in the file"),
        ("groups", "groups of the test rows in the file"),
        ("subset", "test part odd in the file"),
        ("validation", "targets of the validation rows in the file"),
    ],
)
def test_a_file_that_says_otherwise_than_the_data_here(
    what: str, told: str, splits: Path, results: Path, plugin: Path
) -> None:
    write_truth(turned(read_truth(file_of("filed")), what), splits)
    done = verify([plugin], results, "--task", "filed")
    assert done.returncode == 1
    assert told in done.stdout
    assert "expected those of the data here, found others" in done.stdout


def test_a_damaged_file_and_one_under_another_name(splits: Path, gone: None, results: Path, plugin: Path) -> None:
    path = file_of("filed")
    content = path.read_bytes()
    other = path.rename(path.with_name(f"filed.{'0' * 12}.masked"))
    with pytest.raises(UserError, match=f"{other.name} holds filed of the data {path.name[6:18]}: restore it"):
        read_truth(other)
    other.unlink()
    path.write_bytes(content[: len(content) // 2])
    done = verify([plugin], results, "--task", "filed")
    assert done.returncode == 2
    assert f"{path} is no whole file of ids and targets: restore it, or reinstall zoobench" in done.stdout


def test_models_are_compared_and_drawn_without_the_data(
    splits: Path, gone: None, results: Path, plugin: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = ("--results", results, "--plugin", plugin)
    page = zoobench_here("confidence", "filed", "dummy-stratified", "--out", tmp_path / "page", *words)
    assert page.returncode == 0, page.stderr
    assert "filed: the data of its records are not here: taken are the targets that zoobench ships" in caplog.text
    record = read_record(next(results.glob("cells/filed/*/*/record.json")))
    truth = TruthsHere().of(record)
    assert truth is not None
    assert truth.fingerprint == record.data_fingerprint
    file_of("filed").unlink()
    assert TruthsHere().of(record) is None
    page = zoobench_here("confidence", "filed", "dummy-stratified", "--out", tmp_path / "page", *words)
    assert page.returncode == 2


# --- what is committed ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", FILES, ids=[path.name for path in FILES])
def test_a_committed_file_is_of_its_card_and_its_folds(path: Path) -> None:
    truth = read_truth(path)
    base, _, protocol = truth.name.partition("@")
    card = TASKS.get(base).card
    assert truth.fits(card.under(protocol))
    pinned = card.protocols[protocol]
    assert "no sharing" not in card.licence
    assert truth.fingerprint == pinned.fingerprint or not pinned.fingerprint
    if pinned.fingerprint:
        assert truth.split_sha256 == pinned.split
    fixed = folds.split_path(base, protocol)
    if fixed.exists():
        rows = list(csv.DictReader(fixed.read_text().splitlines()))
        for fold, ids in truth.ids.items():
            assert set(ids) == {row["id"] for row in rows if row["fold"] == fold}
        assert truth.rows["train"] == sum(row["fold"] == "train" for row in rows)
    assert find_shipped(truth.name, truth.fingerprint, truth.split_sha256)
    assert find_shipped(truth.name, truth.fingerprint, "0" * 64) is None


def test_what_is_not_shipped_may_not_be_shared() -> None:
    """Their records are verified where `torchxrayvision` is, as in CI: it holds their reports."""
    for name in {path.name for path in (RESULTS / "cells").iterdir()} - set(SHIPPED):
        card = TASKS.get(name.partition("@")[0]).card
        assert "no sharing" in card.licence
        assert card.requires == ("torchxrayvision",)


def test_they_are_small() -> None:
    assert FILES
    assert sum(path.stat().st_size for path in FILES) < 1_000_000


def test_they_say_what_the_data_say(real_data: Path) -> None:
    """Of the tasks with committed results; the others were written by the same command."""
    for name in SHIPPED:
        known = Known.of(name)
        assert known.here is not None
        assert known.here.fingerprint in {each.fingerprint for each in known.shipped}
        assert not known.wrong


def test_committed_records_are_verified_without_any_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What CI asks of all of them, here of a few a task: no data, an empty cache, and torchxrayvision not installed."""
    monkeypatch.setenv("ZOOBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fetch, "_inside_package", lambda: None)
    some = tmp_path / "some"
    for task in SHIPPED:
        found = sorted((RESULTS / "cells" / task).glob("*/*/record.json"))
        alone = [path for path in found if not path.parts[-3].startswith("ensemble")]
        for path in alone[:: max(1, len(alone) // 4)]:
            shutil.copytree(path.parent, some / path.parent.relative_to(RESULTS))
    count = len(list(some.glob("cells/*/*/*/record.json")))
    assert count >= 12
    done = zoobench_here("results", "verify", some)
    assert done.returncode == 0, done.stdout
    assert f"{count} records: {count} verified, 0 refused, 0 not verified" in done.stdout
    told = f"note: the data are not here: held against the ids and targets that zoobench ships ({count} records)"
    assert told in done.stdout
    assert not list((tmp_path / "cache").glob("tasks/*")), "nothing was prepared, and nothing downloaded"
