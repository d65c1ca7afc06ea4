"""The results folder: one folder a cell, whole or not there, safe to share between runs.

``cells/<task>/<model>/<key>/record.json`` is the commit point. What belongs to it (probabilities, bootstrap
resamples, artefact, log) stands beside it in a folder named after the record's attempt, so that replacing a
record is one rename and no reader ever pairs a record with another attempt's files.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import platform
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import Timeout

from ..datasets.support.errors import UserError
from ..datasets.support.files import lock, sha256_file, write_text

if TYPE_CHECKING:
    from .record import Record

RECORD = "record.json"
PROBABILITIES = "probabilities.parquet"
RESAMPLES = "resamples.parquet"
ARTEFACT = "artefact"
LOG = "log.txt"
CONFIGURATION, THRESHOLDS, SCORES, HISTORY, TRIALS, EXAMPLES = (
    "config.json",
    "thresholds.json",
    "metrics.csv",
    "history.csv",
    "trials.csv",
    "examples.png",
)


_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_PROBE_BYTES = 2**20
_ASIDE, _ATTEMPT = "unreadable-", re.compile(r"[0-9a-f]{12}")


def is_no_space(error: BaseException) -> bool:
    """Return whether an error says that a disk, a quota or a limit on the size of files is reached."""
    return isinstance(error, OSError) and error.errno in _NO_SPACE


def check_space(folder: Path) -> None:
    """Raise the OSError of a disk that has no room for another MB."""
    probe = folder / ".room"
    try:
        with probe.open("wb") as stream:
            stream.write(bytes(_PROBE_BYTES))
            stream.flush()
            os.fsync(stream.fileno())
    finally:
        probe.unlink(missing_ok=True)


def folder_of_results(results: Path) -> Path:
    """Return a results folder's whole path; UserError where there is none."""
    root = results.expanduser().absolute()
    if root.exists() and not root.is_dir():
        raise UserError(f"results folder {results} is a file: name a folder")
    if not root.is_dir():
        raise UserError(f"results folder {results} does not exist: `zoobench run --results {results}` makes one")
    return root


@dataclass(frozen=True)
class Stored:
    """A record and where it stands."""

    record: Record
    path: Path

    @property
    def attempt(self) -> Path:
        """The folder of the record's files."""
        return self.path.parent / self.record.attempt


