"""Cards of tasks, models, suites and machines, for reading on a terminal."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ..datasets.core import TASKS, Protocol, TaskCard
from ..datasets.support.errors import UserError, unknown_name
from ..zoo.core import MODELS, Choice, ModelCard, Range, split_name
from ..zoo.settings import within

if TYPE_CHECKING:
    from ..benchmarks.gpus import VisibleGpu
    from ..benchmarks.hardware import Hardware


def task_cards() -> Mapping[str, TaskCard]:
    """Return the card of every registered task, by name."""
    return {name: task.card for name, task in TASKS.entries().items()}


def model_cards() -> Mapping[str, ModelCard]:
    """Return the card of every registered model, by name."""
    return {name: model.card for name, model in MODELS.entries().items()}


def blind_models() -> frozenset[str]:
    """Return the names of the models that never look at their input: the floor under every board."""
    return frozenset(name for name, card in model_cards().items() if card.modality == "any")


def task_table(cards: Sequence[TaskCard]) -> RenderableType:
    """Return the tasks as a table."""
    table = _table("task", "input", "kind", "labels", "primary metric", "title")
    for card in cards:
        counted = str(len(card.labels))
        table.add_row(card.name, card.modality, card.kind, counted, card.primary_metric, escape(card.title))
    return table


def model_table(cards: Sequence[ModelCard]) -> RenderableType:
    """Return the models as a table."""
    table = _table("model", "input", "framework", "presets", "title")
    for card in cards:
        presets = ", ".join(card.presets) or "-"
        table.add_row(card.name, card.modality, card.framework, presets, escape(card.title))
    return table


def hardware_table(hardware: Hardware, gpus: Sequence[VisibleGpu]) -> RenderableType:
    """Return a machine as rows of name and value, a row for each GPU."""
    rows = {f"GPU {each.index}" if len(gpus) > 1 else "GPU": _gpu(each) for each in gpus}
    return _facts(
        {
            "hardware class": hardware.class_id,
            "processor": f"{hardware.cpu}, {hardware.cores} cores",
            "memory": f"{hardware.memory_gib} GiB",
            **(rows or {"GPU": "none in use"}),
            "matrix product": f"{hardware.matmul_gflops:g} GFLOP/s (float32, NumPy, all cores)",
            "memory copy": f"{hardware.memory_gb_per_s:g} GB/s",
        }
    )


def _gpu(gpu: VisibleGpu) -> str:
    kind = gpu.kind
    what = f"{kind.name}, {kind.memory_gib} GiB, driver {kind.driver}, CUDA {kind.cuda}, {gpu.uuid}"
    return f"{what}; used by {gpu.users}" if gpu.taken else f"{what}; free"


def model_mapping(card: ModelCard) -> dict[str, Any]:
    """Return a model's card as plain JSON values."""
    values = {name: getattr(card, name) for name in card.__dataclass_fields__ if name != "check"}
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
    presets = {name: dict(preset) for name, preset in card.presets.items()}
    space = {name: part.as_json() for name, part in card.space.items()}
    choices = {name: list(words) for name, words in card.choices.items()}
    limits = {name: [low, high if math.isfinite(high) else None] for name, (low, high) in card.limits.items()}
    trained_on = {setting: list(tasks) for setting, tasks in card.trained_on.items()}
    parts = {"presets": presets, "space": space, "choices": choices, "limits": limits, "trained_on": trained_on}
    return plain | asdict(card.needs) | {"default": dict(card.default), "meanings": dict(card.meanings), **parts}


def card_of(name: str) -> RenderableType:
    """Return the card of whatever is called `name`.

    Raises
    ------
    UserError
        If nothing is; the message suggests the nearest task, model or suite.
    """
    from ..benchmarks.options import check_names, suites
    from ..datasets.own import registered

    asked, name = name, registered(name)
    base, variant = split_name(name)
    if variant:
        check_names([name] if base in TASKS.entries() else [], [name] if base in MODELS.entries() else [], {})
    if base in MODELS.entries():
        return _model_card(MODELS.get(base).card)
    if base in TASKS.entries():
        return _task_card(TASKS.get(base).card, asked)
    if base in suites():
        return _suite_card(base)
    raise unknown_name("task, model or suite", name, [*MODELS.entries(), *TASKS.entries(), *suites()])


