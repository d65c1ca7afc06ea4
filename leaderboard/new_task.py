"""`zoobench new task`: a TOML that makes a table a task, with every guess said."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from ..datasets.own import load_task
from ..datasets.support.errors import UserError
from ..datasets.support.files import write_text
from ..datasets.tables import DELIMITERS, Table, encoding_of, read_table
from .column_guess import Guess, Labels, guess

_SHOWN = 5


def write_task(file: Path, folder: Path, taken: Collection[str]) -> list[str]:
    """Write ``<stem>.toml`` into `folder`, which makes the table in `file` a task, and return what to tell.

    Parameters
    ----------
    taken
        Names of tasks that there are already.

    Raises
    ------
    UserError
        If the table cannot be read, nothing in it looks like an input or like labels, or the TOML is there already.
    """
    target = folder / f"{file.stem}.toml"
    if target.exists():
        raise UserError(f"{target.name} is there already: move it away, or edit it")
    delimiter = _delimiter(file)
    table = read_table(file, delimiter=delimiter)
    found = guess(table)
    if found is None:
        raise UserError(
            f"{file.name}: no column of {', '.join(map(repr, table.columns))} looks like "
            "labels beside a text or an image: write the TOML by hand (datasets/README.md says how)"
        )
    name = _name(file.stem, taken)
    path = Path(os.path.relpath(file.expanduser().absolute(), folder)).as_posix()
    usual = "\t" if file.suffix.lower() in (".tsv", ".tab") else ","
    head = [f"name = {_quoted(name)}", f"path = {_quoted(path)}"]
    head += [f"delimiter = {_quoted(delimiter)}"] if delimiter not in ("", usual) else []
    write_text(target, "\n".join([*_preface(file, table), *head, *_lines(found), ""]))
    return _told(target, file, table, found)


def _delimiter(file: Path) -> str:
    """Return what parts most cells in the header of a CSV or TSV file; "" for other formats and missing files."""
    if file.suffix.lower() not in (".csv", ".tsv", ".tab") or not file.is_file():
        return ""
    with file.open(encoding=encoding_of(file), errors="replace", newline="") as stream:
        line = next((line for line in stream if line.strip()), "")
    usual = "," if file.suffix.lower() == ".csv" else "\t"
    marks = [usual, *(mark for mark in DELIMITERS if mark != usual)]
    return max(marks, key=lambda mark: len(next(csv.reader([line], delimiter=mark), [])))


def _name(stem: str, taken: Collection[str]) -> str:
    name = "-".join(re.findall(r"[a-z0-9]+", stem.lower())) or "task"
    return f"my-{name}" if name in taken else name


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _list(names: Collection[str]) -> str:
    return f"[{', '.join(map(_quoted, names))}]"


def _preface(file: Path, table: Table) -> Iterator[str]:
    how = f", read as {'UTF-8' if table.encoding == 'utf-8' else 'Latin-1'}" if file.suffix != ".parquet" else ""
    yield f"# A guess by `zoobench new task {file.name}` from its {len(table):,} rows{how}. Look at each line, then:"
    yield f"#   zoobench run --task {file.stem}.toml"
    yield "# datasets/README.md describes all keys."


def _lines(found: Guess) -> Iterator[str]:
    yield from _input_lines(found)
    yield from _label_lines(found)
    yield ""
    if found.id:
        yield "# No two rows have the same; without it, the numbers of the rows."
        yield f"id = {_quoted(found.id)}"
    else:
        yield '# id = "COLUMN"  # without it, the numbers of the rows'
    yield "# Rows with one value of this column never stand in two folds: a patient, a customer, a document."
    if found.group:
        yield f"group = {_quoted(found.group)}"
    else:
        yield f'# group = "COLUMN"  # without it, {"identical images" if found.image else "near-identical texts"}'
    yield ""
    yield from _fold_lines(found)
    yield ""
    yield "# For the card and the board; what they say without these lines:"
    yield 'metric = "f1_macro"'
    yield '# title = ""'
    yield '# description = ""'
    yield '# language = "en"'
    yield '# licence = "not stated"'
    yield '# source = ""'
    yield '# citation = "none"'


def _input_lines(found: Guess) -> Iterator[str]:
    yield ""
    if found.image:
        yield "# The input: paths of images, from the folder of the table."
        yield f"image = {_quoted(found.image)}"
        yield "# size = 224  # images are kept as squares of this side, in pixels"
        yield f"# numeric = {_list(found.numeric)}  # columns of numbers that a model is given beside the image"
        return
    yield f"# The input: the column with the longest texts, {found.words:.0f} words on average."
    yield f"text = {_quoted(found.text)}"
    if found.texts:
        yield f"# text = {_list([*found.texts, found.text])}  # several columns are joined by line breaks"


def _label_lines(found: Guess) -> Iterator[str]:
    labels = found.labels
    yield ""
    yield f"# The labels: {len(labels.names)}: {_some(labels.names)}"
    yield f"labels = {_columns(labels)}"
    if labels.separator:
        yield f"separator = {_quoted(labels.separator)}  # parts the labels in a cell"
    yield f'kind = "{labels.kind}"  # multilabel: any number of labels a row; multiclass: exactly one'
    if labels.empty and labels.kind == "multilabel":
        yield f"# {labels.empty:,} cells are empty. true: no label holds there; if nobody looked, delete the rows."
        yield "empty_is_no_label = true"
    if len(labels.columns) == 1:
        yield f"# label_names = {_list(labels.names[:_SHOWN])}  # all that may occur, in their order"
    for other in found.candidates:
        yield f"# or, {other.kind}: labels = {_columns(other)}"


def _columns(labels: Labels) -> str:
    return _quoted(labels.columns[0]) if len(labels.columns) == 1 else _list(labels.columns)


def _fold_lines(found: Guess) -> Iterator[str]:
    if not found.split:
        yield "# Shares of the rows for train, validation and test. Folds are made once and stored beside this file."
        yield "shares = [0.7, 0.1, 0.2]"
        return
    yield "# Says train, validation or test in each row."
    yield f"split = {_quoted(found.split)}"
    if found.cut:
        yield "validation = 0.1  # the column names no validation rows: this share of the training rows"


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return " ".join((", ".join(names[:_SHOWN]) + more).split())


def _told(target: Path, file: Path, table: Table, found: Guess) -> list[str]:
    """Return what was guessed, what does not work yet, and what to do next."""
    read = f" as {'UTF-8' if table.encoding == 'utf-8' else 'Latin-1'}" if file.suffix != ".parquet" else ""
    parted = f", cells parted by {table.delimiter!r}" if table.delimiter else ""
    folds = f"column {found.split}" if found.split else "70/10/20, made at the first run"
    rows = {
        "text": f"{found.text} ({found.words:.0f} words on average)" if found.text else "",
        "image": found.image,
        "labels": _label_words(found.labels),
        "id": found.id or "row numbers",
        "group": found.group or f"identical {'images' if found.image else 'or near-identical texts'}",
        "folds": folds + (", validation cut from train" if found.cut else ""),
    }
    lines = [f"wrote {target.name}: a guess from {len(table):,} rows of {file.name}, read{read}{parted}"]
    lines += [f"  {role:<7} {column}" for role, column in rows.items() if column]
    if found.labels.empty and found.labels.kind == "multilabel":
        empty = f"{found.labels.empty:,} rows without a label"
        lines.append(f"{empty} are taken to have none of them: delete them if nobody looked")
    try:
        load_task(target)
    except UserError as error:
        lines.append(f"but it does not load yet: {error}")
    return [*lines, "next:", f"  zoobench show {target.name}", f"  zoobench run --task {target.name}"]


def _label_words(labels: Labels) -> str:
    columns = labels.columns[0] if len(labels.columns) == 1 else f"{len(labels.columns)} columns of 0 and 1"
    parted = f", parted by {labels.separator!r}" if labels.separator else ""
    return f"{columns} ({labels.kind}, {len(labels.names)} labels{parted}: {_some(labels.names)})"
