"""The tables of published data sets: CSV files, plain, gzipped, or alone in a zip archive, read row by row.

There are two readers because this one streams files whose columns are known, of any size, and names the line of every
fault, while ``tables.py`` loads whatever a user has (TSV, JSON Lines, Parquet too) as columns, by pyarrow.
"""

from __future__ import annotations

import ast
import contextlib
import csv
import gzip
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BufferedReader
from pathlib import Path

from .support.archives import members, open_member
from .support.encoding import EncodingError, stream_encoding
from .support.errors import UserError

_SHOWN = 60
# Bytes that a packed table may unpack to: some six times the largest of the published ones.
_UNPACKED = 1 << 30
_BUFFER = 1 << 17


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table: the file, the line on which the row starts, and the cells that were asked for, by column."""

    path: Path
    line: int
    cells: Mapping[str, str]

    def fault(self, column: str, what: str) -> UserError:
        """Return the error about a cell of this row, in one line that names the file, the line and the column."""
        return UserError(f"{self.path}, line {self.line}, column {column!r}: {what}")

    def text(self, column: str) -> str:
        """Return a cell that must hold something.

        Raises
        ------
        UserError
            If it is blank.
        """
        cell = self.cells[column]
        if not cell.strip():
            raise self.fault(column, "is empty")
        return cell

    def number(self, column: str) -> float:
        """Return the finite number that a cell holds; NaN for an empty cell.

        Raises
        ------
        UserError
            If it holds anything else.
        """
        cell = self.cells[column].strip()
        with contextlib.suppress(ValueError):
            value = float(cell or "nan")
            if not cell or math.isfinite(value):
                return value
        raise self.fault(column, f"{_short(cell)} is no number")

    def strings(self, column: str) -> tuple[str, ...]:
        """Return what a cell lists that is written as Python writes a list of strings: ``['War', 'Drama']``.

        Raises
        ------
        UserError
            If it holds anything else.
        """
        cell = self.cells[column]
        if (found := _strings(cell)) is None:
            raise self.fault(column, f"{_short(cell)} is no list such as ['one', 'other']")
        return found

    def known(self, column: str, labels: Iterable[str], allowed: Sequence[str]) -> tuple[str, ...]:
        """Return the distinct `labels` that the cell of `column` gives, in their order.

        Raises
        ------
        UserError
            If there is none, or one is not among `allowed`.
        """
        given = tuple(dict.fromkeys(labels))
        if strange := [label for label in given if label not in allowed]:
            raise self.fault(column, f"unknown label {_short(strange[0])}; the labels are {', '.join(allowed)}")
        if not given:
            raise self.fault(column, "gives no label")
        return given


def table(path: Path, columns: Sequence[str], *, separator: str = ",", key: str | None = None) -> Iterator[Row]:
    """Yield the rows of a CSV file (RFC 4180); blank lines are skipped.

    The file is UTF-8, with or without a byte order mark, or as a whole Latin-1.

    Parameters
    ----------
    path
        The file; one whose name ends in ``.gz`` is unpacked as it is read, and so is the only file in a ``.zip``.
    columns
        The columns that are wanted; there may be others.
    key
        One of them, in which no cell may be blank or stand twice.

    Raises
    ------
    UserError
        If the file cannot be read or unpacked, is empty, holds no row or lacks a column, if it is in another
        encoding, or if a line holds a NUL or a cell of more than 131,072 characters, or has not as many cells as the
        header. The message names file, line and column.
    """
    seen: dict[str, int] = {}
    for row in _rows(path, columns, separator):
        if key is not None:
            value = row.text(key)
            if (first := seen.setdefault(value, row.line)) != row.line:
                raise row.fault(key, f"{_short(value)} stands on line {first} already")
        yield row


def _rows(path: Path, columns: Sequence[str], separator: str) -> Iterator[Row]:
    with _opened(path) as stream:
        reader = csv.reader(_lines(path, stream), delimiter=separator, strict=True)
        try:
            header = next(reader, None)
            if header is None:
                raise UserError(f"{path} is empty")
            places = _places(path, header, columns, separator)
            start = reader.line_num
            count = 0
            for cells in reader:
                line, start = start + 1, reader.line_num
                if not cells:
                    continue
                count += 1
                if len(cells) != len(header):
                    raise UserError(f"{path}, line {line}: {len(cells)} cells, but the header names {len(header)}")
                yield Row(path, line, {column: cells[place] for column, place in places.items()})
        except csv.Error as error:
            raise UserError(
                f"{path}, line {reader.line_num}: no CSV with the separator {separator!r}: {error}"
            ) from error
        if not count:
            raise UserError(f"{path} holds a header and no row")


def _places(path: Path, header: Sequence[str], columns: Sequence[str], separator: str) -> dict[str, int]:
    for column in columns:
        if header.count(column) != 1:
            named = _short(separator.join(header))
            raise UserError(
                f"{path}, line 1: {header.count(column) or 'no'} column {column!r} between separators "
                f"{separator!r} in the header {named}"
            )
    return {column: header.index(column) for column in columns}


def _lines(path: Path, stream: BufferedReader) -> Iterator[str]:
    try:
        encoding = stream_encoding(stream, str(path))
    except EncodingError as error:
        raise UserError(f"{path}, line {error.line}: {error}") from None
    stream.seek(0)
    for number, line in enumerate(stream, 1):
        if b"\0" in line:
            raise UserError(f"{path}, line {number}: holds a NUL: this is no text")
        yield line.decode("utf-8-sig" if number == 1 and encoding == "utf-8" else encoding)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BufferedReader]:
    try:
        with contextlib.ExitStack() as stack:
            yield _unpacked(path, stack)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _unpacked(path: Path, stack: contextlib.ExitStack) -> BufferedReader:
    if path.suffix == ".gz":
        # gzip finds the ends of lines in Python code; this does not.
        return BufferedReader(stack.enter_context(gzip.open(path, "rb")), _BUFFER)  # type: ignore[arg-type]
    if path.suffix != ".zip":
        return stack.enter_context(path.open("rb"))
    held = members(path)
    if len(held) != 1:
        raise UserError(f"{path} holds {len(held)} files, not one table")
    return stack.enter_context(open_member(path, held[0], _UNPACKED))


def _short(value: str) -> str:
    return repr(value if len(value) <= _SHOWN else value[:_SHOWN] + "…")


# Few lists are distinct: the 109,821 of padchest-reports are 28,808.
@lru_cache(2**15)
def _strings(cell: str) -> tuple[str, ...] | None:
    try:
        found = ast.literal_eval(cell)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    return tuple(found) if isinstance(found, list) and all(isinstance(each, str) for each in found) else None
