"""What the results folder holds and which of it can answer; looked at again when the folder changes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...benchmarks.predict import best_cell, best_of
from ...benchmarks.record import ENSEMBLES
from ...benchmarks.store import ARTEFACT
from ...datasets.support.errors import UserError, unknown_name
from ...zoo.core import missing_modules, split_name
from .. import index
from ..cards import model_cards, task_cards
from ..frame import folder_of_results, load_board
from .refusals import RefusalError

if TYPE_CHECKING:
    import pandas as pd

    from ...benchmarks.store import Stored
    from ...datasets.core import TaskCard
    from ...zoo.core import ModelCard
    from .settings import Settings

_log = logging.getLogger("zoobench.serve")
_LONGEST_NAME = 200


@dataclass(frozen=True, eq=False)
class Catalogue:
    """A look at the results folder.

    Attributes
    ----------
    board, records
        The rows of `zoobench board`, and how many records there are.
    answering
        By task, with its protocol, the models that can answer it, as ``NAME`` and ``NAME@PRESET``.
    """

    settings: Settings
    tasks: Mapping[str, TaskCard]
    models: Mapping[str, ModelCard]
    board: pd.DataFrame
    records: int
    answering: Mapping[str, Sequence[str]]
    _found: dict[tuple[str, str], Stored] = field(default_factory=dict)

    def found(self, task: str, model: str | None) -> Stored | None:
        """Return what `find` found before."""
        return self._found.get((task, model or ""))

    def find(self, task: str, model: str | None) -> Stored:
        """Return the stored model that answers: of a model its best cell on the validation fold; it reads records.

        Without a model, the single one that is best there. Only names in this catalogue reach the file system.

        Raises
        ------
        RefusalError
            If nothing of that name can answer.
        """
        if task not in self.answering:
            raise RefusalError(404, "unknown_task", _unknown("task with a stored model", task, self.answering))
        known = self.answering[task]
        if model is not None and model not in known:
            raise RefusalError(404, "unknown_model", _unknown(f"stored model of {task}", model, known))
        if (task, model or "") not in self._found:
            self._found[task, model or ""] = self._best(task, [model] if model else _single(known))
        return self._found[task, model or ""]

    def card_of(self, task: str) -> TaskCard:
        """Return the card of a task that may be named with its protocol."""
        base, protocol = split_name(task)
        return self.tasks[base].under(protocol)

    def _best(self, task: str, models: Sequence[str]) -> Stored:
        modality, cells = self.card_of(task).modality, []
        for model in models:
            with contextlib.suppress(UserError):  # its file went since
                cells.append(best_cell(task, model, self.settings.results, self.settings.plugins, modality))
        if not cells:
            raise RefusalError(409, "cannot_answer", f"no model of {task} can answer any more: run it again")
        return best_of(cells)


class Folder:
    """The results folder, as it was at most some seconds ago; used on one event loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stamps = _stamps(settings)
        self._catalogue = look(settings)
        self._looked, self._turn = time.monotonic(), asyncio.Lock()

    async def now(self) -> Catalogue:
        """Return the catalogue, made anew in a thread where a record came, went or changed."""
        async with self._turn:
            if time.monotonic() - self._looked >= self._settings.refresh_s:
                await asyncio.to_thread(self._refresh)
                self._looked = time.monotonic()
            return self._catalogue

    def _refresh(self) -> None:
        if (stamps := _stamps(self._settings)) == self._stamps:
            return
        try:
            self._catalogue, self._stamps = look(self._settings), stamps
        except (UserError, OSError) as error:  # half of a folder that somebody copies: what was there before holds
            _log.warning("results are as they were: %s", error)


def look(settings: Settings) -> Catalogue:
    """Read the results folder.

    Raises
    ------
    UserError
        If it is missing or has no record.
    """
    board = load_board(settings.results)
    tasks, models = task_cards(), model_cards()
    rows = index.read_rows(folder_of_results(settings.results)).frame
    return Catalogue(settings, tasks, models, board.frame, len(rows), _answering(settings, rows, tasks, models))


def _stamps(settings: Settings) -> Mapping[str, Any]:
    return index.scan_records(settings.results.expanduser().absolute()).stamps


def _answering(
    settings: Settings, rows: pd.DataFrame, tasks: Mapping[str, TaskCard], models: Mapping[str, ModelCard]
) -> dict[str, tuple[str, ...]]:
    """Return by task the names that `best_cell` would find a model for."""
    root = settings.results.expanduser().absolute()
    found: dict[str, dict[str, None]] = {}
    here = {name for name, card in models.items() if not missing_modules(card.requires)} | set(ENSEMBLES)
    columns = ("task", "model", "preset", "path", "attempt", "status", "fraction")
    for task, model, preset, path, attempt, status, fraction in rows[list(columns)].itertuples(index=False):
        base, protocol = split_name(task)
        if status != "ok" or fraction != 1 or model not in here or base not in tasks:
            continue
        if protocol not in tasks[base].protocols or (model in ENSEMBLES and tasks[base].modality == "image"):
            continue
        if model in ENSEMBLES or (root / path).parent.joinpath(attempt, ARTEFACT).is_dir():
            names = found.setdefault(task, {})
            names[model] = None
            if preset and model in models and preset in models[model].presets:
                names[f"{model}@{preset}"] = None
    return {task: tuple(sorted(names)) for task, names in sorted(found.items())}


def _single(names: Sequence[str]) -> list[str]:
    """Return the models that are no ensembles, or all names where there are none: an ensemble loads all its members."""
    return [name for name in names if name not in ENSEMBLES and "@" not in name] or list(names)


def _unknown(kind: str, name: str, known: Mapping[str, Any] | Sequence[str]) -> str:
    """Return the message for a name that nothing answers to; one of any length and content is a line."""
    return str(unknown_name(kind, ascii(name[:_LONGEST_NAME])[1:-1], known))