def _model_card(card: ModelCard) -> RenderableType:
    facts = {
        "answers": " and ".join(card.kinds) + f" tasks on {'anything' if card.modality == 'any' else card.modality}",
        "framework": card.framework,
        "needs": f"{', '.join(card.requires)}  (pip install 'zoobench[{card.extra}]')"
        if card.requires
        else "nothing more",
        "source": card.citation,
    }
    settings = _table("setting", "default", "what it does")
    for key, value in card.default.items():
        settings.add_row(key, escape(str(value)), _about(card, key))
    parts: list[RenderableType] = [_head(card.name, card.title), Text(card.description), "", _facts(facts)]
    if card.default:
        parts += ["", settings]
    parts += [""] if card.presets else []
    for preset, changed in card.presets.items():
        parts.append(f"preset [bold]{card.name}@{preset}[/]: {', '.join(f'{k}={v}' for k, v in changed.items())}")
    task = " --task nih-chest-xray14" if card.modality == "image" else ""
    parts += ["", f"run it:  zoobench run --model {card.name}{task}"]
    return Group(*parts)


def _about(card: ModelCard, key: str) -> Text:
    """Return a setting's meaning, what it takes, and where tuning looks."""
    limit, part = card.limits.get(key), card.space.get(key)
    words = card.choices.get(key, (True, False) if isinstance(card.default[key], bool) else ())
    also = ("PATH",) if words and key in card.folders else ()
    takes = within(*limit) if limit and not words else " | ".join(map(str, (*words, *also)))
    whole = isinstance(part, Choice) and part.options == words
    searched = "" if part is None else ("tuned" if whole else f"tuned over {_space(part)}") + _conditions(part)
    facts = [takes, searched]
    lines = [Text(card.meanings.get(key, "")), Text("; ".join(filter(None, facts)), "dim")]
    return Text("\n").join(line for line in lines if line.plain)


def _conditions(part: Range | Choice) -> str:
    """Return the words for when a part is searched."""
    told = (f"{name} is {' or '.join(map(str, values))}" for name, values in part.when.items())
    return f" where {' and '.join(told)}" if part.when else ""


def _space(part: Range | Choice) -> str:
    if isinstance(part, Choice):
        return " | ".join(map(str, part.options))
    return f"{part.low:g} … {part.high:g}" + (" (log)" if part.log else "")


def _task_card(card: TaskCard, asked: str) -> RenderableType:
    facts = {
        "kind": f"{card.kind}, {len(card.labels)} labels, {card.modality} ({card.language})",
        "labels": "; ".join(card.labels),
        "primary metric": card.primary_metric,
        "kept together": card.group,
        **{_protocol_name(name): _protocol(protocol) for name, protocol in card.protocols.items()},
        **{name: f"{count:,}" for name, count in card.counts.items()},
        "licence": card.licence,
        "source": card.source,
        "cite": card.citation,
    }
    run = f"run it:  zoobench run --task {asked}"
    return Group(_head(card.name, card.title), Text(card.description), "", _facts(facts), "", run)


def _protocol_name(name: str) -> str:
    return f"protocol @{name}" if name else "protocol"


def _protocol(protocol: Protocol) -> str:
    leaks = "; ".join(f"Leaks ({kind}): {why}" for kind, why in protocol.leaks.items())
    return ". ".join(part for part in (protocol.description, leaks) if part)


def _suite_card(name: str) -> RenderableType:
    import tomllib

    from ..benchmarks.options import suites

    suite = tomllib.loads(suites()[name].read_text(encoding="utf-8"))
    facts = {key: ", ".join(map(str, suite[key])) for key in ("tasks", "models", "seeds") if key in suite}
    return Group(_head(name, suite["title"]), "", _facts(facts), "", f"run it:  zoobench run {name}")


def _head(name: str, title: str) -> str:
    return f"[bold]{escape(name)}[/]  {escape(title)}"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        # A name is whole, also where it is searched for in a pipe; words may break.
        table.add_column(column, no_wrap=index == 0 or column == "primary metric", overflow="fold")
    return table


def _facts(facts: dict[str, str]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(name, escape(value))
    return table


def leak_notes(names: Iterable[str]) -> list[str]:
    """Return a line for each leak of each task, as ``name@protocol``; none for an unknown task."""
    notes = []
    for name in sorted(set(names)):
        base, _, protocol = name.partition("@")
        if not protocol:
            continue
        with contextlib.suppress(UserError):  # its plug-in or file is not at hand
            found = TASKS.get(base).card.protocols.get(protocol)
            notes += [f"{name} leaks ({what}): {why}" for what, why in (found.leaks if found else {}).items()]
    return notes


def card_of_task(name: str) -> TaskCard | None:
    """Return the card of a task, ``name`` or ``name@protocol``; None where its plug-in or file is not at hand."""
    with contextlib.suppress(UserError):
        return TASKS.get(name.partition("@")[0]).card
    return None


def card_of_model(name: str) -> ModelCard | None:
    """Return the card of a model; None where its plug-in is not at hand."""
    with contextlib.suppress(UserError):
        return MODELS.get(name).card
    return None
