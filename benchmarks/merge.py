"""Results folders made into one: every cell of any of them once, whole attempts, nothing that is better lost.

Where two hold the same cell, a finished one beats one that failed, which beats one that could not run; of equals the
newer counts. Restarted after any stop the same command comes to the same folder: a record is committed last, and what
stands already is not copied again.
"""

from __future__ import annotations

import datetime
import errno
import filecmp
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from filelock import Timeout

from ..datasets.support.errors import UserError
from ..datasets.support.files import atomic_path, sha256_file
from .cell import record_key
from .links import link_on_way, no_own_files
from .record import FAULTS, Record
from .schema import why_unreadable
from .store import LOG, PROBABILITIES, RECORD, Results, Stored, discard, folder_of_results, lock, read_record

Came = Literal["added", "replaced", "completed", "kept", "refused", "busy"]
WAIT_S = 10.0
"""For a run that has a cell in hand; then it is left out and named."""
TRIES = 3
"""To read an attempt that a run replaces meanwhile."""
_OTHER_STUDY = "another study of this name stands there"
_TAKEN = frozenset({errno.ENOTEMPTY, errno.EEXIST, errno.EACCES})
"""What renaming a folder onto one that is not empty raises, by operating system."""


@dataclass(frozen=True)
class Taken:
    """What became of a cell, or of a study, of one of the folders.

    Attributes
    ----------
    came
        ``added`` to the target; ``replaced`` what stood there; ``completed`` it with files that it lacked; what stood
        there was ``kept``; ``refused``; or ``busy`` in the hands of a run.
    why
        In words: what decided, or what is wrong.
    """

    path: Path
    came: Came
    why: str = ""


@dataclass
class Merger:
    """Copies records into `target`; see `merge`."""

    target: Results
    wait_s: float = WAIT_S
    _left: set[Path] = field(default_factory=set)
    """The studies of sources that did not come along."""

    def take(self, path: Path) -> Taken:
        """Bring the record at `path` into the target, unless a better one stands there."""
        reason = ""
        for _ in range(TRIES):
            try:
                return self._take(path)
            except _ChangedError as error:
                reason = str(error)
        return Taken(path, "refused", reason)

    def _take(self, path: Path) -> Taken:
        if linked := _linked(path, path):
            return Taken(path, "refused", linked)
        try:
            stored = Stored(read_record(path), path)
        except (OSError, ValueError, RecursionError) as error:
            return Taken(path, "refused", why_unreadable(path, error))
        record = stored.record
        if wrong := _misplaced(stored) or _faulty_files(stored):
            return Taken(path, "refused", wrong)
        claim = lock(self.target.claim(record.fit_key))
        try:
            with claim.acquire(timeout=self.wait_s):
                return self._decide(stored)
        except Timeout:
            return Taken(path, "busy", "a run has this cell in hand: merge again when it has ended")

    def _decide(self, stored: Stored) -> Taken:
        record = stored.record
        place = self.target.record_path(record.task_name, record.model, record.key)
        try:
            standing = read_record(place) if place.exists() else None
        except (OSError, ValueError, RecursionError) as error:
            return Taken(
                stored.path, "refused", f"{place} stands there and cannot be read: {why_unreadable(place, error)}"
            )
        parted = self._parted(stored)
        if standing is None:
            self._copy(stored, place)
            return Taken(stored.path, "added", parted)
        if standing.attempt == record.attempt:
            return self._same(stored, Stored(standing, place))
        better, why = _better(record, standing)
        if better and parted and standing.status == "ok":
            return Taken(stored.path, "kept", parted)
        if not better:
            return Taken(stored.path, "kept", why)
        self._copy(stored, place)
        return Taken(stored.path, "replaced", f"{why}; {parted}" if parted else why)

    def _parted(self, stored: Stored) -> str:
        """Return that the trials of a tuned record did not come along; "" if they did, or it is none."""
        record = stored.record
        if record.tuning is None:
            return ""
        study = Results(stored.path.parents[4]).study(record.task_name, record.model, record.tuning.key)
        return "its study did not come along: it would stand without its trials" if study in self._left else ""

    def _same(self, stored: Stored, standing: Stored) -> Taken:
        """Complete an attempt that stands in both folders with the files that were not brought along before."""
        if stored.record != standing.record:
            return Taken(stored.path, "refused", f"another record of the same attempt than {standing.path}")
        lacking = [name for name in _files(stored) if not (standing.attempt / name).exists()]
        for name in lacking:
            with atomic_path(standing.attempt / name) as temporary:
                _copy_file(stored, name, temporary)
        return Taken(stored.path, "completed" if lacking else "kept", "" if lacking else "the same")

    def _copy(self, stored: Stored, place: Path) -> None:
        record, scratch = stored.record, self.target.scratch()
        try:
            staged = scratch / "staged"
            staged.mkdir()
            for name in _files(stored):
                (staged / name).parent.mkdir(parents=True, exist_ok=True)
                _copy_file(stored, name, staged / name)
            _check_still(stored)
            # Left by a merge that ended before its record: no record is of it.
            shutil.rmtree(place.parent / record.attempt, ignore_errors=True)
            self.target.commit(record, staged if stored.attempt.is_dir() else None)
        finally:
            discard(scratch)

    def studies(self, source: Results) -> Iterator[Taken]:
        """Bring the studies along that the target has not; two of one name do not mix, and the target's is kept."""
        for path in sorted((source.root / "studies").glob("*/*/*")):
            wrong = _strange(path, source.root)
            taken = Taken(path, "refused", wrong) if wrong else self._study(path)
            if taken.why:
                self._left.add(path)
            yield taken

    def _study(self, path: Path) -> Taken:
        place = self.target.study(*path.parts[-3:])
        if place.exists():
            return Taken(path, "kept", "" if _alike(path, place) else _OTHER_STUDY)
        scratch = self.target.scratch()
        try:
            shutil.copytree(path, scratch / "staged", symlinks=True, ignore=shutil.ignore_patterns("*.lock"))
            place.parent.mkdir(parents=True, exist_ok=True)
            # A run that begins this study meanwhile needs no lock: its folder, once anything is in it, is not replaced.
            (scratch / "staged").rename(place)
        except OSError as error:
            if error.errno not in _TAKEN or not place.exists():
                raise
            return Taken(path, "kept", "" if _alike(path, place) else _OTHER_STUDY)
        finally:
            discard(scratch)
        return Taken(path, "added")


