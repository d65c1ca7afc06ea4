"""Files on their way to another machine: packed into blocks, unpacked whole or not at all, known by their content."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...datasets.support.files import lock, sha256_json
from ..job import Job
from .base import Ending, Limits
from .depot import Depot

BLOCK_BYTES = 1 << 25
"""What is in memory at once of a file that is packed or unpacked, however long it is."""


class MissingError(Exception):
    """A file of a package is not where it should be, or is damaged there."""


@dataclass(frozen=True)
class Packed:
    """A file: its path in the package, its bytes, and references to its blocks; none where a depot has it."""

    path: str
    size: int
    sha256: str
    blocks: tuple[Any, ...]


@dataclass(frozen=True)
class Package:
    """Files below one folder, or one file alone."""

    files: tuple[Packed, ...]
    alone: bool = False

    @property
    def key(self) -> str:
        """Name what it holds: 32 hexadecimal digits."""
        return sha256_json([[file.path, file.size, file.sha256] for file in self.files])[:32]


@dataclass(frozen=True)
class Parcel:
    """A job on its way to a node. The paths of `job` are the sender's.

    Attributes
    ----------
    name
        Of this attempt at the job, like no other's.
    public, plugins, rows
        What the paths of those names in the job hold; None where the sender's own machine alone runs jobs.
    folders
        What the settings that name local folders or files hold.
    plugin
        Which of the plug-ins the model stands in; -1 for none.
    """

    name: str
    job: Job
    server: str
    limits: Limits
    public: Package | None = None
    plugins: tuple[Package, ...] = ()
    rows: Package | None = None
    folders: Mapping[str, Package] = field(default_factory=dict)
    plugin: int = -1


@dataclass(frozen=True)
class Reply:
    """What a node answers: how the job ended and all that it left, or what the node `wants` before it can begin."""

    node: str
    ending: Ending | None = None
    left: Package | None = None
    wants: str = ""


def pack(root: Path, keep: Callable[[bytes], Any] | Depot, files: Iterable[Path] | None = None) -> Package:
    """Return a package of `root`, a folder or a file; `keep` takes its blocks, and answers a reference to each.

    Parameters
    ----------
    files
        Those of the folder to pack; all by default.
    """
    if root.is_file():
        return Package((_packed(root, root.name, keep),), alone=True)
    chosen = sorted(path for path in (root.rglob("*") if files is None else files) if path.is_file())
    return Package(tuple(_packed(path, path.relative_to(root).as_posix(), keep) for path in chosen))


def _packed(path: Path, name: str, keep: Callable[[bytes], Any] | Depot) -> Packed:
    digest, size, blocks = hashlib.sha256(), 0, []
    for block in _blocks(path):
        digest.update(block)
        size += len(block)
        if not isinstance(keep, Depot):
            blocks.append(keep(block))
    if isinstance(keep, Depot):
        keep.put_file(f"tasks/{digest.hexdigest()}", path, size)
    return Packed(name, size, digest.hexdigest(), tuple(blocks))


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while block := stream.read(BLOCK_BYTES):
            yield block


def unpack(package: Package, folder: Path, fetch: Callable[[Any], bytes], depot: Depot | None = None) -> None:
    """Write the files of a package into `folder`.

    Raises
    ------
    MissingError
        If what comes is not what was packed.
    """
    for file in package.files:
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        with path.open("wb") as stream:
            for block in _coming(file, fetch, depot):
                digest.update(block)
                stream.write(block)
        if digest.hexdigest() != file.sha256:
            if depot is not None and not file.blocks:
                depot.remove(f"tasks/{file.sha256}")  # the next run puts it there anew
            raise MissingError(file.path)


def _coming(file: Packed, fetch: Callable[[Any], bytes], depot: Depot | None) -> Iterator[bytes]:
    if file.blocks:
        yield from map(fetch, file.blocks)
    elif file.size and depot is not None:
        try:
            yield from depot.blocks(f"tasks/{file.sha256}", BLOCK_BYTES)
        except Exception as error:  # each kind of storage has errors of its own
            raise MissingError(f"{file.path}: {error}") from error


def unpacked(package: Package, store: Path, fetch: Callable[[Any], bytes], depot: Depot | None = None) -> Path:
    """Return the folder below `store`, or the file in it, that holds a package; unpacked once, also by many at once.

    Raises
    ------
    MissingError
        If what comes is not what was packed.
    """
    folder = store / package.key
    with lock(folder.with_suffix(".lock")):
        if not _whole(package.files, folder):
            shutil.rmtree(folder, ignore_errors=True)
            beside = Path(tempfile.mkdtemp(dir=store, prefix=f".{package.key}."))
            try:
                unpack(package, beside, fetch, depot)
                beside.rename(folder)
            finally:
                shutil.rmtree(beside, ignore_errors=True)
    return folder / package.files[0].path if package.alone else folder


def _whole(files: Sequence[Packed], folder: Path) -> bool:
    try:
        return all((folder / file.path).stat().st_size == file.size for file in files) and folder.is_dir()
    except OSError:
        return False
