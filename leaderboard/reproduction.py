"""Each published number beside ours, from stored records: what has none says so, and which command measures it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from ..benchmarks.metrics import MAIN_METRICS, METRICS
from ..benchmarks.record import Record
from ..benchmarks.store import Stored, read_record
from ..zoo.core import split_name
from ..zoo.text import ENCODER
from .cards import card_of_model
from .elsewhere import class_in_question
from .frame import load_board
from .known_rows import TruthsHere
from .originals import COUNTS, TRAINING, Entry, Original, Reading
from .recommend_data import newest_table
from .sheet_notes import without_ways
from .tables import Row, model_words, rows_of

if TYPE_CHECKING:
    from ..benchmarks.rows import Rows
    from ..datasets.core import Fold

NOT_RUN = "not run"
PACKAGED = str(ENCODER["encoder"])
"""The encoder that needs no hub."""
NO_TARGETS, NOT_KEPT = "needs the test targets", "not kept"


@dataclass(frozen=True)
class Line:
    """A published number beside ours.

    Attributes
    ----------
    theirs
        With the digits of the original.
    ours, low, high
        Of the row of the board that `by` names, with its 95 % interval where its metric has one; None where there is
        none.
    missing
        Why the original's own model has no figure: `NOT_RUN`, or the status of its record; empty if it has. What
        stands in its place is still in `ours`.
    """

    name: str
    reading: Reading
    theirs: Decimal
    ours: float | None = None
    low: float | None = None
    high: float | None = None
    by: str = ""
    fit_s: float | None = None
    hardware: str = ""
    missing: str = ""

    def __post_init__(self) -> None:
        if (self.ours is None) and not self.missing:
            raise ValueError(f"{self.name}: a line without a figure says why")

    @property
    def difference(self) -> float | None:
        """Ours less theirs; None where there is none, or where seconds or rows do not compare."""
        return None if self.ours is None or self.reading.measure in COUNTS else self.ours - float(self.theirs)

    @property
    def within(self) -> bool:
        """Whether theirs lies within our interval."""
        return self.low is not None and self.high is not None and self.low <= float(self.theirs) <= self.high


@dataclass(frozen=True)
class Gap:
    """What has no figure: models (NAME@PRESET) on a task with settings, all for the same reason, as `Line.missing`."""

    missing: str
    task: str
    settings: tuple[str, ...]
    models: tuple[str, ...]

    @property
    def command(self) -> str:
        """The command that measures them into the committed records."""
        told = [f"--task {self.task}", *(f"--model {name}" for name in self.models)]
        told += [f"--set {each}" for each in self.settings]
        return f"zoobench run {' '.join(told)} --results leaderboard/results"

    @property
    def encoders(self) -> tuple[str, ...]:
        """What their encoders are called on a hub; none of those that come with the package."""
        return tuple(each for each in self._named("encoder") if each != PACKAGED)

    @property
    def downloads(self) -> tuple[str, ...]:
        """Weights of image networks that are downloaded first."""
        return tuple(each for each in self._named("weights") if each != "none")

    def _named(self, setting: str) -> tuple[str, ...]:
        cards = [(card_of_model(name), preset) for name, preset in map(split_name, self.models)]
        named = [card.configure(preset).get(setting, "") for card, preset in cards if card is not None]
        return tuple(dict.fromkeys(str(each) for each in named if each))


@dataclass(frozen=True)
class Reproduced:
    """A table of an original, line by line, and what has no figure.

    `best` is the row of the board that is best by the table's first measure, None where no row has it.
    """

    original: Original
    lines: tuple[Line, ...]
    gaps: tuple[Gap, ...]
    best: Line | None


class Boards:
    """The boards of a results folder by metric and policy, each read once.

    Raises
    ------
    UserError
        When a board is asked for: as `frame.load_board`.
    """

    def __init__(self, results: Path) -> None:
        self.root = results.expanduser().absolute()
        self._truths = TruthsHere()
        self._results = results
        self._boards: dict[tuple[str, str | None, str], list[Row]] = {}
        self._records: dict[str, Stored] = {}

    @cached_property
    def _tasks(self) -> frozenset[str]:
        return frozenset(load_board(self._results).frame["task"])

    def rows(self, task: str, measure: str = "", policy: str = "") -> list[Row]:
        """Return the rows of a task's newest data and folds, the best by `measure` first where it has an interval."""
        key = (task, measure if measure in MAIN_METRICS else None, policy)
        if key not in self._boards:
            there = task in self._tasks
            rows = rows_of(load_board(self._results, task, key[1], policy or None).frame) if there else []
            self._boards[key] = newest_table(rows) if rows else []
        return self._boards[key]

    def stored(self, row: Row) -> list[Stored]:
        """Return the finished records of a row."""
        for path in row["records"].split(";"):
            if path not in self._records:
                self._records[path] = Stored(read_record(self.root / path), self.root / path)
        found = [self._records[path] for path in row["records"].split(";")]
        return [stored for stored in found if stored.record.status == "ok"]

    def answers(self, stored: Stored) -> Mapping[Fold, Rows] | None:
        """Return the validation and test rows of a record, or None where they are not known here."""
        found = self._truths.rows(stored)
        return None if isinstance(found, str) else found


