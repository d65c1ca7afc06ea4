"""`zoobench results verify`: whatever of a record is not what it follows from is refused by name."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from zoobench.benchmarks import run
from zoobench.benchmarks.store import PROBABILITIES, RESAMPLES, TRIALS
from zoobench.zoo.core import ModelCard

from .conftest import zoobench_here
from .contributed import Contributed, columns_of, first_to_last, half, other_id, set_to, swap_ids, train_row
from .ensembles import KNOWING
from .verifying import refusals, verify

Change = Callable[["Contributed"], None]


@pytest.fixture(scope="module")
def plugins(tiny: Path, tunable: Path) -> list[Path]:
    """The tasks `tiny`, `tiny-classes` and `searched`, with models for them."""
    knowing = tiny.parent / "knowing_to_verify.py"
    knowing.write_text(KNOWING.replace("knows-", "verified-"))
    return [tiny, knowing, tunable]


@pytest.fixture(scope="module")
def kept(plugins: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with cells of both kinds of task, a part of the training rows, a tuned cell and ensembles."""
    folder = tmp_path_factory.mktemp("kept")
    options: dict[str, Any] = {"plugin": plugins, "results": folder, "quiet": True, "threads": 1}
    run(task="tiny", model=["verified-one", "verified-two"], **options)
    run(task="tiny-classes", model="dummy-stratified", fractions=[0.5, 1], **options)
    run(task="searched", model="knows", trials=3, set={"kind": "plain"}, **options)
    words = [word for path in plugins for word in ("--plugin", path)]
    for task, more in (("tiny", []), ("searched", ["--model", "knows", "--trials"])):
        done = zoobench_here("ensemble", task, *more, "--results", folder, *words)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def contributed(kept: Path, tmp_path: Path) -> Callable[[str], Contributed]:
    def of(where: str) -> Contributed:
        root = shutil.copytree(kept, tmp_path / "contributed")
        return Contributed(root, next(iter(sorted(root.glob(f"cells/{where}/*/record.json")))))

    return of


def test_what_the_harness_wrote_is_verified(kept: Path, plugins: list[Path]) -> None:
    before = {path: path.stat().st_mtime_ns for path in kept.rglob("*")}
    done = verify(plugins, kept)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "10 records: 10 verified, 0 refused, 0 not verified" in done.stdout
    assert "scores of the training fold (its probabilities are not stored)" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in kept.rglob("*")} == before


def by(change: float) -> Callable[[float], float]:
    return lambda value: value + change


