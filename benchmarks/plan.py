"""From a request to cells: tasks are prepared, configurations completed, keys made."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..datasets import own
from ..datasets.core import TASKS, Fold, Task, TaskCard
from ..datasets.fetch import raw_folders
from ..datasets.groups import train_groups
from ..datasets.layout import PUBLIC, load_training
from ..datasets.prepare import Prepared, prepare
from ..datasets.support.errors import UnavailableError, UserError
from ..datasets.support.files import sha256_file, sha256_json
from ..zoo.core import MODELS, Config, Model, ModelCard, Scalar, missing_modules, split_name
from .cell import Cell, source_fingerprint
from .engines.servers import computes_on
from .fractions import WHOLE, check_subset, nested_subset, subset_seed
from .options import Request
from .record import Status
from .search import Search


@dataclass(frozen=True)
class Planned:
    """A cell and what running it takes.

    Attributes
    ----------
    prepare_s
        Seconds that preparing the task took this time.
    sources
        The raw files of all tasks, which hold test targets too.
    obstacle
        Why it cannot run here, as (status, reason); None if it can.
    search
        What a study of it searches; None for a cell that is fitted as it is.
    subset
        (k,) int64 sorted numbers of the training rows that it is fitted on; None for all.
    """

    cell: Cell
    card: TaskCard
    model: Model
    prepared: Prepared
    prepare_s: float
    sources: tuple[Path, ...]
    obstacle: tuple[Status, str] | None
    search: Search | None = None
    subset: np.ndarray | None = None

    @property
    def rows(self) -> Mapping[Fold, int]:
        """The rows in each fold; of the training fold those that the model is fitted on."""
        return self.prepared.rows if self.subset is None else {**self.prepared.rows, "train": len(self.subset)}


def plan(request: Request, on_prepare: Callable[[str], None]) -> tuple[list[Planned], list[str]]:
    """Return the cells of a request, task by task, seed by seed, model by model; and why tasks have none.

    One damaged task does not keep the others from running.

    Parameters
    ----------
    on_prepare
        Called with what is done, in words, before each task is prepared and its subsets are drawn.

    Raises
    ------
    UserError
        If no task can be prepared.
    """
    cells: list[Planned] = []
    refused: list[str] = []
    for file in request.resplit:
        own.resplit(str(file))
    for name in request.tasks:
        on_prepare(f"preparing task {name}")
        base, protocol = split_name(name)
        task = TASKS.get(base)
        card = task.card.under(protocol)
        start = time.monotonic()
        try:
            prepared = prepare(task, protocol)
            seconds = time.monotonic() - start
            subsets = _subsets(request, task, prepared, on_prepare)
        except UnavailableError as error:
            refused.append(f"task {name} cannot be read: {error}")
            continue
        except UserError as error:
            refused.append(str(error))
            continue
        sources = (*raw_folders(TASKS.entries()), *task.sources())
        for (seed, fraction), subset in subsets.items():
            for wanted in request.models:
                model, cell = _cell(wanted, card, prepared, (seed, fraction), request)
                obstacle = _obstacle(model, card, cell)
                planned = Planned(cell, card, model, prepared, seconds, sources, obstacle, subset=subset)
                cells += [planned, *_tuned(planned, request)]
    if refused and not cells:
        raise UserError(refused[0])
    return cells, refused


def card_of(model: str) -> ModelCard:
    """Return the card of a model; UserError where none of that name is known here."""
    return MODELS.get(model).card


def _subsets(
    request: Request, task: Task, prepared: Prepared, tell: Callable[[str], None]
) -> dict[tuple[int, float], np.ndarray | None]:
    """Return the training rows of each seed and fraction; drawn from the targets and groups of that fold alone.

    Raises
    ------
    UserError
        If one is too small to learn from.
    """
    found: dict[tuple[int, float], np.ndarray | None] = {
        (seed, fraction): None for seed in request.seeds for fraction in request.fractions
    }
    if request.fractions == WHOLE:
        return found
    card = task.card.under(prepared.protocol)
    tell(f"drawing parts of the training rows of {card.name}")
    groups = train_groups(task, prepared)
    targets = load_training(prepared.folder / PUBLIC, "train")[1]
    for seed, fraction in found:
        if fraction < 1:
            drawn_by = subset_seed(prepared.split_sha256, seed)
            rows = nested_subset(targets, groups, fraction, drawn_by, card.kind)
            check_subset(rows, targets, card.kind, f"fraction {fraction:g} of {card.name}", card.labels)
            found[seed, fraction] = rows
    return found


def _tuned(planned: Planned, request: Request) -> list[Planned]:
    """Return the cell that tunes a planned one, where tuning is asked for and its model has what to search."""
    budget, cell, card = request.budget, planned.cell, planned.model.card
    if budget is None:
        return []
    search = Search.of(card, cell.config, {key for key in request.settings if key in card.default})
    if not search.space or (planned.obstacle and planned.obstacle[0] == "incompatible"):
        return []
    tuning = {**budget.as_json(), "space": search.identity}
    return [replace(planned, cell=replace(cell, tuning=tuning), search=search)]


def _cell(
    name: str, card: TaskCard, prepared: Prepared, drawn: tuple[int, float], request: Request
) -> tuple[Model, Cell]:
    """Return a model and its cell; `drawn` is its seed, and its fraction of the training rows."""
    base, preset = split_name(name)
    model = MODELS.get(base)
    mine = {key: value for key, value in request.settings.items() if key in model.card.default}
    usual = model.card.configure(preset)
    config, folders = _with_folders(model.card, model.card.configure(preset, mine))
    cell = Cell(
        task=card.name,
        protocol=prepared.protocol,
        task_version=card.version,
        data_fingerprint=prepared.fingerprint,
        split_sha256=prepared.split_sha256,
        model=base,
        preset=preset,
        config=config,
        settings={key: config[key] for key in mine if config[key] != usual[key]},
        seed=drawn[0],
        source_sha256=source_fingerprint(model.module),
        primary_metric=card.primary_metric,
        folders=folders,
        fraction=drawn[1],
        tf32=request.tf32 if computes_on(model.card, config, request.device) == "cuda" else None,
    )
    return model, cell


def _with_folders(card: ModelCard, config: Config) -> tuple[dict[str, Scalar], dict[str, str]]:
    """Return the configuration with its local folders and files absolute, and the hash of what each holds."""
    full, hashes = dict(config), {}
    for name in card.folders:
        if config[name] in card.choices.get(name, ()):
            continue  # the word, also where something in the current folder is called so
        folder = Path(str(config[name])).expanduser()
        if folder.is_dir():
            full[name] = str(folder.absolute())
            files = sorted(path for path in folder.iterdir() if path.is_file())
            hashes[name] = sha256_json([[path.name, sha256_file(path)] for path in files])
        elif folder.is_file():
            full[name], hashes[name] = str(folder.absolute()), sha256_file(folder)
    return full, hashes


def _obstacle(model: Model, task: TaskCard, cell: Cell) -> tuple[Status, str] | None:
    card = model.card
    if card.modality not in (task.modality, "any"):
        return "incompatible", f"{card.name} reads {card.modality}, {task.name} is {task.modality}"
    if task.kind not in card.kinds:
        return "incompatible", f"{card.name} answers {' and '.join(card.kinds)} tasks, {task.name} is {task.kind}"
    backend = (str(cell.config["backend"]),) if card.framework == "keras" and "backend" in cell.config else ()
    missing = missing_modules((*card.requires, *backend))
    if missing:
        command = f"pip install 'zoobench[{card.extra}]'" if card.extra else f"pip install {' '.join(missing)}"
        return "unavailable", f"{', '.join(missing)} is not installed: {command}"
    return None
