"""Tables that people keep their data in: CSV, TSV, JSON Lines and Parquet, read strictly.

A cell is what the file says and nothing is guessed: CSV and TSV hold strings alone, JSON Lines and Parquet hold
strings, numbers, lists and nulls. What cannot be read without a guess is refused with file, row and column. Rows
are counted from 1, without the header.
"""

from __future__ import annotations

import csv
import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from .support.encoding import Encoding, EncodingError, stream_encoding
from .support.errors import UserError, unknown_name

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.csv

DELIMITERS = (",", ";", "\t", "|")
_DELIMITED = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
SUFFIXES = (*_DELIMITED, ".jsonl", ".ndjson", ".parquet")
CELL = 1_000_000
"""Characters from which a cell is refused: a whole file that got into one cell, or a quote that never closes."""

# A row must fit into one block of the CSV reader; larger than any row whose cells are within the limit.
_ROWS_BLOCK = 64 << 20
_HALF = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Table:
    """The columns of a file that were asked for.

    Attributes
    ----------
    names
        All columns that the file has, in its order.
    columns
        (n,) object arrays by name. Of a CSV or TSV file all cells are strings; of the others each is what it is
        there: str, int, float, bool, list, dict, or None.
    encoding
        How its bytes were read; "utf-8" for Parquet.
    delimiter
        What parts the cells of CSV and TSV; "" for the others.
    """

    path: Path
    names: tuple[str, ...]
    columns: Mapping[str, np.ndarray]
    encoding: Encoding = "utf-8"
    delimiter: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", MappingProxyType(dict(self.columns)))

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def require(self, columns: Sequence[str]) -> None:
        """Refuse a file that lacks one of `columns`, or has it twice."""
        _chosen(self.path, self.names, columns)

    def fault(self, row: int, column: str, what: str) -> UserError:
        """Return the error about one cell; `row` counts from 0."""
        return UserError(f"{self.path.name}, row {row + 1}, column {column!r}: {what}")

    def strings(self, column: str, advice: str) -> np.ndarray:
        """Return the (n,) cells of a column as non-empty strings: numbers and truth values by their usual spelling.

        Raises
        ------
        UserError
            If a cell is empty, or is neither a string, a whole number nor a truth value; it ends with `advice`.
        """
        cells = self.columns[column]
        texts = [cell.strip() if type(cell) is str else _plain(cell) for cell in cells]
        if not all(texts):
            row = texts.index("")
            empty = cells[row] is None or isinstance(cells[row], str)
            raise self.fault(row, column, f"{'is empty' if empty else f'{short(cells[row])} is no word'}: {advice}")
        return np.array(texts, dtype=object)


def _plain(cell: object) -> str:
    return spelling(cell) if isinstance(cell, str | int) else ""


def spelling(cell: str | int) -> str:
    """Return a cell as text: 3 as "3", True as "true".

    >>> spelling(" a "), spelling(3), spelling(True)
    ('a', '3', 'true')
    """
    return cell.strip() if isinstance(cell, str) else json.dumps(cell)


def short(cell: object) -> str:
    """Return a cell for a message: its first 40 characters.

    >>> short("fever")
    "'fever'"
    """
    text = repr(cell[:60] if isinstance(cell, str | list) else cell)
    return text if len(text) <= 42 else f"{text[:40]}…"


def read_table(path: Path, wanted: Sequence[str] | None = None, delimiter: str = "") -> Table:
    """Read columns of a table.

    Parameters
    ----------
    wanted
        The columns to read; all without it.
    delimiter
        What parts the cells of a CSV or TSV file; without it a comma or a tab, by the file's name.

    Raises
    ------
    UserError
        If the file is missing, empty, of no known format or encoding, or holds no row; if a column is missing or
        there twice; if a row has more or fewer cells than the header; if a cell that was asked for holds a NUL, a lone
        surrogate, or 1,000,000 characters or more.
    """
    suffix = path.suffix.lower()
    _check_file(path, suffix)
    try:
        if suffix == ".parquet":
            table = _parquet(path, wanted)
        elif suffix in _DELIMITED:
            table = _delimited(path, wanted, delimiter or _DELIMITED[suffix])
        else:
            table = _json_lines(path, wanted)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    if not len(table):
        raise UserError(f"{path.name} has columns and no row: add the data")
    _check_cells(table)
    return table


