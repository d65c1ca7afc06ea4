"""Zip archives from elsewhere, opened without trusting their members' paths, kinds or sizes."""

from __future__ import annotations

import contextlib
import io
import lzma
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

from .errors import UserError
from .progress import amount

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MEMBER_LIMIT = 4 << 30
"""Bytes that one member may unpack to."""

# struct and the bare ValueError come out of zipfile for headers that make no sense.
_DAMAGE = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, struct.error, NotImplementedError,
    ValueError, OSError,
)  # fmt: skip
_ENCRYPTED = 0x1


def members(archive: Path, suffixes: tuple[str, ...] = ()) -> list[str]:
    """Return the names of the files in a zip archive, in its order; of those with one of `suffixes` if any is given.

    Raises
    ------
    UserError
        If the archive cannot be read, or any of its members has a path out of it or is no plain file.
    """
    with _readable(archive), zipfile.ZipFile(archive) as opened:
        names = [info.filename for info in opened.infolist() if _checked(archive, info) and not info.is_dir()]
    return [name for name in names if not suffixes or name.lower().endswith(suffixes)]


@contextlib.contextmanager
def open_member(archive: Path, name: str, limit: int = MEMBER_LIMIT) -> Iterator[io.BufferedReader]:
    """Open one member of a zip archive for reading; its checksum is compared when its end is reached.

    Raises
    ------
    UserError
        If the archive cannot be read, has no such member, or the member would unpack to more than `limit` bytes;
        also later, from the ``with`` block, if the content turns out to be damaged.
    """
    with _readable(archive):
        opened = zipfile.ZipFile(archive)
    with opened:
        try:
            info = opened.getinfo(name)
        except KeyError:
            held = [each.filename for each in opened.infolist()]
            told = ", ".join(held[:3]) + (f" and {len(held) - 3} more" if len(held) > 3 else "")
            raise UserError(f"{archive} has no member {name!r}; it holds {told or 'none'}") from None
        _checked(archive, info)
        # zipfile gives no more than the declared size, so what is declared bounds what is real.
        if info.file_size > limit:
            raise _too_large(archive, name, limit)
        with _readable(archive):
            stream = opened.open(info)
        buffered: io.BufferedReader = io.BufferedReader(_Member(archive, stream))
        with buffered:
            yield buffered


class _Member(io.RawIOBase):
    """A member whose damage shows as one line, while an error of whoever reads it stays what it is."""

    def __init__(self, archive: Path, stream: IO[bytes]) -> None:
        self._archive, self._stream = archive, stream

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._stream.seekable()

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        with _readable(self._archive):
            content = self._stream.read(len(view))
        view[: len(content)] = content
        return len(content)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        with _readable(self._archive):
            return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def close(self) -> None:
        self._stream.close()
        super().close()


def _too_large(archive: Path, name: str, limit: int) -> UserError:
    return UserError(
        f"{archive}: member {name!r} would unpack to more than the {amount(limit, 'bytes')} that it may take: refused"
    )


def _not_plain(archive: Path, name: str) -> UserError:
    return UserError(f"{archive}: member {name!r} is a link or a device, not a plain file: refused")


def _checked(archive: Path, info: zipfile.ZipInfo) -> zipfile.ZipInfo:
    """Refuse a member that would land outside, is no plain file or folder, or asks for a password."""
    # As it stands in the archive: zipfile's own name ends at the first NUL.
    _refuse_path(archive, info.orig_filename)
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _not_plain(archive, info.filename)
    if info.flag_bits & _ENCRYPTED:
        raise UserError(f"{archive}: member {info.filename!r} is encrypted: unpack it by hand")
    return info


def _refuse_path(archive: Path, name: str) -> None:
    outside = name.startswith("/") or re.match("[A-Za-z]:", name) or ".." in name.split("/")
    if not name or outside or "\\" in name or "\0" in name:
        raise UserError(f"{archive}: member {name!r} has a path that leads out of the archive: refused")


@contextlib.contextmanager
def _readable(archive: Path) -> Iterator[None]:
    """Turn what a missing or damaged archive raises into one line."""
    try:
        yield
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno:  # the machine's trouble; the archive's own has no number
            raise UserError(f"{error.filename or archive}: {error.strerror}") from error
        reason = next(iter(str(error).splitlines()), "").rstrip(":") or type(error).__name__
        raise UserError(f"{archive} cannot be read as an archive ({reason}): get it again") from error