class Results:
    """A results folder.

    Parameters
    ----------
    root
        The folder; made by `ensure_writable`, never by reading.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().absolute()

    def ensure_writable(self, option: str = "--results") -> None:
        """Make the folder, which `option` names, and prove that a file can be written to it.

        Raises
        ------
        UserError
            If it cannot be made or written to.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
        except OSError as error:
            reason = error.strerror or str(error)
            raise UserError(
                f"results folder {self.root} cannot be written: {reason}; name another with {option}"
            ) from error

    def record_path(self, task: str, model: str, key: str) -> Path:
        """Return where the record of a cell stands; `task` with its protocol, as ``name@protocol``."""
        return self.folder(task, model) / key / RECORD

    def folder(self, task: str, model: str) -> Path:
        """Return the folder of all cells of a model on a task, whatever their configuration and seed."""
        return self.root / "cells" / task / model

    def study(self, task: str, model: str, key: str) -> Path:
        """Return the folder of a study: its trials, and its journal where no database keeps it."""
        return self.root / "studies" / task / model / key

    def records(self, task: str, model: str) -> Iterator[Record]:
        """Yield the records of a model on a task that can be read, in the order of their keys."""
        for path in sorted(self.folder(task, model).glob(f"*/{RECORD}")):
            with contextlib.suppress(OSError, ValueError, RecursionError):
                yield read_record(path)

    def record_paths(self) -> Iterator[Path]:
        """Yield the path of every record, in order."""
        for path in sorted((self.root / "cells").glob("*/*/*")):
            if (record := path / RECORD).is_file():
                yield record

    def scratch(self) -> Path:
        """Return a new folder on the results' own file system, for one cell's unfinished work; `discard` it after."""
        folder = self.root / ".work" / f"{platform.node()}~{os.getpid()}~{secrets.token_hex(6)}"
        folder.mkdir(parents=True)
        return folder

    def checkpoints(self, place: str, key: str) -> Path:
        """Return the folder of the checkpoints of the cell at `place` (`Cell.place`) while `key` is its claim."""
        return self.root / ".work" / "checkpoints" / place / key

    def drop_strange_checkpoints(self, place: str, key: str) -> bool:
        """Remove what a cell has of other code or data than `key`, but not what a run has in hand; say whether any."""
        found = False
        for folder in self.checkpoints(place, key).parent.glob("*"):
            claim = lock(self.claim(folder.name))
            if folder.name != key:
                with contextlib.suppress(Timeout), claim.acquire(timeout=0):
                    found |= any(folder.glob("*.safetensors"))
                    shutil.rmtree(folder, ignore_errors=True)
        return found

    def drop_checkpoints(self, place: str, key: str) -> None:
        """Remove a cell's checkpoints, if it has any."""
        folder = self.checkpoints(place, key)
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            folder.parent.rmdir()  # where it was the last
            folder.parent.parent.rmdir()

    def claim(self, key: str) -> Path:
        """Return the lock file that whoever runs a cell (its fit key) or makes an ensemble (its key) holds."""
        return self.root / ".work" / "locks" / key

    def commit(self, record: Record, staged: Path | None) -> Stored:
        """Store a record; the files in `staged` become its attempt's.

        Other attempts are dropped afterwards: the one that it replaces, and what a process left that came to its end,
        or to that of the disk, between its files and its record.
        """
        path = self.record_path(record.task_name, record.model, record.key)
        path.parent.mkdir(parents=True, exist_ok=True)
        with lock(self.claim(f"commit-{record.key}")):  # or two that drop each other's files leave a record without any
            _set_aside(path)
            if staged is not None:
                staged.rename(path.parent / record.attempt)
            write_text(path, record.model_dump_json(indent=1) + "\n")
            if not any(path.parent.glob(f"{_ASIDE}*")):  # what was set aside may have files among them
                for each in path.parent.iterdir():
                    if each.name != record.attempt and _ATTEMPT.fullmatch(each.name):
                        shutil.rmtree(each, ignore_errors=True)
        return Stored(record, path)

    def sweep(self) -> None:
        """Remove the unfinished work of processes of this machine that no longer live."""
        import psutil

        for folder in (self.root / ".work").glob(f"{glob.escape(platform.node())}~*~*"):
            if not psutil.pid_exists(int(folder.name.split("~")[1])):
                discard(folder)


def temporary(scratch: Path) -> Path:
    """Return the folder of temporary files that goes with a `scratch` folder.

    It stands with the system's: a socket's path must be short, and that to the results may be long.
    """
    return Path(tempfile.gettempdir(), f"zoobench.{scratch.name}")


def discard(scratch: Path) -> None:
    """Remove a folder of unfinished work and its temporary files."""
    for folder in (temporary(scratch), scratch):
        shutil.rmtree(folder, ignore_errors=True)


def read_record(path: Path) -> Record:
    """Read one record; that of an earlier schema comes as one of this (`schema.py`).

    Raises
    ------
    ValueError
        If the file is truncated, empty, of another kind, or of a newer schema; `schema.why_unreadable` says which.
    """
    from .schema import parse  # pydantic is slow to import, and a board from its index needs none of it

    return parse(path.read_bytes())


def _set_aside(path: Path) -> None:
    """Rename what stands at `path` and cannot be read: it is never lost."""
    try:
        read_record(path)
    except FileNotFoundError:
        return
    except (OSError, ValueError, RecursionError):
        path.rename(path.with_name(f"{_ASIDE}{secrets.token_hex(4)}-{path.name}"))


def hash_files(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below `folder`, by its path inside it."""
    return {
        path.relative_to(folder).as_posix(): sha256_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != LOG
    }


__all__ = [
    "ARTEFACT",
    "CONFIGURATION",
    "EXAMPLES",
    "HISTORY",
    "LOG",
    "PROBABILITIES",
    "RECORD",
    "RESAMPLES",
    "SCORES",
    "THRESHOLDS",
    "TRIALS",
    "Results",
    "Stored",
    "hash_files",
    "lock",
    "read_record",
]
