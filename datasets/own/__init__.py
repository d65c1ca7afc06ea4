"""A user's own table as a task: a small TOML says what its columns are (its keys: ``datasets/README.md``)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..core import TASKS, Examples, Leak, Protocol, Task, TaskCard
from ..support.errors import UserError
from ..tables import SUFFIXES as TABLES
from ..tables import read_table
from .examples import Rows, image_files, read_rows
from .folds import FoldStore
from .labels import read_labels
from .settings import Settings, read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

SUFFIX = ".toml"


def is_own(name: str) -> bool:
    """Return whether a task is given by its TOML and not by a name (which holds no dot)."""
    return name.lower().endswith(SUFFIX)


def task_of(name: str) -> Task:
    """Return the registered task called `name`, or the one that the TOML at that path makes, which is registered.

    Raises
    ------
    UserError
        If there is none, its table cannot be used, or a task of another origin has its name.
    """
    if Path(name).suffix.lower() in TABLES:
        raise UserError(f"{name} is a table: `zoobench new task {name}` writes the TOML that makes a task of it")
    if not is_own(name):
        return TASKS.get(name)
    task = load_task(Path(name))
    TASKS.add(task, str(_absolute(Path(name))))
    return task


def registered(name: str) -> str:
    """Return a task's name as the registry has it: a TOML's path becomes the name of the task, registered by this."""
    return task_of(name).card.name if is_own(name) or Path(name).suffix.lower() in TABLES else name


def name_of(name: str) -> str:
    """Return the name of a task given by name or by the path of its TOML; its table is not read."""
    return read_settings(_absolute(Path(name))).name if is_own(name) else name


def load_task(path: Path) -> Task:
    """Return the task that the TOML at `path` makes of a table.

    Raises
    ------
    UserError
        In one line: the file, row and column, what is wrong there, and what to do.
    """
    own = _Own(_absolute(path))
    return Task(own.card(), own.read, own.sources, __name__)


def resplit(name: str) -> None:
    """Deal the rows of the table of the TOML at path `name` anew, as it is now, and replace the stored folds.

    Raises
    ------
    UserError
        If `name` is no TOML, or its table cannot be used.
    """
    if not is_own(name):
        raise UserError(f"--resplit deals the rows of a table of your own anew, and {name} is none: give a FILE.toml")
    _Own(_absolute(Path(name))).deal()


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


class _Own:
    """What a TOML says, and the table and folds that go with it."""

    def __init__(self, path: Path) -> None:
        self._path, self._settings = path, read_settings(path)
        self._store = FoldStore(path, self._settings)
        self._fresh: Rows | None = None

    def card(self) -> TaskCard:
        """Return the card; the label columns alone are read for it."""
        settings, file = self._settings, Path(self._settings.path).name
        table = read_table(self._path.parent / settings.path, settings.label_columns, settings.delimiter)
        table.require(settings.columns)
        labels, _ = read_labels(settings, table)
        return TaskCard(
            name=settings.name,
            title=settings.title or settings.name.replace("-", " ").capitalize(),
            description=settings.description or f"Which of {len(labels)} labels does a row of {file} carry?",
            version=1,
            kind=settings.kind,
            modality="image" if settings.image else "text",
            labels=labels,
            primary_metric=settings.metric,
            group=_group(settings),
            licence=settings.licence,
            source=settings.source or file,
            citation=settings.citation,
            language=settings.language,
            requires=("PIL",) if settings.image else (),
            extra="vision" if settings.image else "",
            protocols={"": Protocol(description=_dealing(settings), leaks=_leaks(settings))},
            tabular=settings.numeric,
            image_size=settings.size if settings.image else 0,
        )

    def deal(self) -> None:
        """Read the table, deal its rows and store their folds."""
        rows = read_rows(self._settings, self._path.parent)
        self._store.write(rows)
        self._fresh = rows

    def sources(self) -> tuple[Path, ...]:
        """Return the TOML, the table, the folds, and what holds the images; folds that are not there yet are made."""
        if not self._store.exists():
            self.deal()
        table = self._path.parent / self._settings.path
        return (self._path, table, self._store.csv, *self._images(table))

    def read(self) -> Examples:
        """Return the examples with their folds."""
        if not self._store.exists():
            self.deal()
        rows, self._fresh = self._fresh or read_rows(self._settings, self._path.parent), None
        return replace(rows.examples, folds=self._store.load(rows))

    def _images(self, table: Path) -> tuple[Path, ...]:
        """Return the folders of the images, or the images themselves where such a folder holds the TOML.

        A worker is kept from opening any of it, and results may lie beside the TOML.
        """
        if not (column := self._settings.image):
            return ()
        files = image_files(read_table(table, (column,), self._settings.delimiter), column)
        homes = {path.parent.resolve() for path in files}
        if any(self._path.resolve().is_relative_to(home) for home in homes):
            return tuple(sorted(set(files)))
        return tuple(sorted(homes))


def _group(settings: Settings) -> str:
    if settings.group:
        return f"column {settings.group!r}"
    return "identical image" if settings.image else "near-identical text (TF-IDF cosine of 0.9 or more)"


def _dealing(settings: Settings) -> str:
    if settings.split:
        cut = f", {settings.validation:.0%} of the training rows cut for validation" if settings.validation else ""
        return f"the folds that column {settings.split!r} says{cut}"
    shares = "/".join(f"{100 * share:g}" for share in settings.shares)
    twins = "identical images" if settings.image else "near-identical texts"
    tied = f"rows with one {settings.group!r}" if settings.group else twins
    return f"{shares} by iterative stratification; {tied} stay together"


def _leaks(settings: Settings) -> Mapping[Leak, str]:
    """Return the leaks that are meant: those the user explains, and twins where a column keeps rows together."""
    if settings.group and not settings.split:
        why = f"folds go by column {settings.group!r}: equal or like inputs of two of its values may part"
        return {"exact": why, "near": why}
    return settings.leaks