def _check_file(path: Path, suffix: str) -> None:
    if suffix not in SUFFIXES:
        raise UserError(f"{path.name} has no known format: a table is one of {', '.join(SUFFIXES)}")
    if not path.is_file():
        beside = [entry.name for entry in path.parent.glob("*.*")] if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, beside, n=1)
        raise UserError(f"{path} is not there: " + (f"did you mean {near[0]!r}?" if near else "give a table's path"))
    if not path.stat().st_size:
        raise UserError(f"{path.name} is empty: it needs a header and rows")


def encoding_of(path: Path) -> Encoding:
    """Return how a text file is written: UTF-8, or Latin-1 where it cannot be UTF-8 and holds no control byte.

    Raises
    ------
    UserError
        If it is neither: UTF-16, Windows-1252, broken UTF-8 or no text at all.
    """
    try:
        with path.open("rb") as stream:
            return stream_encoding(stream, path.name)
    except EncodingError as error:
        raise UserError(f"{path.name} {error}") from None


def _delimited(path: Path, wanted: Sequence[str] | None, delimiter: str) -> Table:
    encoding = encoding_of(path)
    names = _header(path, delimiter, encoding)
    chosen = _chosen(path, names, wanted)
    # The last column is always read: a quote that never closes ends there.
    rows = _read_csv(path, delimiter, encoding, [*chosen, *({names[-1]} - set(chosen))], alone=len(names) == 1)
    _check_last(path, rows, names[-1])
    columns = {name: rows[name].to_numpy() for name in chosen}
    return Table(path, names, columns, encoding, delimiter)


def _header(path: Path, delimiter: str, encoding: Encoding) -> tuple[str, ...]:
    with path.open(encoding="utf-8-sig" if encoding == "utf-8" else encoding, newline="") as stream:
        try:
            lines = csv.reader(stream, delimiter=delimiter)
            names = tuple(next((row for row in lines if row), []))
        except csv.Error as error:
            raise UserError(f"{path.name}: its header cannot be read: {error}") from error
    if not any(name.strip() for name in names):
        raise UserError(f"{path.name} has no header: the first line names the columns")
    other = [mark for mark in DELIMITERS if mark != delimiter and mark in names[0]]
    if len(names) == 1 and other:
        raise UserError(
            f"{path.name} has one column, {short(names[0])}, if its cells are parted by {delimiter!r}: "
            f"save it with {delimiter!r}, or in a task's TOML write delimiter = {json.dumps(other[0])}"
        )
    return names


def _chosen(path: Path, names: Sequence[str], wanted: Sequence[str] | None) -> list[str]:
    """Return the columns to read, each once; names are those of the file."""
    chosen = list(dict.fromkeys(filter(None, names) if wanted is None else wanted))
    for name in chosen:
        if name not in names:
            raise unknown_name(f"column of {path.name}", name, filter(None, names))
        if names.count(name) > 1:
            raise UserError(f"{path.name} has {names.count(name)} columns {name!r}: rename all but one")
    return chosen


def _read_csv(path: Path, delimiter: str, encoding: Encoding, chosen: list[str], *, alone: bool) -> pa.Table:
    """Read the columns `chosen`; of a column `alone` an empty line is an empty cell, else it is no row."""
    import pyarrow as pa
    from pyarrow import csv as arrow

    faults: list[arrow.InvalidRow] = []

    def note(row: arrow.InvalidRow) -> str:
        faults.append(row)
        return "error"

    above = 0
    if alone:
        with path.open(encoding=encoding) as stream:
            above = next((number for number, line in enumerate(stream) if line.strip("\n\ufeff")), 0)

    def read(*, threads: bool) -> pa.Table:
        return arrow.read_csv(
            path,
            arrow.ReadOptions(use_threads=threads, block_size=_ROWS_BLOCK, encoding=encoding, skip_rows=above),
            arrow.ParseOptions(
                delimiter=delimiter, newlines_in_values=True, invalid_row_handler=note, ignore_empty_lines=not alone
            ),
            arrow.ConvertOptions(
                include_columns=chosen, column_types=dict.fromkeys(chosen, pa.string()), strings_can_be_null=False
            ),
        )

    try:
        return read(threads=True)
    except pa.ArrowInvalid as error:
        problem = str(error).splitlines()[0]
    faults.clear()
    try:
        return read(threads=False)  # only a reader in one thread knows the number of a row
    except pa.ArrowInvalid:
        if faults:
            raise _ragged(path, faults[0], delimiter) from None
        if "straddl" in problem:
            problem = "a row is longer than 64 MiB: a quote is opened and never closed, or this is no table"
        raise UserError(f"{path.name} cannot be read as a table: {problem}") from None