ONE, CLASSES, TUNED = "tiny/verified-one", "tiny-classes/dummy-stratified", "searched/knows"
EDITS: dict[str, tuple[str, str, Callable[[Any], Any], str]] = {
    "a metric": (ONE, "test/global/values/f1_micro", by(1e-5), "test global f1_micro"),
    "a metric of another policy": (ONE, "test/youden/values/f1_macro", by(-1e-5), "test youden f1_macro"),
    "a metric of one label": (ONE, "test/global/per_label/roc_auc/0", by(1e-5), "test global per_label roc_auc [0]"),
    "a confusion": (ONE, "test/global/confusion/1/0", by(1), "test global confusion [1] [0]"),
    "an interval": (ONE, "test/global/intervals/f1_macro/0", by(1e-3), "test global interval f1_macro [0]"),
    "a threshold": (ONE, "test/per-label/thresholds/2", by(1e-5), "test per-label thresholds [2]"),
    "a validation metric": (ONE, "validation/global/values/f1_macro", by(1e-5), "validation global f1_macro"),
    "what is undefined": (ONE, "test/global/undefined", lambda _: {"f1": ["fever"]}, "test global undefined f1"),
    "a temperature": (ONE, "temperature", by(0.01), "temperature"),
    "a policy that is none": (ONE, "validation", lambda old: old | {"best": old["global"]}, "validation policy best"),
    "rows": (ONE, "rows/test", by(1), "rows test"),
    "a part": (CLASSES, "parts", lambda _: {"easy": {"rows": 1, "values": {"accuracy": 1.0}}}, "part easy"),
    "accuracy": (CLASSES, "test/argmax/values/accuracy", by(0.1), "test argmax accuracy"),
    "a key": (ONE, "key", lambda _: "0" * 20, "folder's key"),
    "a hardware class": (ONE, "hardware_class", lambda _: "faster-gpu", "key (of fit key and hardware class)"),
    "a seed": (ONE, "seed", by(1), "fit key"),
    "a model": (ONE, "model", lambda _: "better", "folder's model"),
    "a hash": (ONE, f"files/{PROBABILITIES}", lambda old: old[::-1], f"SHA-256 of {PROBABILITIES}"),
    "no hash": (ONE, "files", lambda _: {}, f"SHA-256 of {PROBABILITIES}: one in the record"),
    "an attempt": (ONE, "attempt", lambda old: old[::-1], f"file {PROBABILITIES}"),
    "a metric version": (ONE, "metric_version", by(1), "metric version"),
    "an overlap": (
        ONE,
        "overlap",
        lambda _: "weights=chest",
        "overlap (of the weights with the test fold): nothing / ",
    ),
    "an overlap of no member": ("tiny/ensemble-mean", "overlap", lambda _: "weights=chest", "overlap (of the members'"),
    "a value of the study": (TUNED, "tuning/value", by(0.1), f"tuning by {TRIALS}, value"),
    "a count of the study": (TUNED, "tuning/failed", by(1), f"tuning by {TRIALS}, failed"),
    "a setting that was found": (TUNED, "config/skill", by(0.001), "setting skill of the best trial"),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_record_that_says_otherwise(
    name: str, contributed: Callable[[str], Contributed], plugins: list[Path]
) -> None:
    where, place, change, told = EDITS[name]
    record = contributed(where)
    if where == TUNED:
        record.path = next(path for path in record.root.glob(f"cells/{TUNED}/*/*/{TRIALS}")).parents[1] / "record.json"
    record.edit(place, change)
    found = refusals(plugins, record)
    assert any(line.startswith(told) for line in found), found


TABLES: dict[str, tuple[str, Change, str]] = {
    "a probability": (ONE, lambda record: record.table(half), "test"),
    "a probability that is none": (ONE, lambda record: record.table(set_to(1.5)), "outside [0, 1]"),
    "not a number": (ONE, lambda record: record.table(set_to(np.nan)), "NaN"),
    "rows that do not sum to 1": (CLASSES, lambda record: record.table(set_to(0.77)), "do not sum to 1"),
    "an id": (ONE, lambda record: record.table(other_id), "ids of the test rows, 1 of"),
    "ids that changed places": (ONE, lambda record: record.table(swap_ids), "ids of the test rows, 2 of"),
    "a row twice": (ONE, lambda record: record.table(first_to_last), "ids of the validation rows: "),
    "a row less": (
        ONE, lambda record: record.table(lambda old: {name: each[:-1] for name, each in old.items()}),
        f"{PROBABILITIES} rows",
    ),
    "a training row": (ONE, lambda record: record.table(train_row), f"{PROBABILITIES} rows"),
    "a label less": (ONE, lambda record: record.table(lambda old: {n: each for n, each in old.items() if n != "p:fever"}),
                     "other columns than"),
    "resamples": (ONE, lambda record: record.table(lambda old: {n: each + 0.01 for n, each in old.items()}, RESAMPLES),
                  f"{RESAMPLES} f1_micro, 1000 of 1000"),
    "resamples of fewer": (
        ONE, lambda record: record.table(lambda old: {n: each[:-1] for n, each in old.items()}, RESAMPLES),
        f"{RESAMPLES} f1_micro",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_files_that_hold_something_else_though_their_hashes_were_made_anew(
    name: str, contributed: Callable[[str], Contributed], plugins: list[Path]
) -> None:
    where, change, told = TABLES[name]
    record = contributed(where)
    change(record)
    found = refusals(plugins, record)
    assert any(told in line for line in found), found


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def test_a_truncated_file(contributed: Callable[[str], Contributed], plugins: list[Path]) -> None:
    record = contributed(ONE)
    cut(record.attempt / PROBABILITIES)
    assert refusals(plugins, record)[0].startswith(f"SHA-256 of {PROBABILITIES}")
    record.rehash()
    assert "no whole file of probabilities" in refusals(plugins, record)[0]
    cut(record.attempt / RESAMPLES)
    record.rehash()
    assert f"{RESAMPLES}: resamples of the main metrics / no whole file" not in refusals(plugins, record)


def test_an_attempt_of_another_cell(contributed: Callable[[str], Contributed], plugins: list[Path]) -> None:
    record = contributed(ONE)
    other = Contributed(record.root, next(record.root.glob("cells/tiny/verified-two/*/record.json")))
    shutil.rmtree(record.attempt)
    shutil.copytree(other.attempt, record.attempt)
    assert any(line.startswith(f"SHA-256 of {PROBABILITIES}") for line in refusals(plugins, record))
    record.rehash()
    assert any(line.startswith("test global f1_macro") for line in refusals(plugins, record))


def test_a_file_that_nobody_recorded(contributed: Callable[[str], Contributed], plugins: list[Path]) -> None:
    record = contributed(ONE)
    (record.attempt / "artefact" / "more").write_text("runs when it is loaded")
    assert refusals(plugins, record) == ["SHA-256 of artefact/more: one in the record / nothing"]


def test_a_link(contributed: Callable[[str], Contributed], plugins: list[Path], tmp_path: Path) -> None:
    record = contributed(ONE)
    moved = (record.attempt / PROBABILITIES).rename(tmp_path / "elsewhere")
    (record.attempt / PROBABILITIES).symlink_to(moved)
    told = f"{record.attempt.name}/{PROBABILITIES}: a file or folder of its own / a link"
    assert refusals(plugins, record) == [told], "and what it points to is not read"


@pytest.mark.parametrize("place", ["attempt", "record", "key", "model", "task", "cells"])
def test_a_link_above_the_files(
    place: str, contributed: Callable[[str], Contributed], plugins: list[Path], tmp_path: Path
) -> None:
    record = contributed(ONE)
    ways = dict(zip(("record", "key", "model", "task", "cells"), (record.path, *record.path.parents), strict=False))
    path = ways.get(place, record.attempt)
    path.symlink_to(path.rename(tmp_path / "elsewhere"))
    done = verify(plugins, record.root, "--task", "tiny")
    told = path.name if place == "attempt" else path.relative_to(record.root)
    line = f"refused: tiny verified-one {record.path.parent.name}: {told}: expected a file or folder of its own"
    assert done.returncode == 1
    assert f"{line}, found a link\n" in done.stdout


@pytest.mark.parametrize("place", ["trials/0000/probabilities.parquet", "."])
def test_a_link_in_a_study(
    place: str, contributed: Callable[[str], Contributed], plugins: list[Path], tmp_path: Path
) -> None:
    record = contributed(TUNED)
    [study] = record.root.glob("studies/searched/knows/*")
    path = Path(os.path.normpath(study / place))
    path.symlink_to(path.rename(tmp_path / "elsewhere"))
    done = verify(plugins, record.root, "--task", "searched")
    assert done.returncode == 1
    assert f"refused: study searched knows {study.name}: " in done.stdout
    [told] = json.loads(verify(plugins, record.root, "--format", "json").stdout)["studies"]
    assert told["path"] == str(study)
    assert verify(plugins, record.root, "--task", "tiny").returncode == 0


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("data_fingerprint", "data fingerprint"),
        ("split_sha256", "SHA-256 of the folds"),
        ("task_version", "version of the task"),
        ("primary_metric", "primary metric"),
        ("labels", "labels"),
    ],
)
def test_a_task_that_is_another_here(
    place: str, told: str, contributed: Callable[[str], Contributed], plugins: list[Path]
) -> None:
    """Also where whoever made the record up has made its keys follow from that."""
    new = {"task_version": 2, "primary_metric": "f1_micro", "labels": ["fever", "nodule", "fracture"]}
    record = contributed(ONE)
    record.edit(place, lambda _: new.get(place, "ab" * 32))
    record.rekey()
    found = refusals(plugins, record)
    assert found
    assert all(line.startswith(told) for line in found), "and nothing is scored on other rows"


def test_a_record_in_the_place_of_another(contributed: Callable[[str], Contributed], plugins: list[Path]) -> None:
    record = contributed(ONE)
    record.path = record.path.parent.rename(record.path.parent.with_name("0" * 20)) / "record.json"
    assert refusals(plugins, record)[0].startswith("folder's key: 00000000000000000000 / ")


def test_records_that_do_not_read(contributed: Callable[[str], Contributed], plugins: list[Path]) -> None:
    record = contributed(ONE)
    whole = record.path.read_text()
    record.write(record.values | {"schema_version": 99})
    assert "written by a newer zoobench (schema 99" in refusals(plugins, record)[0]
    record.path.write_text(whole[: len(whole) // 2])
    assert "not whole JSON" in refusals(plugins, record)[0]
    record.write(json.loads(whole) | {"model": "\x1b[2J\nbetter"})
    said = verify(plugins, record.root, "--task", "tiny").stdout
    assert "\x1b" not in said
    assert len(said.splitlines()) == 2
    record.path.write_text("")
    done = verify(plugins, record.root, "--task", "tiny")
    assert done.returncode == 1
    assert f"refused: tiny verified-one {record.path.parent.name}: record: expected one that" in done.stdout
    assert "4 records: 3 verified, 1 refused" in done.stdout


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda members: [members[1] | {"weight": members[0]["weight"]}, members[0] | {"weight": members[1]["weight"]}],
         "probabilities"),
        (lambda members: [members[0] | {"probabilities": "ab" * 32}, members[1]], "SHA-256 of member"),
        (lambda members: [members[0], members[1] | {"key": "0" * 20}], "hash of the members' keys"),
        (lambda members: [members[0], members[1] | {"key": "**/../[/etc"}], "hash of the members' keys"),
    ],
    ids=["weights", "a member's hash", "a member", "a member that is no key"],
)  # fmt: skip
def test_an_ensemble_of_other_members(
    change: Any, told: str, contributed: Callable[[str], Contributed], plugins: list[Path]
) -> None:
    record = contributed("tiny/ensemble-mean")
    members = record.values["members"]
    uneven = [members[0] | {"weight": 0.25}, members[1] | {"weight": 0.75}]
    record.edit("members", lambda _: change(uneven if told == "probabilities" else members))
    assert any(told in line for line in refusals(plugins, record))