def reproduce(boards: Boards, original: Original) -> Reproduced:
    """Return a table of an original beside what the records have of it."""
    lines = []
    gaps: dict[tuple[str, str, tuple[str, ...], bool], dict[str, None]] = {}
    for entry in original.entries:
        settings = tuple(f"{name}={value}" for name, value in entry.settings.items())
        for theirs, readings in zip(entry.values, original.columns, strict=True):
            for reading in readings:
                line = _line(boards, original, entry, reading, theirs)
                lines.append(line)
                rows = boards.rows(reading.task)
                for model in filter(None, (entry.model, entry.stands_in)):
                    row, missing = find_row(rows, model, entry.settings)
                    if row is None:
                        # What stands in runs without what the original's own needs: it is another command.
                        key = (missing, reading.task, settings, model == entry.stands_in)
                        gaps.setdefault(key, {})[model] = None
    found = tuple(Gap(*key[:3], tuple(models)) for key, models in gaps.items())
    return Reproduced(original, tuple(lines), found, _best(boards, original))


def _line(boards: Boards, original: Original, entry: Entry, reading: Reading, theirs: Decimal) -> Line:
    rows = boards.rows(reading.task, reading.measure, original.policy)
    own, status = find_row(rows, entry.model, entry.settings)
    other = find_row(rows, entry.stands_in, entry.settings)[0] if own is None and entry.stands_in else None
    row = own or other
    if row is None:
        return Line(entry.name, reading, theirs, missing=status)
    value = _value(boards, row, reading, entry.label, original.policy)
    if value is None:
        of_rows = reading.measure.partition(":")[0] in _OF_ROWS
        return Line(entry.name, reading, theirs, missing=NO_TARGETS if of_rows else NOT_KEPT)
    return _held_against(row, entry.name, reading, theirs, value, "" if own else status)


def _held_against(row: Row, name: str, reading: Reading, theirs: Decimal, value: float, missing: str = "") -> Line:
    bounds = (row["low"], row["high"]) if row["ranked_by"] == reading.measure else (None, None)
    return Line(name, reading, theirs, value, *bounds, called(row), row["fit_s"], row["hardware"], missing)


def called(row: Row) -> str:
    """Return what a row is called, without the folders of the machine that it was measured on."""
    return model_words({**row, "settings": without_ways(row["settings"])})


def find_row(rows: Sequence[Row], model: str, settings: Mapping[str, str]) -> tuple[Row | None, str]:
    """Return the row of the board of NAME@PRESET as it comes, and why there is none.

    Rows with further settings count where there is none without; of several machines the one that most rows are of.
    """
    name, preset = split_name(model)
    wanted = {f"{key}={value}" for key, value in settings.items()}
    fitting = [
        (row, held)
        for row in rows
        if (row["model"], row["preset"], row["mode"]) == (name, preset, "default")
        and wanted <= (held := set(filter(None, row["settings"].split(", "))))
    ]
    done = [(row, held) for row, held in fitting if row["rank"] is not None]
    if not done:
        status = fitting[0][0]["status"] if fitting else NOT_RUN
        return None, NOT_KEPT if status == "ok" else status
    usual = class_in_question(rows, None, rows)
    return min(done, key=lambda each: (len(each[1] - wanted), each[0]["hardware"] != usual, each[0]["rank"]))[0], ""


def _value(boards: Boards, row: Row, reading: Reading, label: str, policy: str) -> float | None:
    """Return a row's measure, the mean over its seeds; None where it needs targets that are not here."""
    measure = reading.measure
    if measure in METRICS or measure == "fit_s":
        return row[measure]
    read = _READ[measure.partition(":")[0]]
    found = [read(boards, stored, measure.partition(":")[2], label, policy) for stored in boards.stored(row)]
    known = [value for value in found if value is not None]
    return fmean(known) if known and len(known) == len(found) else None


def _of_training(boards: Boards, stored: Stored, metric: str, label: str, policy: str) -> float | None:
    train = stored.record.train
    return train[stored.record.policy].values.get(metric) if train else None


def _of_label(boards: Boards, stored: Stored, family: str, label: str, policy: str) -> float | None:
    record = stored.record
    return record.test[policy].per_label[family][record.labels.index(label)] if policy in record.test else None


def _sure(boards: Boards, stored: Stored, what: str, label: str, policy: str) -> float | None:
    from .site.figures.sure import label_sureness

    folds = boards.answers(stored)
    if folds is None:
        return None
    rows = folds["test"]
    found = label_sureness(rows.targets.astype(bool), rows.probabilities)[stored.record.labels.index(label)]
    if what == "missed":
        return float(found.missed)
    return found.sure_positives / found.positives if what == "positives" else found.sure_negatives / found.negatives


def _brier(boards: Boards, stored: Stored, what: str, label: str, policy: str) -> float | None:
    folds = boards.answers(stored)
    return None if folds is None else _label_brier(folds["test"], stored.record, label)


def _label_brier(rows: Rows, record: Record, label: str) -> float:
    place = record.labels.index(label)
    return float(((rows.probabilities[:, place] - rows.targets[:, place]) ** 2).mean())


_READ: Mapping[str, Callable[[Boards, Stored, str, str, str], float | None]] = {
    TRAINING.rstrip(":"): _of_training,
    "label": _of_label,
    "sure": _sure,
    "brier_of_label": _brier,
}
_OF_ROWS = ("sure", "brier_of_label")
"""What follows from probabilities and test targets, and stands in no record."""


def _best(boards: Boards, original: Original) -> Line | None:
    """Return the best row of the board by a table's first measure, ensembles and tuned rows among them."""
    reading = original.columns[0][0]
    floor = all(entry.model.startswith("dummy-") for entry in original.entries)
    if reading.measure not in MAIN_METRICS or floor:
        return None
    rows = [row for row in boards.rows(reading.task, reading.measure, original.policy) if row["rank"] is not None]
    rows = [row for row in rows if not row["overlap"] and row["ranked_by"] == reading.measure]
    if not rows:
        return None
    choose = max if METRICS[reading.measure].higher_is_better else min
    theirs = choose(entry.values[0] for entry in original.entries)
    return _held_against(rows[0], original.title, reading, theirs, rows[0]["value"])