def _ragged(path: Path, row: pyarrow.csv.InvalidRow, delimiter: str) -> UserError:
    number = "" if row.number is None else f", row {row.number - 1}"
    more = row.actual_columns > row.expected_columns
    advice = f"quote a cell that holds {delimiter!r}" if more else "is a cell or a closing quote missing?"
    return UserError(
        f"{path.name}{number}: it has {row.actual_columns} cells, the header has {row.expected_columns}: {advice} "
        f"({short(row.text)})"
    )


def _check_last(path: Path, rows: pa.Table, name: str) -> None:
    """Refuse a last row that swallowed what follows a quote: the reader takes the end of the file for its end."""
    if not rows.num_rows or "\n" not in rows[name][-1].as_py():
        return
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - 100))
        closed = stream.read().rstrip().endswith(b'"')
    if not closed:
        raise UserError(
            f"{path.name}, row {rows.num_rows}, column {name!r}: a quote is opened and never closed: close it, or "
            "double it where it is meant"
        )


def _json_lines(path: Path, wanted: Sequence[str] | None) -> Table:
    encoding = encoding_of(path)
    if wanted is None:
        wanted = list(dict.fromkeys(name for row in _objects(path, encoding) for name in row))
    names: dict[str, None] = {}
    cells: dict[str, list[Any]] = {name: [] for name in wanted}
    for row in _objects(path, encoding):
        names.update(dict.fromkeys(row))
        for name, column in cells.items():
            column.append(row.get(name))
    if not names:
        raise UserError(f"{path.name} has no row with a value: each line is one JSON object")
    _chosen(path, list(names), wanted)
    return Table(path, tuple(names), {name: _objects_array(column) for name, column in cells.items()}, encoding)


def _objects(path: Path, encoding: Encoding) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8-sig" if encoding == "utf-8" else encoding) as stream:
        for number, line in enumerate(filter(None, map(str.strip, stream)), start=1):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise UserError(f"{path.name}, row {number}: it is no JSON ({error}): {short(line)}") from None
            if not isinstance(row, dict):
                raise UserError(f"{path.name}, row {number}: it is no JSON object: {short(line)}")
            yield row


def _parquet(path: Path, wanted: Sequence[str] | None) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = tuple(file.schema_arrow.names)
            chosen = _chosen(path, names, wanted)
            rows = file.read(columns=chosen)
    except pa.ArrowException as error:
        raise UserError(f"{path.name} is no Parquet file: {str(error).splitlines()[0]}") from error
    return Table(path, names, {name: _cells(rows[name]) for name in chosen})


def _cells(column: pa.ChunkedArray) -> np.ndarray:
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    # A column of whole numbers with a null would come as floats: 3.0 is not the label 3.
    return column.to_numpy() if text else _objects_array(column.to_pylist())


def _objects_array(values: list[Any]) -> np.ndarray:
    return np.fromiter(values, dtype=object, count=len(values))  # np.array would make lists of one length a matrix


def _check_cells(table: Table) -> None:
    """Refuse strings that hold a NUL or half a character, or are too long; those within a list count as well."""
    if halves := [name for name in table.names if _is_half(name)]:
        raise UserError(f"{table.path.name}: the name of its column {halves[0]!r} holds half a character: rename it")
    for name, cells in table.columns.items():
        if not any("\0" in text or len(text) >= CELL or _is_half(text) for text in _strings(cells)):
            continue
        for row in range(len(cells)):
            for text in _strings(cells[row : row + 1]):
                if "\0" in text:
                    raise table.fault(row, name, f"holds a NUL character ({short(text)}): take it out")
                if len(text) >= CELL:
                    raise table.fault(row, name, f"is {len(text):,} characters long, the limit is {CELL:,}: cut it")
                if _is_half(text):
                    told = f"holds half a character, a lone surrogate ({short(text)})"
                    raise table.fault(row, name, f"{told}: write it whole or take it out")


def _is_half(text: str) -> bool:
    """Return whether a text cannot be written: JSON may escape half of a pair of surrogates."""
    return not text.isascii() and _HALF.search(text) is not None


def _strings(cells: np.ndarray) -> list[str]:
    """Return the strings that cells are, or hold in a list."""
    lists = [cell for cell in cells if type(cell) is list]
    parts = [part for cell in lists for part in cell if type(part) is str]
    return [cell for cell in cells if type(cell) is str] + parts
