"""What a TOML or a table of one's own can get wrong: one line each, with file, row, column and what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from zoobench.datasets import own
from zoobench.datasets.prepare import prepare
from zoobench.datasets.support.errors import UserError

from .conftest import zoobench
from .test_own_tasks import BASE, CLASSES, WORDS, notes, read, refused, write


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "notes.toml is no TOML"),
        ("name = \"a\"\npath = 'x.csv'\nkind = 'multilabel'\ntext = 't'", "notes.toml: labels is missing"),
        (
            "name='a'\npath='x.csv'\nkind='multilabel'\ntext='t'\nlabels='l'\nseparater='|'",
            "unknown key of notes.toml 'separater': did you mean 'separator'",
        ),
    ],
)
def test_a_toml_that_makes_no_sense(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "notes.toml").write_text(text)
    assert message in refused(tmp_path / "notes.toml")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "My Notes"}, "notes.toml: name: task name 'My Notes' must be lower-case words"),
        ({"kind": "multi-label"}, "notes.toml: kind: Input should be 'multilabel' or 'multiclass'"),
        ({"text": None}, "give either text or image"),
        ({"image": "note"}, "give either text or image"),
        ({"text": ["note", "note"]}, "notes.toml: text: a name stands in it twice"),
        ({"text": 5}, "notes.toml: text: "),
        ({"text": "findings"}, "one column cannot serve two purposes"),
        ({"size": 64}, "size and numeric go with image"),
        ({"numeric": ["nr"]}, "size and numeric go with image"),
        ({"labels": []}, "labels must name a column"),
        ({"labels": ["has fever"], "label_names": ["a"], "separator": None}, "label_names go with one labels column"),
        ({"kind": "multiclass"}, "separator goes with one labels column"),
        ({"kind": "multiclass", "separator": None, "empty_is_no_label": True}, "empty_is_no_label goes with"),
        ({"kind": "multiclass", "separator": None, "labels": ["has fever"]}, "needs two or more"),
        ({"shares": [0.5, 0.5]}, "notes.toml: shares"),
        ({"shares": [0.8, 0.2, 0.2]}, "notes.toml: shares: shares of train, validation and test must be"),
        ({"shares": [1.0, 0.0, 0.0]}, "must be more than 0"),
        ({"split": "patient", "shares": [0.8, 0.1, 0.1]}, "split and shares exclude each other"),
        ({"validation": 0.1}, "validation and leaks go with a split column"),
        ({"validation": 1.5, "split": "patient"}, "notes.toml: validation: "),
        ({"leaks": {"gruop": "x"}, "split": "patient"}, "notes.toml: leaks: "),
        ({"delimiter": "::"}, "notes.toml: delimiter: it must be one of"),
        ({"path": "note.csv"}, "note.csv is not there: did you mean 'notes.csv'?"),
        ({"labels": "finding"}, "unknown column of notes.csv 'finding': did you mean 'findings'?"),
        ({"group": "pateint"}, "unknown column of notes.csv 'pateint': did you mean 'patient'?"),
    ],
)
def test_keys_that_make_no_sense(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    write(tmp_path, notes(), BASE, empty_is_no_label=True)
    keys = {**BASE, "empty_is_no_label": True, **change}
    path = write(tmp_path, notes(), keys) if keys["path"] == "notes.csv" else None
    if path is None:
        path = tmp_path / "notes.toml"
        path.write_text(path.read_text().replace('"notes.csv"', f'"{keys["path"]}"'))
    assert message in refused(path)


def with_cell(column: str, row: int, value: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Return what puts a value into the cell of a row that is counted from 1."""

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame[column] = frame[column].astype(object)
        frame.loc[row - 1, column] = value  # type: ignore[index]
        return frame

    return change


