"""A table and a small TOML become a task: folds once, every fault one line, and the command line end to end."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from zoobench.benchmarks import run
from zoobench.datasets import own
from zoobench.datasets.core import FOLDS, TASKS, Examples, Task
from zoobench.datasets.prepare import prepare
from zoobench.datasets.support import files
from zoobench.datasets.support.errors import UserError
from zoobench.datasets.support.files import atomic_path

from .conftest import zoobench

WORDS = ("fever", "fracture", "nodule")
BASE = {
    "name": "my-notes",
    "path": "notes.csv",
    "text": "note",
    "labels": "findings",
    "separator": "|",
    "kind": "multilabel",
}
CLASSES = {"name": "my-notes", "path": "notes.csv", "text": "note", "labels": "first", "kind": "multiclass"}


def notes(rows: int = 240) -> pd.DataFrame:
    """Rows whose labels stand in their texts; five of six have one, three belong to one patient."""
    rng = np.random.default_rng(5)
    held = rng.random((rows, 3)) < 0.45
    held[np.arange(rows) % 6 > 0, 0] |= ~held[np.arange(rows) % 6 > 0].any(axis=1)
    chosen = [[word for word, holds in zip(WORDS, row, strict=True) if holds] for row in held]
    texts = [" ".join([*words, *(f"word{n}" for n in rng.integers(400, size=9))]) for words in chosen]
    columns = {"nr": range(1000, 1000 + rows), "note": texts, "findings": ["|".join(words) for words in chosen]}
    columns |= {
        "first": [words[0] if words else "none" for words in chosen],
        "patient": [f"p{n // 3}" for n in range(rows)],
    }
    columns |= {f"has {word}": held[:, n].astype(int) for n, word in enumerate(WORDS)}
    return pd.DataFrame(columns)


def write(folder: Path, frame: pd.DataFrame | str, keys: Mapping[str, Any], **more: Any) -> Path:
    """Write a table and the TOML that describes it; a key that is None is left out."""
    keys = {**keys, **more}
    table = folder / keys["path"]
    if isinstance(frame, str):
        table.write_text(frame, encoding="utf-8")
    elif table.suffix == ".parquet":
        frame.to_parquet(table)
    elif table.suffix == ".jsonl":
        frame.to_json(table, orient="records", lines=True)
    else:
        frame.to_csv(table, index=False, sep="\t" if table.suffix == ".tsv" else ",")
    lines = [f"{key} = {toml(value)}" for key, value in keys.items() if value is not None]
    (folder / "notes.toml").write_text("\n".join(lines), encoding="utf-8")
    return folder / "notes.toml"


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(each)}" for key, each in value.items()) + "}"
    return json.dumps(value)


def read(path: Path) -> tuple[Task, Examples]:
    task = own.load_task(path)
    examples = task.read()
    examples.check_against(task.card)
    return task, examples


def refused(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read(path)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_every_format_makes_the_same_task(suffix: str, tmp_path: Path) -> None:
    frame = notes()
    path = write(tmp_path, frame, BASE, path=f"notes{suffix}", empty_is_no_label=True, group="patient", id="nr")
    task, examples = read(path)
    assert task.card.labels == WORDS
    assert (task.card.kind, task.card.modality, task.card.group) == ("multilabel", "text", "column 'patient'")
    assert list(examples.inputs) == list(frame["note"])
    assert list(examples.ids) == [str(n) for n in frame["nr"]]
    assert np.array_equal(examples.targets, frame[[f"has {word}" for word in WORDS]].to_numpy())
    assert np.array_equal(examples.groups, np.arange(240) // 3)
    assert [path.name for path in task.sources()] == ["notes.toml", f"notes{suffix}", "notes.folds.csv"]


def test_folds_are_made_once_and_the_same_each_time(tmp_path: Path) -> None:
    first, again = (tmp_path / name for name in ("first", "again"))
    for folder in (first, again):
        folder.mkdir()
        path = write(folder, notes(), BASE, empty_is_no_label=True, group="patient")
        _, examples = read(path)
    assert (first / "notes.folds.csv").read_bytes() == (again / "notes.folds.csv").read_bytes()
    assert (first / "notes.folds.json").read_bytes() == (again / "notes.folds.json").read_bytes()
    dealt = examples.folds
    assert dealt is not None
    assert np.bincount(dealt) / 240 == pytest.approx([0.7, 0.1, 0.2], abs=0.05)
    assert all(len(set(dealt[examples.groups == group])) == 1 for group in set(examples.groups))
    stamp = (again / "notes.folds.csv").stat().st_mtime_ns
    assert np.array_equal(read(path)[1].folds, dealt)  # type: ignore[arg-type]
    assert (again / "notes.folds.csv").stat().st_mtime_ns == stamp
    lines = (again / "notes.folds.csv").read_text().splitlines()
    assert lines[0] == "id,fold"
    assert dict(line.split(",") for line in lines[1:]) == {str(n + 1): FOLDS[fold] for n, fold in enumerate(dealt)}


def test_a_task_is_prepared_as_any_other(tmp_path: Path) -> None:
    task = own.load_task(write(tmp_path, notes(), BASE, empty_is_no_label=True))
    prepared = prepare(task)
    assert sum(prepared.rows.values()) == 240
    assert prepare(own.load_task(tmp_path / "notes.toml")).folder == prepared.folder, "from the cache"
    text = (tmp_path / "notes.toml").read_text().replace('"note"', '["note", "first"]')
    (tmp_path / "notes.toml").write_text(text)
    assert prepare(own.load_task(tmp_path / "notes.toml")).fingerprint != prepared.fingerprint


def test_a_changed_table_is_refused_until_its_rows_are_dealt_anew(tmp_path: Path) -> None:
    path = write(tmp_path, notes(), BASE, empty_is_no_label=True)
    before = read(path)[1]
    write(tmp_path, notes(243), BASE, empty_is_no_label=True)
    assert (
        "notes.csv changed after its folds were made: restore it, or `zoobench run --task notes.toml --resplit`"
        in refused(path)
    )
    folds = (tmp_path / "notes.folds.csv").read_bytes()
    write(tmp_path, notes(243), BASE, empty_is_no_label=None)
    with pytest.raises(UserError, match="is empty"):
        own.resplit(str(path))
    assert (tmp_path / "notes.folds.csv").read_bytes() == folds, "a table that cannot be dealt leaves the folds alone"
    write(tmp_path, notes(243), BASE, empty_is_no_label=True)
    own.resplit(str(path))
    after = read(path)[1]
    assert len(after) == len(before) + 3
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [
        "notes.csv",
        "notes.folds.csv",
        "notes.folds.json",
        "notes.toml",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shares": [0.6, 0.2, 0.2]}, "shares changed in the TOML after the folds were made"),
        ({"id": "nr"}, "id changed in the TOML after the folds were made"),
        ({"group": "first"}, "parts what the TOML now says belongs together"),
    ],
)
def test_keys_that_deal_rows_are_held_to_the_folds(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = write(tmp_path, notes(), BASE, empty_is_no_label=True)
    read(path)
    write(tmp_path, notes(), BASE, empty_is_no_label=True, **change)
    assert message in refused(path)
    if "group" not in change:
        own.resplit(str(path))
        read(path)


def test_folds_that_were_touched_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, notes(), BASE, empty_is_no_label=True)
    read(path)
    folds, note = tmp_path / "notes.folds.csv", tmp_path / "notes.folds.json"
    kept = folds.read_text()
    folds.write_text(kept.replace("train", "test", 1))
    assert "notes.folds.csv is gone or was changed" in refused(path)
    folds.unlink()
    assert "notes.folds.csv is gone or was changed" in refused(path)
    note.write_text("{}")
    assert "notes.folds.json cannot be read back" in refused(path)
    note.unlink()
    read(path)
    assert folds.read_text() == kept


@contextmanager
def crash_at(write: int) -> Iterator[None]:
    """Let the process die where the files of the folds are replaced for the nth time."""
    writes = iter(range(1, 10))

    def replaced(path: Path) -> AbstractContextManager[Path]:
        if path.name.startswith("notes.folds") and next(writes) == write:
            raise KeyboardInterrupt
        return atomic_path(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "atomic_path", replaced)
        with pytest.raises(KeyboardInterrupt):
            yield


@pytest.mark.parametrize("write_that_dies", [1, 2, 3])
def test_a_crash_while_folds_are_replaced_leaves_the_old_ones_or_the_new_ones(
    write_that_dies: int, tmp_path: Path
) -> None:
    path = write(tmp_path, notes(), BASE, empty_is_no_label=True)
    with crash_at(write_that_dies):
        own.load_task(path).read()
    before = own.load_task(path).read()
    old = (tmp_path / "notes.folds.csv").read_text()
    shares = {"shares": [0.5, 0.2, 0.3]}
    write(tmp_path, notes(), BASE, empty_is_no_label=True, **shares)
    with crash_at(write_that_dies):
        own.resplit(str(path))
    if write_that_dies < 3:
        assert (tmp_path / "notes.folds.csv").read_text() == old
        assert "shares changed in the TOML after the folds were made" in refused(path)
        write(tmp_path, notes(), BASE, empty_is_no_label=True)
        assert np.array_equal(own.load_task(path).read().folds, before.folds)  # type: ignore[arg-type]
        write(tmp_path, notes(), BASE, empty_is_no_label=True, **shares)
        own.resplit(str(path))
    after = own.load_task(path).read().folds
    assert after is not None
    assert np.bincount(after) / 240 == pytest.approx([0.5, 0.2, 0.3], abs=0.05)
    (tmp_path / "notes.folds.csv").write_text(old)
    assert "shares changed" in refused(path) if write_that_dies == 3 else "was changed" in refused(path)


def test_without_a_group_column_near_identical_texts_stay_together(tmp_path: Path) -> None:
    frame = notes()
    twins = frame.assign(note=frame["note"].str.upper() + ".")
    task, examples = read(write(tmp_path, pd.concat([frame, twins], ignore_index=True), BASE, empty_is_no_label=True))
    assert np.array_equal(examples.groups[:240], examples.groups[240:])
    assert not task.card.protocols[""].leaks
    assert examples.folds is not None
    assert np.array_equal(examples.folds[:240], examples.folds[240:])


def test_a_split_column_is_taken_as_it_is(tmp_path: Path) -> None:
    words = np.array(["Train", "valid", "TEST", "training", "dev"])[np.arange(240) % 5]
    frame = notes().assign(fold=words)
    _, examples = read(write(tmp_path, frame, BASE, empty_is_no_label=True, split="fold"))
    assert np.array_equal(examples.folds, np.array([0, 1, 2, 0, 1])[np.arange(240) % 5])  # type: ignore[arg-type]
    frame["fold"] = np.array(["train", "test"])[(np.arange(240) // 3) % 2]
    (tmp_path / "cut").mkdir()
    task, examples = read(
        write(tmp_path / "cut", frame, BASE, empty_is_no_label=True, split="fold", validation=0.2, group="patient")
    )
    assert examples.folds is not None
    assert np.array_equal(examples.folds == 2, frame["fold"] == "test")
    assert (examples.folds == 1).sum() == pytest.approx(24, abs=3)
    assert "20% of the training rows cut" in task.card.protocols[""].description


def test_twins_across_a_split_column_are_no_parted_group(tmp_path: Path) -> None:
    frame = notes().assign(split=np.array(["train", "val", "test"])[np.arange(240) % 3])
    frame.loc[5, "note"] = frame.loc[4, "note"] = frame.loc[2, "note"]
    path = write(tmp_path, frame, BASE, empty_is_no_label=True, split="split")
    told = (
        "notes.csv, column 'split': 1 texts stand in two folds, the first in rows 3 and 5: correct it, or set leaks ="
    )
    assert told in (message := refused(path))
    assert message.endswith('leaks = {exact = "why"}')
    assert not (tmp_path / "notes.folds.csv").exists()
    task, examples = read(
        write(tmp_path, frame, BASE, empty_is_no_label=True, split="split", leaks={"exact": "published so"})
    )
    assert examples.groups[2] == examples.groups[5] != examples.groups[4]
    assert dict(task.card.protocols[""].leaks) == {"exact": "published so"}
    prepare(task)
    assert told in refused(write(tmp_path, frame, BASE, empty_is_no_label=True, split="split")), "no longer declared"


def test_labels_in_every_shape(tmp_path: Path) -> None:
    frame = notes()
    columns = [f"has {word}" for word in WORDS]
    expected = frame[columns].to_numpy()
    task, examples = read(write(tmp_path, frame, BASE, labels=columns, separator=None))
    assert task.card.labels == tuple(columns)
    assert np.array_equal(examples.targets, expected)
    frame["lists"] = [text.split("|") if text else [] for text in frame["findings"]]
    for suffix in (".jsonl", ".parquet"):
        folder = tmp_path / suffix
        folder.mkdir()
        named = ["nodule", "fever", "fracture"]
        keys = {**BASE, "path": f"notes{suffix}", "labels": "lists", "separator": None, "label_names": named}
        task, examples = read(write(folder, frame, keys))
        assert task.card.labels == tuple(named)
        assert np.array_equal(examples.targets, expected[:, [2, 0, 1]]), "an empty list says that no label holds"
    frame["code"] = np.arange(240) % 11 + 1
    (tmp_path / "codes").mkdir()
    task, examples = read(write(tmp_path / "codes", frame, CLASSES, labels="code", path="notes.parquet"))
    assert task.card.labels == tuple(str(n) for n in range(1, 12)), "numbers in their order"
    assert np.array_equal(examples.targets, np.arange(240) % 11)
    frame["hot"] = (frame["code"] == 1).astype(int)
    frame["cold"] = 1 - frame["hot"]
    (tmp_path / "hot").mkdir()
    task, examples = read(write(tmp_path / "hot", frame, CLASSES, labels=["hot", "cold"]))
    assert np.array_equal(examples.targets, frame["cold"])


def test_texts_of_several_columns_stand_one_to_a_line(tmp_path: Path) -> None:
    frame = notes().assign(title="Title")
    frame.loc[1, "title"] = ""
    _, examples = read(write(tmp_path, frame, BASE, text=["title", "note"], empty_is_no_label=True))
    assert examples.inputs[0] == f"Title\n{frame['note'][0]}"
    assert examples.inputs[1] == frame["note"][1]


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, notes(), BASE, name="openi-reports", empty_is_no_label=True)
    with pytest.raises(UserError, match="re-uses the task name 'openi-reports'"):
        own.task_of(str(path))
    path = write(tmp_path, notes(), BASE, name="named-twice", empty_is_no_label=True)
    assert own.task_of(str(path)) is TASKS.get("named-twice")
    assert own.task_of("named-twice") is TASKS.get("named-twice")
    assert own.name_of(str(path)) == "named-twice"
    assert own.task_of(str(path)) is TASKS.get("named-twice"), "an edited TOML takes its own place"
    other = tmp_path / "other.toml"
    other.write_text(path.read_text())
    with pytest.raises(UserError, match="re-uses the task name 'named-twice'"):
        own.task_of(str(other))


@pytest.mark.slow
def test_from_a_table_to_a_board(tmp_path: Path) -> None:
    frame = notes()
    frame["findings"] = frame["findings"].where(frame["findings"] != "", "fever")
    frame.drop(columns=[f"has {word}" for word in WORDS] + ["first"]).to_csv(
        tmp_path / "Notes 1.csv", index=False, sep=";"
    )
    made = zoobench("new", "task", "Notes 1.csv", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert "does not load" not in made.stdout
    task = own.load_task(tmp_path / "Notes 1.toml")
    assert (task.card.name, task.card.labels, task.card.kind) == ("notes-1", WORDS, "multilabel")
    command = ("run", "--task", "Notes 1.toml", "--model", "tfidf-logreg", "--results", "r")
    done = zoobench(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "tfidf-logreg" in done.stdout
    board = zoobench("board", "--task", "Notes 1.toml", "--results", "r", "--format", "json", cwd=tmp_path)
    assert '"notes-1"' in board.stdout, board.stderr
    asked = ("predict", "--task", "Notes 1.toml", "--model", "tfidf-logreg", "--results", "r")
    assert "* fever" in zoobench(*asked, "--text", "fever fever", cwd=tmp_path).stdout
    assert "run --task Notes 1.toml" in zoobench("show", "Notes 1.toml", cwd=tmp_path).stdout
    checked = zoobench("check", "Notes 1.toml", cwd=tmp_path)
    assert "every check passed" in checked.stdout, checked.stdout
    with (tmp_path / "Notes 1.csv").open("a") as stream:
        stream.write("1;a new note of fever;fever;p1\n")
    changed = zoobench(*command, cwd=tmp_path)
    assert changed.returncode == 2
    assert len(changed.stderr.strip().splitlines()) == 1, changed.stderr
    assert "--resplit" in changed.stderr
    found = run(task=tmp_path / "Notes 1.toml", model="dummy-uniform", resplit=True, results=tmp_path / "r", quiet=True)
    assert list(found["status"]) == ["ok"]
    assert "--resplit deals the rows of a table of your own" in zoobench("run", "--resplit", cwd=tmp_path).stderr


def test_the_task_contract_holds(tmp_path: Path) -> None:
    from zoobench.benchmarks.check import check_task

    path = write(tmp_path, notes(), CLASSES, group="patient")
    findings = list(check_task(own.load_task(path)))
    assert findings
    assert not [finding for finding in findings if finding.problem]
