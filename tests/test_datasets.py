"""Preparation, on small data made here."""

import multiprocessing
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from zoobench.datasets import folds
from zoobench.datasets import prepare as preparation
from zoobench.datasets.core import FOLDS, Examples, Protocol, Task, TaskCard
from zoobench.datasets.folds import (
    shared_groups,
    split_sha256,
    write_split,
)
from zoobench.datasets.layout import load_test_inputs, load_training
from zoobench.datasets.prepare import Prepared, prepare
from zoobench.datasets.support.errors import UnavailableError, UserError
from zoobench.datasets.support.files import read_json, sha256_file
from zoobench.datasets.support.registry import Registry, import_plugin

CARD = TaskCard(
    name="made-up",
    title="Made up",
    description="For tests",
    version=1,
    kind="multilabel",
    modality="text",
    labels=("a", "b", "c"),
    primary_metric="f1_macro",
    group="number",
    licence="CC0",
    source="generated",
    citation="none",
)


def make(kind="multilabel", rows=300, seed=0):
    rng = np.random.default_rng(seed)
    if kind == "multilabel":
        targets = (rng.random((rows, 3)) < [0.5, 0.2, 0.1]).astype(np.uint8)
    else:
        targets = rng.choice(3, rows, p=[0.6, 0.3, 0.1]).astype(np.int64)
    return Examples(
        ids=np.array([f"row-{number}" for number in range(rows)], dtype=object),
        inputs=np.array([f"text {number}, «{rng.integers(1000)}»" for number in range(rows)], dtype=object),
        targets=targets,
        groups=rng.integers(0, rows // 3, rows),
    )


class Counted:
    """A task over `examples` whose raw file is `source` and which counts how often it is read."""

    def __init__(self, examples, source=None, module=__name__, **card):
        self.examples, self.reads = examples, 0
        kind = "multilabel" if examples.targets.ndim == 2 else "multiclass"
        sources = (lambda: (source,)) if source else tuple
        self.task = Task(replace(CARD, kind=kind, **card), self.read, sources, module)

    def read(self):
        self.reads += 1
        return self.examples


@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
def test_prepared_task_gives_back_its_rows_and_hides_test_targets(source, kind):
    examples = make(kind)
    counted = Counted(examples, source)
    prepared = prepare(counted.task)
    dealt = folds.default_folds(examples)
    public = prepared.folder / "public"
    assert prepared.split_sha256 == split_sha256(examples.ids, dealt)
    for number, fold in enumerate(FOLDS[:2]):
        inputs, targets = load_training(public, fold)
        assert inputs.dtype == object
        assert targets.dtype == (np.uint8 if kind == "multilabel" else np.int64)
        np.testing.assert_array_equal(inputs, examples.inputs[dealt == number])
        np.testing.assert_array_equal(targets, examples.targets[dealt == number])
    sealed, inputs = prepared.sealed_test(), load_test_inputs(public)
    order = [int(key.removeprefix("row-")) for key in sealed.ids]
    assert sorted(order) == np.flatnonzero(dealt == 2).tolist() != order
    np.testing.assert_array_equal(inputs, examples.inputs[order])
    np.testing.assert_array_equal(sealed.targets, examples.targets[order])
    np.testing.assert_array_equal(sealed.groups, examples.groups[order])
    assert pq.read_schema(public / "test.parquet").names == ["input"]
    assert pq.read_schema(public / "train.parquet").names == ["id", "input", "target"]
    with pytest.raises(ValueError, match="no public targets"):
        load_training(public, "test")


def test_summary_counts_rows_and_positives(source):
    examples = make("multiclass")
    prepared = prepare(Counted(examples, source).task)
    summary = read_json(prepared.folder / "prepared.json")
    _, targets = load_training(prepared.folder / "public", "train")
    assert summary["positives"]["train"] == dict(zip("abc", np.bincount(targets).tolist(), strict=True))
    assert summary["rows"] == dict(prepared.rows)
    assert sum(summary["rows"].values()) == len(examples)
    assert summary["fingerprint"] == prepared.fingerprint == examples.fingerprint()
    assert summary["shared_groups"] == 0


def test_task_is_read_once_until_card_file_or_code_changes(source, monkeypatch):
    counted = Counted(make(), source)
    first = prepare(counted.task)
    assert prepare(counted.task) == first
    assert counted.reads == 1
    raised = Counted(make(), source, version=2)
    assert prepare(raised.task).folder != first.folder
    source.write_text("raw, again")
    assert prepare(counted.task).folder != first.folder
    assert counted.reads == 2
    monkeypatch.setattr(preparation, "code_fingerprint", lambda module, room: "changed")
    prepare(counted.task)
    assert counted.reads == 3


@pytest.mark.parametrize("damage", ["prepared.json", "public/train.parquet", "sealed/test.masked"])
def test_damaged_cache_is_made_anew(source, damage):
    counted = Counted(make(), source)
    prepared = prepare(counted.task)
    (prepared.folder / damage).unlink()
    assert prepare(counted.task) == prepared
    assert (counted.reads, (prepared.folder / damage).is_file()) == (2, True)
    (prepared.folder / "prepared.json").write_text('{"task": "made-up"')
    assert prepare(counted.task) == prepared
    assert counted.reads == 3


def test_interrupted_preparation_is_not_believed(source, monkeypatch):
    counted = Counted(make(), source)

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(preparation, "_summary", interrupt)
        with pytest.raises(KeyboardInterrupt):
            prepare(counted.task)
    left = [path.name for path in source.parent.glob("cache/tasks/made-up/*") if path.suffix != ".lock"]
    assert left == []
    # What a killed process leaves, which cannot tidy up after itself.
    folder = prepare(counted.task).folder
    folder.rename(folder.with_name(f".{folder.name}.killed"))
    prepared = prepare(counted.task)
    assert counted.reads == 3
    assert [path for path in folder.parent.iterdir() if path.is_dir()] == [prepared.folder]


def test_task_without_files_is_prepared_anew_when_its_examples_differ(source):
    counted = Counted(make())
    first = prepare(counted.task)
    assert prepare(counted.task) == first
    counted.examples = make(seed=1)
    other = prepare(counted.task)
    assert (counted.reads, other.fingerprint) == (3, counted.examples.fingerprint())
    assert other.folder != first.folder
    assert prepare(Counted(make(), source, module="__no_such_module__").task).fingerprint == first.fingerprint


def _prepare_slowly(source, log):
    import time

    class Slow(Counted):
        def read(self):
            with log.open("a") as stream:
                stream.write("read\n")
            time.sleep(0.3)
            return super().read()

    prepare(Slow(make(), source).task)


def test_processes_at_once_read_once(source, tmp_path):
    context, log = multiprocessing.get_context("fork"), tmp_path / "log"
    processes = [context.Process(target=_prepare_slowly, args=(source, log)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert log.read_text() == "read\n"


def test_committed_folds_are_used_and_protocols_known_by_name(source, tmp_path, monkeypatch):
    examples = make()
    monkeypatch.setattr(folds, "SPLITS", tmp_path)
    honest = np.array(folds.default_folds(examples))
    leaky = np.arange(len(examples)) % 3
    splits = {
        protocol: write_split(folds.split_path("made-up", protocol), examples.ids, dealt)
        for protocol, dealt in {"": honest, "random": leaky}.items()
    }
    known = examples.fingerprint()
    protocols = {
        "": Protocol(description="honest", split=splits[""], fingerprint=known),
        "random": Protocol(
            description="by row", split=splits["random"], fingerprint=known, leaks={"group": "rows are dealt alone"}
        ),
    }
    task = Counted(examples, source, protocols=protocols).task
    random = prepare(task, "random")
    assert (random.protocol, random.split_sha256) == ("random", splits["random"])
    assert random.folder.parent.name == "made-up@random"
    leak = read_json(random.folder / "prepared.json")["shared_groups"]
    assert leak == shared_groups(leaky, examples.groups) > 0
    assert prepare(task).split_sha256 == splits[""]
    with pytest.raises(UserError, match="unknown protocol of made-up 'randon': did you mean 'random'"):
        prepare(task, "randon")


def test_default_folds_that_part_a_group_are_refused(source, tmp_path, monkeypatch):
    examples = make()
    monkeypatch.setattr(folds, "SPLITS", tmp_path)
    digest = write_split(folds.split_path("made-up"), examples.ids, np.arange(len(examples)) % 3)
    with pytest.raises(UserError, match=r"its folds part \d+ groups \(number\)"):
        prepare(
            Counted(
                examples,
                source,
                protocols={"": Protocol(description="leaky", split=digest, fingerprint=examples.fingerprint())},
            ).task
        )


def test_reader_may_deal_itself_and_leave_rows_out(source):
    dealt = np.arange(300) % 4 - 1
    examples = replace(make(), folds=dealt, groups=np.arange(300))
    prepared = prepare(Counted(examples, source).task)
    assert dict(prepared.rows) == {"train": 75, "validation": 75, "test": 75}
    assert set(prepared.sealed_test().ids) == set(examples.ids[dealt == 2])
    assert read_json(prepared.folder / "prepared.json")["left_out"] == 75
    assert prepared.split_sha256 == folds.split_sha256(examples.ids[dealt >= 0], dealt[dealt >= 0])


def test_committed_folds_are_for_the_published_data_alone(source, tmp_path, monkeypatch, caplog):
    whole = make()
    monkeypatch.setattr(folds, "SPLITS", tmp_path)
    fixed = folds.default_folds(whole)
    split = write_split(folds.split_path("made-up"), whole.ids, fixed)
    protocols = {"": Protocol(description="fixed", split=split, fingerprint=whole.fingerprint())}
    part = Examples(whole.ids[:150], whole.inputs[:150], whole.targets[:150], whole.groups[:150])
    kept = prepare(Counted(part, source, protocols=protocols).task)
    assert "other data than the published ones" in caplog.text
    strangers = replace(whole, ids=np.array([f"other-{number}" for number in range(300)], dtype=object))
    task = Counted(strangers, source, protocols=protocols).task
    np.testing.assert_array_equal(preparation.deal(task, "", strangers), fixed)
    assert kept.split_sha256 == folds.split_sha256(part.ids, folds.default_folds(part)), "other data, other folds"
    caplog.clear()
    source.write_text("whole")
    prepare(Counted(whole, source, protocols=protocols).task)
    assert not caplog.text
    monkeypatch.setattr(folds, "SPLITS", tmp_path / "nowhere")
    monkeypatch.setattr(folds, "default_folds", lambda examples: np.roll(fixed, 1))
    ungrouped = replace(whole, groups=np.arange(300))
    source.write_text("ungrouped")
    pinned = {"": Protocol(description="computed", split=split, fingerprint=ungrouped.fingerprint())}
    with pytest.raises(UserError, match="came out otherwise than published"):
        prepare(Counted(ungrouped, source, protocols=pinned).task)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"subsets": {"half": np.ones(300, int)}}, "must be of type bool"),
        ({"subsets": {"unseen": np.ones(300, bool)}}, "another name than 'unseen'"),
        ({"folds": np.full(300, 3)}, "from -1 .left out. to 2"),
    ],
)
def test_examples_refuse_impossible_states(change, message):
    with pytest.raises(ValueError, match=message):
        replace(make(), **change)