@pytest.mark.parametrize(
    ("change", "keys", "message"),
    [
        (with_cell("note", 7, " "), {}, "notes.csv, row 7, column 'note': is empty: fill it in or delete the row"),
        (with_cell("note", 7, 5), {"path": "notes.jsonl"}, "notes.jsonl, row 7, column 'note': 5 is no text"),
        (with_cell("note", 7, None), {"path": "notes.parquet"}, "notes.parquet, row 7, column 'note': is empty"),
        (lambda frame: frame, {"text": "nr"}, "notes.csv, column 'nr': it holds numbers alone"),
        (with_cell("note", 7, "x" * 1_000_000), {}, "notes.csv, row 7, column 'note': is 1,000,000 characters long"),
        (with_cell("findings", 7, ""), {}, "notes.csv, row 7, column 'findings': is empty: set empty_is_no_label = true"),
        (with_cell("findings", 7, None), {"path": "notes.parquet"}, "notes.parquet, row 7, column 'findings': is empty"),
        (with_cell("findings", 7, "fever|noduel"), {"label_names": [*WORDS]}, "row 7, column 'findings': unknown label 'noduel': did you mean 'nodule'?"),
        (with_cell("findings", 7, "fever|noduel"), {}, "notes.csv, label 'noduel': it has 1 rows, fewer than the 3 folds"),
        (lambda frame: frame, {"separator": None}, "may be several labels: set separator"),
        (lambda frame: frame, {"label_names": [*WORDS, "cough"]}, "label 'cough': it has 0 rows, fewer than the 3 folds"),
        (with_cell("first", 7, ""), CLASSES, "notes.csv, row 7, column 'first': is empty: label the row or delete it"),
        (with_cell("first", 7, 1.5), {**CLASSES, "path": "notes.jsonl"}, "row 7, column 'first': 1.5 is no label"),
        (with_cell("first", 7, "fever;nodule"), CLASSES, "set kind and separator = ';'"),
        (lambda frame: frame.assign(first="fever"), CLASSES, "it holds no label but 'fever': there is nothing to tell apart"),
        (lambda frame: frame.assign(first=[f"c{n}" for n in range(240)]), CLASSES, "label 'c0': it has 1 rows, fewer"),
        (with_cell("has fever", 7, 2), {"labels": ["has fever", "has nodule"], "separator": None}, "row 7, column 'has fever': '2' is neither 0 nor 1"),
        (with_cell("has fever", 7, ""), {"labels": ["has fever", "has nodule"], "separator": None}, "row 7, column 'has fever': is empty: write 1 where"),
        (lambda frame: frame, {**CLASSES, "labels": ["has fever", "has nodule"]}, "of them are 1: a multiclass row has one label"),
        (with_cell("nr", 7, 1000), {"id": "nr"}, "notes.csv, row 7, column 'nr': id '1000' stands in row 1 already"),
        (with_cell("nr", 7, ""), {"id": "nr"}, "notes.csv, row 7, column 'nr': is empty: give each row an id"),
        (with_cell("patient", 7, ""), {"group": "patient"}, "notes.csv, row 7, column 'patient': is empty: say what"),
        (with_cell("patient", 7, 1.5), {"group": "patient", "path": "notes.jsonl"}, "row 7, column 'patient': 1.5 is no word"),
    ],
)  # fmt: skip
def test_cells_that_make_no_sense(
    change: Callable[[pd.DataFrame], pd.DataFrame], keys: dict[str, Any], message: str, tmp_path: Path
) -> None:
    frame = notes()
    frame["findings"] = frame["findings"].where(frame["findings"] != "", "fever")
    keys = keys if "kind" in keys else {**BASE, **keys}
    assert message in refused(write(tmp_path, change(frame), keys))


@pytest.mark.parametrize(
    ("folds", "keys", "message"),
    [
        (["train", "val", "tset"], {}, "notes.csv, row 3, column 'fold': unknown fold 'tset': did you mean 'test'"),
        (["train", "val", ""], {}, "notes.csv, row 3, column 'fold': is empty: say train, validation, test"),
        (["train", "test"], {}, "leave the validation fold empty: set validation = 0.1 to cut it from the training rows"),
        (["train", "val"], {}, "leave the test fold empty: correct column 'fold'"),
        (["val", "test"], {"validation": 0.1}, "it names a validation fold: drop validation"),
        (["train", "val", "test"], {"group": "patient"}, "80 values of column 'patient' stand in two folds, the first, 'p0', in rows 1 and 2"),
    ],
)  # fmt: skip
def test_split_columns_that_make_no_sense(folds: list[str], keys: dict[str, Any], message: str, tmp_path: Path) -> None:
    frame = notes().assign(fold=np.array(folds)[np.arange(240) % len(folds)])
    assert message in refused(write(tmp_path, frame, CLASSES, split="fold", **keys))