class _ChangedError(Exception):
    """What is copied is not, or no longer, what its record says."""


def merge(target: Results, sources: Sequence[Results], wait_s: float = WAIT_S) -> Iterator[Taken]:
    """Bring every record and study of `sources` into `target`, one after another; the sources are only read.

    Raises
    ------
    UserError
        If the target cannot be written.
    """
    target.ensure_writable("--out")
    target.sweep()
    merger = Merger(target, wait_s)
    for source in sources:
        # Before the records, so that no tuned one stands without its trials.
        yield from merger.studies(source)
        for path in source.record_paths():
            yield merger.take(path)


def check_folders(target: Results, sources: Iterable[Results]) -> None:
    """Refuse folders that are not there or hold no record, and a target that is among its sources."""
    for source in sources:
        folder_of_results(source.root)
        if source.root.resolve() == target.root.resolve():
            raise UserError(f"{source.root} is the folder to merge into: name it once")
        if source.root.resolve() in target.root.resolve().parents:
            raise UserError(f"--out {target.root} lies inside {source.root}, which is only read: name another folder")
        if next(source.record_paths(), None) is None:
            raise UserError(f"{source.root} holds no record: a results folder has cells/TASK/MODEL/KEY/{RECORD}")


def _misplaced(stored: Stored) -> str:
    """Return why a record is not that of its place; "" if it is."""
    record = stored.record
    if (record.task_name, record.model, record.key) != stored.path.parts[-4:-1]:
        return f"holds the record of another cell ({record.task_name}/{record.model}/{record.key})"
    of_key = record_key(record.fit_key, record.hardware_class)
    return "" if of_key == record.key else f"its key is {record.key}, of its fit key and hardware class {of_key}"


def _faulty_files(stored: Stored) -> str:
    """Return what is wrong with the files of an attempt that would be copied; "" if nothing is."""
    for name in (*stored.record.files, LOG):
        if linked := _linked(stored.attempt / name, stored.path):
            return linked
    lacks = stored.record.status == "ok" and not (stored.attempt / PROBABILITIES).is_file()
    return f"its {PROBABILITIES} is not there" if lacks else ""


def _linked(path: Path, record: Path) -> str:
    """Return that the way to `path` goes over a link below the folder that holds `record`; "" if it does not."""
    link = link_on_way(path, record.parents[4])
    return _told_of(link, record.parents[4]) if link else ""


def _told_of(link: Path, root: Path) -> str:
    return f"{link.relative_to(root)} is a link, or no file: only what the folder itself holds is merged"


def _better(new: Record, old: Record) -> tuple[bool, str]:
    """Return whether `new` takes the place of `old`, and what decided."""
    if _rank(new) != _rank(old):
        first, second = (new, old) if _rank(new) > _rank(old) else (old, new)
        return first is new, f"{first.status} before {second.status}"
    newer = (_time(new), new.attempt) > (_time(old), old.attempt)
    first, second = (new, old) if newer else (old, new)
    return newer, f"that of {first.created} before that of {second.created}"


def _rank(record: Record) -> int:
    return 2 if record.status == "ok" else 1 if record.status in FAULTS else 0


def _time(record: Record) -> float:
    """Return when a record was made, in seconds; whoever does not say it came first."""
    try:
        made = datetime.datetime.fromisoformat(record.created)
    except ValueError:
        return 0.0
    return (made if made.tzinfo else made.replace(tzinfo=datetime.UTC)).timestamp()


def _files(stored: Stored) -> list[str]:
    """Return the files of an attempt that are there: those that its record lists, and its log."""
    return [name for name in (*stored.record.files, LOG) if (stored.attempt / name).is_file()]


def _copy_file(stored: Stored, name: str, to: Path) -> None:
    """Copy a file of an attempt, and make sure that it is the one that was recorded."""
    try:
        shutil.copyfile(stored.attempt / name, to)
    except FileNotFoundError as error:
        raise _ChangedError(f"its {name} went away") from error
    if name != LOG and sha256_file(to) != stored.record.files[name]:
        raise _ChangedError(f"its {name} is not the file that was recorded")


def _check_still(stored: Stored) -> None:
    """Make sure that a record stands as it was read: its files go only after another has taken its place."""
    try:
        still = read_record(stored.path).attempt == stored.record.attempt
    except (OSError, ValueError, RecursionError):
        still = False
    if not still:
        raise _ChangedError("it was replaced while it was copied")


def _strange(study: Path, root: Path) -> str:
    """Return that a study is not all of files of its own; "" if it is."""
    link = link_on_way(study, root) or next(iter(no_own_files(study)), None)
    return _told_of(link, root) if link else ""


def _alike(one: Path, other: Path) -> bool:
    """Return whether two studies have the same files."""
    first, second = (
        {path.relative_to(root): path for path in root.rglob("*") if path.is_file() and path.suffix != ".lock"}
        for root in (one, other)
    )
    if first.keys() != second.keys():
        return False
    # Their sizes do not tell: probabilities of other trials have mostly the same.
    return all(filecmp.cmp(path, second[name], shallow=False) for name, path in first.items())
