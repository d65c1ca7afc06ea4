"""How a text is written, decided over all its bytes before any is taken for text: UTF-8, or else Latin-1."""

from __future__ import annotations

import codecs
import logging
import re
from collections.abc import Iterator
from functools import cache
from io import BufferedReader
from itertools import chain
from typing import Literal

Encoding = Literal["utf-8", "latin-1"]

_BLOCK = 1 << 20
_MARKS = {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}
_AS_UTF8 = "save it as UTF-8"
# C0 without tab, line feed, form feed and carriage return; C1, which Latin-1 has and no text uses.
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]")
_ASCII = bytes(range(128))
_TWO_BYTES = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}")


class EncodingError(Exception):
    """A text is neither UTF-8 nor Latin-1: the message goes on from the file's name; `line` is where, from 1."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


def stream_encoding(stream: BufferedReader, name: str) -> Encoding:
    """Return how a text is written: UTF-8, or Latin-1 where it cannot be UTF-8 and holds no control byte.

    Latin-1 is told, once for each `name`. The stream must seek; it is left anywhere.

    Raises
    ------
    EncodingError
        If it is neither: UTF-16, Windows-1252, broken UTF-8 or no text at all. A NUL here and there is none of
        these: it is valid UTF-8.
    """
    start = stream.read(4)
    if start[:2] in _MARKS or start == codecs.BOM_UTF32_BE:
        raise EncodingError(f"is written as {_MARKS.get(start[:2], 'UTF-32')}: {_AS_UTF8}", 1)
    position = _not_utf_8(stream)
    if position is None:
        return "utf-8"
    _check_latin_1(stream, position)
    _tell(f"{name} is not UTF-8: it was read as Latin-1")
    return "latin-1"


def _not_utf_8(stream: BufferedReader) -> int | None:
    """Return the position of the first byte that is no UTF-8."""
    decoder, position = codecs.getincrementaldecoder("utf-8")(), 0
    for block in chain(_blocks(stream), [b""]):
        # Text in UTF-16 without a mark is every other byte 0; a stray NUL is for the reader to name.
        if block.count(0) * 4 > len(block):
            raise EncodingError(f"is UTF-16 or no text: {_AS_UTF8}", _line(stream, position + block.index(0)))
        begun = len(decoder.getstate()[0])
        try:
            decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            return position - begun + error.start
        position += len(block)
    return None


def _check_latin_1(stream: BufferedReader, position: int) -> None:
    """Refuse what is not Latin-1 either; `position` is that of the first byte that is no UTF-8."""
    high = paired = read = 0
    for block in _blocks(stream):
        if found := _CONTROL.search(block):
            what = "Windows-1252 or another encoding" if found[0] >= b"\x80" else "no text"
            what = f"is neither UTF-8 (at byte {position:,}) nor Latin-1, but {what} (byte 0x{found[0].hex()})"
            raise EncodingError(f"{what}: {_AS_UTF8}", _line(stream, read + found.start()))
        high += len(block.translate(None, _ASCII))
        paired += sum(map(len, _TWO_BYTES.findall(block)))
        read += len(block)
    if 2 * paired > high:
        what = f"is UTF-8 with a broken character at about byte {position:,}: mend it there"
        raise EncodingError(what, _line(stream, position))


def _blocks(stream: BufferedReader) -> Iterator[bytes]:
    stream.seek(0)
    return iter(lambda: stream.read(_BLOCK), b"")


def _line(stream: BufferedReader, position: int) -> int:
    line = 1
    for block in _blocks(stream):
        line += block[:position].count(b"\n")
        position -= len(block)
        if position <= 0:
            break
    return line


@cache
def _tell(line: str) -> None:
    logging.getLogger(__name__).warning(line)