def test_an_ensemble_without_its_members(contributed: Callable[[str], Contributed], plugins: list[Path]) -> None:
    record = contributed("tiny/ensemble-mean")
    for model in ("verified-one", "verified-two"):
        shutil.rmtree(record.root / "cells" / "tiny" / model)
    done = verify(plugins, record.root, "--task", "tiny")
    assert done.returncode == 0
    assert "note: 2 of the 2 members that it takes are not here" in done.stdout


def test_trials_of_an_ensemble_are_looked_up(contributed: Callable[[str], Contributed], plugins: list[Path]) -> None:
    record = contributed("searched/ensemble-mean")
    trial = next(record.root.glob("studies/searched/knows/*/trials/0000/*.parquet"))
    pq.write_table(pa.table(dict(columns_of(trial))).slice(1), trial)
    assert any("members' probabilities" in line for line in refusals(plugins, record))


def test_trials_that_were_changed(contributed: Callable[[str], Contributed], plugins: list[Path]) -> None:
    record = contributed(TUNED)
    path = next(record.root.glob(f"cells/{TUNED}/*/*/{TRIALS}"))
    record.path = path.parents[1] / "record.json"
    path.write_text(path.read_text().replace("complete", "pruned", 1))
    assert any(line.startswith(f"SHA-256 of {TRIALS}") for line in refusals(plugins, record))
    record.rehash()
    assert any(line.startswith(f"tuning by {TRIALS}, finished") for line in refusals(plugins, record))
    path.write_text("trial,state\n" + "x" * 200_000 + ",complete\n")
    record.rehash()
    assert any(
        line.startswith(f"{TRIALS}: a row for each trial / Error: field larger") for line in refusals(plugins, record)
    )
    path.write_text("trial,state\nnone,complete\n")
    record.rehash()
    assert any(line.startswith(f"{TRIALS}: a row for each trial") for line in refusals(plugins, record))
    path.unlink()
    done = verify(plugins, record.root, "--task", "searched")
    assert (done.returncode, done.stdout.count(f"without {TRIALS}")) == (0, 1)