def test_folds_and_subsets_of_made_up_examples_are_part_of_the_key(source):
    dealt, groups = np.arange(300) % 3, np.arange(300)
    first, second = (replace(make(), folds=folds, groups=groups) for folds in (dealt, (dealt + 1) % 3))
    assert first.fingerprint() == second.fingerprint()
    made = [prepare(Counted(examples).task) for examples in (first, second)]
    assert made[0].split_sha256 != made[1].split_sha256
    halves = replace(first, subsets={"even": np.arange(300) % 2 == 0})
    assert set(prepare(Counted(halves).task).sealed_test().subsets) == {"even"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"targets": np.full((300, 3), 2, dtype=np.uint8)}, "must be whole numbers from 0 to 1"),
        ({"targets": np.zeros((300, 2), dtype=np.uint8)}, r"have shape \(300, 2\)"),
        ({"inputs": np.array([*["text"] * 299, np.nan], dtype=object)}, "'row-299' is nan, not a text"),
        ({"inputs": np.array([*["text"] * 299, "\ud800"], dtype=object)}, "'row-299' holds half a character"),
        (
            {"columns": {"year": np.array([*["1"] * 299, 2], dtype=object)}},
            "the year of example 'row-299' is 2, not a text",
        ),
        ({"groups": np.zeros(300, dtype=np.int64)}, "leave the validation fold empty"),
    ],
)
def test_examples_that_do_not_fit_are_refused_and_nothing_is_kept(source, change, message):
    with pytest.raises(UserError, match=message):
        prepare(Counted(replace(make(), **change), source).task)
    assert not [path for path in source.parent.glob("cache/tasks/made-up/*") if path.suffix != ".lock"]


