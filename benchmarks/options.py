"""What a run is asked to do, refused before anything is written if it cannot be done."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypedDict

from ..datasets import own
from ..datasets.core import TASKS
from ..datasets.support.errors import UserError, unknown_name
from ..datasets.support.registry import import_plugin
from ..zoo.core import MODELS, Needs, split_name
from .budget import Budget, asked_budget
from .engines.depot import shown
from .engines.servers import computes_on, gpus_of, server_of
from .fractions import WHOLE, parse_fractions
from .gpus import VisibleGpu, choose, visible
from .hardware import choose_device, cores
from .metrics import METRICS

SUITES = Path(__file__).parent / "suites"
RESULTS = "zoobench-results"
TIMEOUT_S = 3600.0
ENGINES = ("local", "ray")


# `set` is what the command line calls it, and no name for an attribute of a class.
class _Named(TypedDict, total=False):
    set: Mapping[str, Any]


class RunOptions(_Named, total=False):
    """The options of `run`, named as on the command line.

    Keys
    ----
    task, model
        Names that replace the suite's; ``name@protocol`` and ``name@preset``. A task may also be the path of a
        TOML that describes a table of one's own (see ``datasets/README.md``).
    resplit
        Deal the rows of such tables anew before the run.
    seed
        Whole numbers, 0 and up.
    fractions
        Parts of the training rows to fit on, such as ``"0.1,0.25,0.5,1"`` or numbers: a learning curve.
    engine, address
        "local", or "ray" for the machines of a Ray cluster: at `address` (``auto``, ``HOST:PORT``, ``ray://HOST:PORT``),
        or else Ray on this machine alone.
    cache
        With ray: URL or folder by which prepared tasks and features reach all nodes, and later runs.
    jobs
        Cells side by side, among which threads are divided; "auto" chooses by a measurement of this machine.
        One by default; with ray as many as the cluster holds.
    cells_per_gpu
        Cells that may share a GPU; each has one of its own by default.
    share_gpus
        Use GPUs that other processes use too.
    tf32
        Whether a GPU computes products of float32 in TF32; by default as each framework does.
    timeout
        Seconds of wall time a cell.
    memory_gb
        GB (10^9 bytes) that a cell may add to the warm process it forks from; 90 % of the machine's by default.
    threads
        Threads of all cells together; all cores by default. With ray: of each cell; what its model's card says.
    set
        Model settings on top of the preset, for every chosen model that has them.
    plugin
        Python files that register models or tasks.
    trials
        Trials of a study of each cell: it is fitted as it is, and tuned as well.
    tune_time
        Seconds after which a study begins no further trial.
    storage
        Database URL of the studies, shared by several machines; a journal in the results folder by default.
    pruner
        What ends trials early, of models that report epochs: one of `budget.PRUNERS`.
    checkpoint
        Whether networks are kept after each epoch: a cell that was killed goes on from there. Trials are not.
    """

    task: str | Sequence[str]
    model: str | Sequence[str]
    seed: int | Sequence[int]
    fractions: str | float | Sequence[float]
    engine: str
    address: str
    cache: str
    jobs: int | str
    cells_per_gpu: int
    share_gpus: bool
    tf32: bool | None
    timeout: float
    memory_gb: float | None
    threads: int
    device: str
    results: str | os.PathLike[str]
    plugin: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
    fresh: bool
    quiet: bool
    resplit: bool
    trials: int | None
    tune_time: float | None
    storage: str | None
    pruner: str
    checkpoint: bool


@dataclass(frozen=True)
class Request:
    """A checked run: every name is known, every number makes sense.

    Attributes
    ----------
    jobs
        Cells side by side; "auto" is chosen when the cells are known.
    resplit
        TOMLs to deal anew.
    gpus
        Those that cells are given, the best first; none where no cell computes on one.
    remarks
        What a person should know before the first cell begins.

    With the engine ray, `jobs` and `threads` are 0 and `memory_gb` is None where nobody named them, and the cluster
    settles these and the device "auto".
    """

    title: str
    tasks: tuple[str, ...]
    models: tuple[str, ...]
    seeds: tuple[int, ...]
    jobs: int | Literal["auto"]
    timeout: float
    memory_gb: float | None
    threads: int
    device: str
    results: Path
    plugins: tuple[Path, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    fresh: bool = False
    quiet: bool = False
    resplit: tuple[Path, ...] = ()
    budget: Budget | None = None
    fractions: tuple[float, ...] = WHOLE
    checkpoint: bool = False
    gpus: tuple[VisibleGpu, ...] = ()
    cells_per_gpu: int = 1
    tf32: bool | None = None
    remarks: tuple[str, ...] = ()
    engine: str = "local"
    address: str | None = None
    cache: str = ""


def suites() -> dict[str, Path]:
    """Return the suite files by name."""
    return {path.stem: path for path in sorted(SUITES.glob("*.toml"))}


def default_results() -> str:
    """Return the results folder where none is named: ``ZOOBENCH_RESULTS``, or one in the current folder."""
    return os.environ.get("ZOOBENCH_RESULTS", RESULTS)


def check(suite: str, options: RunOptions) -> Request:
    """Return the run that a suite and options ask for.

    Raises
    ------
    UserError
        For a name that nothing answers to, a plug-in that does not import, or a number out of range.
    """
    if strange := set(options) - set(RunOptions.__annotations__):
        raise unknown_name("option of run", min(strange), RunOptions.__annotations__)
    plugins = tuple(Path(path).expanduser().absolute() for path in _several(options.get("plugin")))
    added = [name for path in plugins for name in load_plugin(path)]
    chosen = read_suite(suite)
    asked = tuple(map(str, _several(options.get("task")))) or tuple(chosen["tasks"])
    tasks = tuple(map(own.registered, asked))
    models = _several(options.get("model")) or (*_usual(chosen, tasks), *added)
    fractions = parse_fractions(options.get("fractions"))
    check_names(tasks, models, options.get("set", {}))
    _check_inputs(tasks, models)
    engine = _engine(options)
    jobs, threads, timeout, memory = _numbers(options, engine)
    device = choose_device(options.get("device", "auto"), elsewhere=engine == "ray")
    gpus, remarks = _gpus(options, device, models) if engine == "local" else ((), [])
    return Request(
        title=_title(chosen, tasks, models),
        tasks=tuple(dict.fromkeys(tasks)),
        models=tuple(dict.fromkeys(models)),
        seeds=_seeds(options, chosen),
        jobs=jobs,
        timeout=timeout,
        memory_gb=memory,
        threads=threads,
        device=device,
        results=Path(options.get("results", default_results())).expanduser().absolute(),
        plugins=plugins,
        settings=dict(options.get("set", {})),
        fresh=options.get("fresh", False),
        quiet=options.get("quiet", False),
        resplit=_own_files(asked) if options.get("resplit", False) else (),
        budget=asked_budget(options, {model: MODELS.get(split_name(model)[0]).card for model in models}),
        fractions=fractions,
        checkpoint=options.get("checkpoint", False),
        gpus=gpus,
        cells_per_gpu=options.get("cells_per_gpu", 1),
        tf32=options.get("tf32"),
        remarks=tuple(remarks),
        engine=engine,
        address=options.get("address"),
        cache=options.get("cache", ""),
    )


def _engine(options: RunOptions) -> str:
    engine = options.get("engine", "local")
    if engine not in ENGINES:
        raise unknown_name("engine", engine, ENGINES)
    for name in ("address", "cache"):
        if engine == "local" and options.get(name):
            raise UserError(f"--{name} {shown(str(options.get(name)))} is for many machines: add --engine ray")
    for name, usual in (("checkpoint", False), ("share_gpus", False), ("cells_per_gpu", 1)):
        if engine == "ray" and options.get(name, usual) != usual:
            raise UserError(f"--{name.replace('_', '-')} is about this machine's disk or GPUs: leave it out with ray")
    return engine


def _numbers(options: RunOptions, engine: str) -> tuple[int | Literal["auto"], int, float, float | None]:
    """Return jobs, threads, timeout and GB of memory; 0 and None for what the engine ray finds out."""
    far = engine == "ray"
    jobs = _jobs(options.get("jobs", "auto" if far else 1))
    memory = options.get("memory_gb", None if far else default_memory_gb())
    threads = options.get("threads", 0 if far else cores())
    numbers = {"timeout": options.get("timeout", TIMEOUT_S), "cells-per-gpu": options.get("cells_per_gpu", 1)}
    numbers |= {"memory-gb": memory} if memory is not None else {}
    numbers |= {"threads": threads} if "threads" in options or not far else {}
    for name, number in numbers.items():
        if not 0 < number < math.inf:
            raise UserError(f"--{name} {number:g} must be more than 0, and finite")
    if not far and threads > cores():
        raise UserError(f"--threads {threads} is more than the {cores()} cores that this process may use")
    return 0 if far and jobs == "auto" else jobs, threads, float(numbers["timeout"]), memory


def _jobs(asked: int | str) -> int | Literal["auto"]:
    if asked == "auto":
        return "auto"
    try:
        jobs = int(asked)
    except ValueError:
        jobs = 0
    if jobs < 1:
        raise UserError(f"--jobs {asked}: give how many cells run side by side, 1 or more, or auto")
    return jobs


def _gpus(options: RunOptions, device: str, models: Sequence[str]) -> tuple[tuple[VisibleGpu, ...], list[str]]:
    """Return the GPUs of a run on this machine, and what is to be said of them."""
    cards = [MODELS.get(split_name(model)[0]).card for model in models]
    if not any(computes_on(card, card.default, device) == "cuda" for card in cards):
        _refuse_tf32(options.get("tf32"))
        return (), []
    return choose(visible(), options.get("device", "auto"), share=options.get("share_gpus", False))


def needed(request: Request, device: str) -> list[tuple[str, Needs, int]]:
    """Return each model of a run with what its card needs of a machine, and the GPUs of one of its cells.

    Raises
    ------
    UserError
        For --tf32 where no cell computes on a GPU.
    """
    found = []
    for name in request.models:
        model, preset = split_name(name)
        card = MODELS.get(model).card
        config = card.configure(preset, {key: value for key, value in request.settings.items() if key in card.default})
        found.append((name, card.needs, gpus_of(config, computes_on(card, config, device))))
    if not any(gpus for _, _, gpus in found):
        _refuse_tf32(request.tf32)
    return found


def _refuse_tf32(tf32: bool | None) -> None:
    """Refuse what would change nothing where no cell computes on a GPU."""
    if tf32 is not None:
        raise UserError("--tf32 and --no-tf32 are about products on a GPU, and none of these cells computes on one")


def _seeds(options: RunOptions, suite: Mapping[str, Any]) -> tuple[int, ...]:
    seeds = tuple(_several(options.get("seed"), kind=int)) or tuple(suite.get("seeds", (0,)))
    for seed in seeds:
        if not 0 <= seed < 2**32:
            raise UserError(f"--seed {seed} must be 0 or more, and below 2^32")
    return tuple(dict.fromkeys(seeds))


def _made_of(tasks: Sequence[str]) -> set[str]:
    """Return the modalities of tasks."""
    return {TASKS.get(split_name(task)[0]).card.modality for task in tasks}


def _usual(suite: Mapping[str, Any], tasks: Sequence[str]) -> Sequence[str]:
    """Return the models of a suite; those for images where all tasks are made of them."""
    return suite.get("image_models", suite["models"]) if _made_of(tasks) == {"image"} else suite["models"]


def _check_inputs(tasks: Sequence[str], models: Sequence[str]) -> None:
    """Refuse a run in which no model reads what any task is made of."""
    cards = [MODELS.get(split_name(model)[0]).card for model in models]
    if {card.modality for card in cards} & {"any", *_made_of(tasks)}:
        return
    reads = cards[0].modality
    fitting = [name for name, task in TASKS.entries().items() if task.card.modality == reads]
    raise UserError(
        f"{cards[0].name} reads {reads}s, and {tasks[0]} has none: name another task by --task, such as "
        f"{', '.join(fitting[:3])}"
    )


def _own_files(tasks: Sequence[str]) -> tuple[Path, ...]:
    """Return the TOMLs among the tasks that were asked for, of which there must be one."""
    files = tuple(Path(name) for name in tasks if own.is_own(name))
    if not files:
        raise UserError("--resplit deals the rows of a table of your own anew: give it as --task FILE.toml")
    return files


def _title(suite: Mapping[str, Any], tasks: Sequence[str], models: Sequence[str]) -> str:
    if list(tasks) == suite["tasks"] and list(models) == suite["models"]:
        return suite["title"]
    return ", ".join(models if len(models) < 4 else [f"{len(models)} models"]) + " on " + ", ".join(tasks)


def load_plugin(path: Path) -> list[str]:
    """Register what a plug-in file holds and return the names of its models.

    Raises
    ------
    UserError
        If it does not import, registers nothing, or re-uses a name.
    """
    module = import_plugin(path)
    models, tasks = MODELS.collect(module), TASKS.collect(module)
    if not models and not tasks:
        raise UserError(f"plug-in {path} registers nothing: decorate a builder with @model(ModelCard(…))")
    return [entry.card.name for entry in models]


def default_memory_gb() -> float:
    """Return nine tenths of the machine's memory, in GB: a cell dies before the machine swaps."""
    import psutil

    return round(0.9 * psutil.virtual_memory().total / 1e9, 1)


def _several(value: Any, kind: type = str) -> tuple[Any, ...]:
    if value is None:
        return ()
    alone = isinstance(value, (str, os.PathLike, int))
    values = (value,) if alone else tuple(value)
    return tuple(value if isinstance(value, os.PathLike) else kind(value) for value in values)


def read_suite(name: str) -> dict[str, Any]:
    """Return what the file of a suite says; UserError where there is none of that name."""
    import tomllib

    known = suites()
    if name not in known:
        raise unknown_name("suite", name, known)
    return tomllib.loads(known[name].read_text(encoding="utf-8"))


def check_names(tasks: Sequence[str], models: Sequence[str], settings: Mapping[str, Any]) -> None:
    """Refuse a task, protocol, model, preset or setting that there is not, suggesting the nearest."""
    for name in tasks:
        task, protocol = split_name(name)
        card = TASKS.get(task).card.under(protocol)
        if card.primary_metric not in METRICS or METRICS[card.primary_metric].higher_is_better is None:
            ranking = [name for name, metric in METRICS.items() if metric.higher_is_better is not None]
            raise unknown_name(f"metric of {task}", card.primary_metric, ranking)
    unused = dict(settings)
    known: set[str] = set()
    for name in models:
        model, preset = split_name(name)
        card = MODELS.get(model).card
        known |= set(card.default)
        mine = {key: value for key, value in settings.items() if key in card.default}
        server_of(card, card.configure(preset, mine))
        unused = {key: value for key, value in unused.items() if key not in mine}
    if unused:
        raise unknown_name("setting of the chosen models", min(unused), known)