def test_a_failure_has_nothing_to_score(plugins: list[Path], tmp_path: Path) -> None:
    from .conftest import write_models

    broken = write_models(
        tmp_path / "broken.py", {"verify-broken": "def fit(self, X, y):\n    raise ValueError('no')\n"}
    )
    run(task="tiny", model="verify-broken", plugin=[plugins[0], broken], results=tmp_path / "r", quiet=True)
    done = verify(plugins, tmp_path / "r")
    assert done.returncode == 0, done.stdout
    assert "1 record: 1 verified" in done.stdout


def test_data_that_are_not_here(kept: Path, plugins: list[Path]) -> None:
    without = [path for path in plugins if "tunable" not in path.name]
    # The plug-in is known to this process already: another one is asked.
    from .conftest import zoobench

    words = [word for path in without for word in ("--plugin", path)]
    done = zoobench("results", "verify", kept, *words)
    assert done.returncode == 2
    assert "not verified: 4 records of searched: unknown task 'searched'" in done.stdout
    assert "10 records: 6 verified, 0 refused, 4 not verified" in done.stdout
    assert zoobench("results", "verify", kept, "--allow-missing", *words).returncode == 0


def test_weights_that_had_seen_the_test_fold(
    contributed: Callable[[str], Contributed], plugins: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record that hides it, and one of a model that nobody here knows."""
    record = contributed(ONE)
    monkeypatch.setattr(ModelCard, "overlap", lambda *_: "weights=chest")
    told = "overlap (of the weights with the test fold): weights=chest / nothing"
    done = verify(plugins, record.root, "--task", "tiny")
    assert done.returncode == 1
    assert told.replace(": ", ": expected ").replace(" / ", ", found ") in done.stdout
    from .conftest import zoobench

    done = zoobench("results", "verify", record.root, "--task", "tiny", "--plugin", plugins[0])
    assert done.returncode == 0, done.stdout
    assert "taken as it is (2 records)" in done.stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("nowhere",), "results folder nowhere does not exist"),
        (("empty",), "holds no record"),
        (("kept", "--task", "tyni"), "did you mean 'tiny'"),
        (("kept", "--format", "xml"), "unknown format 'xml'"),
    ],
)
def test_bad_input(words: tuple[str, ...], told: str, kept: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = zoobench_here("results", "verify", *(kept if word == "kept" else word for word in words), cwd=tmp_path)
    assert done.returncode == 2
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