def test_missing_file_package_and_cache_are_one_line_each(source, monkeypatch):
    with pytest.raises(UserError, match=r"made-up: its file .*gone\.csv cannot be read"):
        prepare(Counted(make(), source.with_name("gone.csv")).task)
    with pytest.raises(UnavailableError, match=r"needs no_such_package: pip install 'zoobench\[vision\]'"):
        prepare(Counted(make(), source, requires=("no_such_package",), extra="vision").task)
    monkeypatch.setenv("ZOOBENCH_CACHE", str(source))
    with pytest.raises(UserError, match=r"cannot be written .* set ZOOBENCH_CACHE"):
        prepare(Counted(make(), source).task)


def test_prepared_refuses_a_missing_or_empty_fold(tmp_path):
    for rows in ({"train": 1, "validation": 1}, {"train": 1, "validation": 1, "test": 0}):
        with pytest.raises(ValueError, match="every fold needs rows"):
            Prepared(tmp_path, "t", "", "f", "s", rows)


def test_module_imports_no_heavy_library():
    script = (
        "import sys, zoobench.datasets.prepare\n"
        "assert not {'sklearn', 'scipy', 'torch', 'pandas', 'pyarrow'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_example_of_the_readme_runs(source, tmp_path):
    readme = (Path(preparation.__file__).parent / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    (tmp_path / "tickets.py").write_text(code)
    pd.DataFrame(
        {
            "id": [f"T{number}" for number in range(60)],
            "text": [f"ticket {number}" for number in range(60)],
            "queue": ["billing", "network", "network"] * 20,
            "customer": [f"customer {number // 2}" for number in range(60)],
        }
    ).to_csv(tmp_path / "tickets.csv", index=False)
    registry = Registry("task", Task, "zoobench.datasets.tasks", "zoobench.tasks")
    (task,) = registry.collect(import_plugin(tmp_path / "tickets.py"))
    prepared = prepare(task)
    assert dict(prepared.rows) == {"train": 42, "validation": 6, "test": 12}
    assert prepare(task) == prepared


def test_command_writes_the_file_and_prints_its_hash(tmp_path, monkeypatch, capsys):
    counted = Counted(make())
    monkeypatch.setattr(folds, "SPLITS", tmp_path)
    monkeypatch.setattr(folds.TASKS, "get", lambda name: counted.task)
    assert folds.main(["made-up"]) == 0
    _, digest, _, fingerprint, _, _, path = capsys.readouterr().out.split()
    assert fingerprint == counted.examples.fingerprint()
    assert Path(path) == tmp_path / "made-up.csv"
    assert digest == sha256_file(Path(path))
