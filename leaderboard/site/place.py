"""Where a site is put: built beside its place, and then exchanged with what stands there, whatever ends the build."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from ...datasets.support.files import lock

_LOCK, _OLD = "lock", "old"
_HERE, _EXCHANGE = -100, 2
"""Of renameat(2): paths are of the working folder; both names stay, each for the other's file."""


@contextlib.contextmanager
def workshop(out: Path) -> Iterator[Path]:
    """Yield a new folder beside `out` to build in, gone after the block; gone is also what killed builds left there."""
    with contextlib.suppress(FileNotFoundError):
        _sweep(out)
    folder = out.with_name(f".{out.name}.{secrets.token_hex(6)}")
    folder.mkdir(parents=True)
    held = lock(folder / _LOCK)
    try:
        with contextlib.suppress(OSError, NotImplementedError):  # a file system without locks: then nobody sweeps
            held.acquire(timeout=0)
        yield folder
    finally:
        held.release()
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(out: Path) -> None:
    """Remove the workshops of dead builds, whose locks are free; a site that one of them took away goes back."""
    name = re.compile(rf"\.{re.escape(out.name)}\.[0-9a-f]{{12}}")
    for left in [path for path in out.parent.iterdir() if name.fullmatch(path.name) and (path / _LOCK).is_file()]:
        held = lock(left / _LOCK)
        with contextlib.suppress(OSError, NotImplementedError):
            held.acquire(timeout=0)
            if (left / _OLD).is_dir() and not out.exists():
                (left / _OLD).rename(out)
            shutil.rmtree(left, ignore_errors=True)
        held.release()


def put(new: Path, out: Path) -> None:
    """Put a folder of a workshop in the place of `out`, at once where the system can, and never with nothing left."""
    if not out.exists():
        new.rename(out)
    elif not _exchanged(new, out):
        old = new.with_name(_OLD)
        out.rename(old)
        try:
            new.rename(out)
        except OSError:
            old.rename(out)
            raise


def _exchanged(one: Path, other: Path) -> bool:
    """Give two folders each other's names in one step; False where nothing was done (not Linux, some file systems)."""
    try:
        rename = ctypes.CDLL(None).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    return rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0