def test_a_leak_of_the_split_column_may_be_meant(tmp_path: Path) -> None:
    frame = notes().assign(fold=np.array(["train", "val", "test"])[np.arange(240) % 3])
    path = write(tmp_path, frame, CLASSES, split="fold", group="patient", leaks={"group": "as the paper did"})
    task, _ = read(path)
    assert dict(task.card.protocols[""].leaks) == {"group": "as the paper did"}
    prepare(task)


def test_splits_that_leave_a_fold_with_one_class(tmp_path: Path) -> None:
    frame = notes().assign(fold=np.array(["train", "val", "test"])[np.arange(240) % 3])
    frame.loc[frame["fold"] == "test", "first"] = "fever"
    path = write(tmp_path, frame, CLASSES, split="fold")
    assert "all 80 rows of the test fold have the same labels, so there is nothing to score" in refused(path)
    frame = notes().assign(fold=np.array(["train", "val", "test"])[np.arange(240) % 3])
    frame.loc[frame["fold"] == "train", "findings"] = "fever"
    path = write(tmp_path, frame, BASE, split="fold", empty_is_no_label=True)
    assert "all 80 rows of the train fold have the same labels, so there is nothing to learn" in refused(path)
    frame.loc[0, "findings"] = "nodule"
    path = write(tmp_path, frame, BASE, split="fold", empty_is_no_label=True)
    assert "label 'fracture': no row of the train fold has it: correct column 'fold'" in refused(path)


def test_a_label_that_lies_in_too_few_groups(tmp_path: Path) -> None:
    frame = notes()
    frame.loc[:5, "first"] = "rare"
    path = write(tmp_path, frame, CLASSES, group="patient")
    assert "label 'rare': its rows lie in 2 values of column 'patient', which no fold may part" in refused(path)
    frame["note"] = frame["note"].where(frame.index > 5, "the same words")
    path = write(tmp_path, frame, CLASSES)
    assert "label 'rare': its rows lie in 1 groups of near-identical inputs" in refused(path)


def test_a_table_of_very_few_rows(tmp_path: Path) -> None:
    table = "note,first\none,a\ntwo,a\nthree,a\nfour,b\nfive,b\nsix,b\n"
    assert "leave the validation fold empty: add rows" in refused(write(tmp_path, table, CLASSES))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "--task", "notes.toml"), "unknown column of notes.csv 'first'"),
        (("run", "--task", "nowhere.toml"), "nowhere.toml cannot be read"),
        (("show", "nowhere.toml"), "nowhere.toml cannot be read"),
        (("board", "--task", "nowhere.toml"), "nowhere.toml cannot be read"),
        (("check", "notes.toml"), "unknown column of notes.csv 'first'"),
        (("run", "--task", "metric.toml"), "unknown metric of metric 'f1_marco': did you mean 'f1_macro'"),
        (("new", "task", "nowhere.csv"), "is not there"),
        (("new", "task", "notes.csv"), "notes.toml is there already"),
        (("new", "task", "plain.csv"), "no column of 'a', 'b' looks like labels"),
    ],
)
def test_the_command_line_says_it_in_one_line(words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    write(tmp_path, "a,b\n1,2\n", CLASSES)
    (tmp_path / "plain.csv").write_text("a,b\n1,2\n3,4\n")
    notes().to_csv(tmp_path / "good.csv")
    (tmp_path / "metric.toml").write_text(
        'name="metric"\npath="good.csv"\ntext="note"\nlabels="first"\nkind="multiclass"\nmetric="f1_marco"\n'
    )
    before = sorted(tmp_path.iterdir())
    done = zoobench(*words, cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert sorted(tmp_path.iterdir()) == before, "nothing is written"


def test_folds_that_cannot_be_stored(tmp_path: Path) -> None:
    path = write(tmp_path, notes(), CLASSES)
    (tmp_path / "notes.folds.csv").mkdir()
    with pytest.raises(UserError, match=r"notes\.folds\.csv cannot be written"):
        own.load_task(path).sources()


def test_every_column_is_looked_for_before_anything_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, notes(), CLASSES, group="pateint")
    with pytest.raises(UserError, match=r"unknown column of .* 'pateint': did you mean 'patient'"):
        own.load_task(path)
