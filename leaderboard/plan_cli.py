"""`zoobench plan`: what `zoobench run` would do with the same words, and how long it would take."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..datasets.support.errors import UserError, unknown_name
from .console import print_text, warn, working
from .words import one_line

if TYPE_CHECKING:
    from ..benchmarks.options import RunOptions
    from ..benchmarks.outlook import Ahead, Outlook
    from .sheets import Page

FORMATS = ("table", "md", "json")
_RENAMED = {"setting": "set"}


def options_of(words: Mapping[str, Any]) -> RunOptions:
    """Return the options that the words of `zoobench run` mean, all but its suite; what was not said is left out."""
    from ..benchmarks.options import RunOptions, default_results

    said = {_RENAMED.get(name, name): value for name, value in words.items() if value is not None}
    said |= {"set": _settings(said.get("set", [])), "results": said.get("results") or default_results()}
    return RunOptions(**said)


def _settings(pairs: Sequence[str]) -> dict[str, str]:
    settings: dict[str, str] = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or not key:
            raise UserError(f"--set {pair} is not KEY=VALUE, such as --set C=10")
        settings[key] = value
    return settings


def plan_like(run: Callable[..., None]) -> Callable[..., None]:
    """Return the command `plan`, which takes whatever the command `run` takes, so that neither can lack an option."""
    style = Annotated[str, typer.Option(help="table, md or json.")]
    own = inspect.Parameter("format", inspect.Parameter.KEYWORD_ONLY, default="table", annotation=style)
    shared = inspect.signature(run, eval_str=True).parameters.values()

    def plan(**words: Any) -> None:
        """Say what `zoobench run` would do with the same words: cells to run, stale ones and why, and the time."""
        show_plan(words.pop("suite"), words.pop("format"), options_of(words))

    plan.__signature__ = inspect.Signature([*shared, own])  # type: ignore[attr-defined]
    return plan


def show_plan(suite: str, style: str, options: RunOptions) -> None:
    """Print the plan of a run; exit status 2 where a task of it cannot be prepared."""
    from ..benchmarks.outlook import look_ahead
    from .sheets import show_page

    if style not in FORMATS:
        raise unknown_name("format", style, FORMATS)
    with working("reading records") as tell:
        ahead = look_ahead(suite, options, tell)
    if style == "json":
        print_text(json.dumps(_as_json(ahead), indent=1, ensure_ascii=False))
    else:
        show_page(_page(ahead), style)
    for line in (*ahead.problems, *ahead.refused):
        warn(line.strip())
    if ahead.refused:
        raise typer.Exit(2)


def _as_json(ahead: Ahead) -> dict[str, Any]:
    return {
        "title": ahead.request.title,
        "results": str(ahead.request.results),
        "hardware_class": ahead.hardware_class,
        "jobs": ahead.request.jobs,
        "seconds": ahead.seconds,
        "untimed": ahead.untimed,
        "cells": [_cell_json(each) for each in ahead.cells],
        "left_out": list(ahead.refused),
    }


def _cell_json(each: Outlook) -> dict[str, Any]:
    cell = each.cell
    named = {"task": cell.task_name, "model": cell.model, "preset": cell.preset, "seed": cell.seed}
    mode = {"fraction": cell.fraction, "mode": "tuned" if cell.tuning else "default", "fit_key": cell.fit_key}
    told = {name: getattr(each, name) for name in ("state", "why", "runs", "seconds", "timed")}
    return {**named, **mode, **told}


def _page(ahead: Ahead) -> Page:
    from .sheets import Page, Sheet
    from .tables import Column

    cells = ahead.cells
    columns = [
        Column("state", "state", [each.state for each in cells], right=False),
        Column("task", "task", [each.cell.task_name for each in cells], right=False),
        Column("cell", "model", [_name(each) for each in cells], right=False),
        Column("seed", "seed", [str(each.cell.seed) for each in cells]),
        Column("about", "about", [_about(each) for each in cells]),
        Column("why", "why", [one_line(each.why) for each in cells], right=False),
    ]
    title = f"{ahead.request.title}: {_counts(ahead)}"
    return Page(title, [f"results in {ahead.request.results}"], [Sheet("", columns)], _total(ahead))


def _name(each: Outlook) -> str:
    part = f" · fraction {each.cell.fraction:g}" if each.cell.fraction != 1 else ""
    return f"{each.cell.model_name}{part}{' · tuned' if each.cell.tuning else ''}"


def _about(each: Outlook) -> str:
    from ..benchmarks.outlook import ELSEWHERE
    from ..datasets.support.progress import in_words

    if not each.runs:
        return ""
    if each.seconds is None:
        return "?"
    return in_words(each.seconds) + (" elsewhere" if each.timed == ELSEWHERE else "")


def _counts(ahead: Ahead) -> str:
    states = [each.state for each in ahead.cells]
    todo = sum(each.runs for each in ahead.cells)
    told = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    return f"{todo} of {len(states)} cells to run ({told})"


def _total(ahead: Ahead) -> list[str]:
    """Return how long the run takes, and of how many cells nobody knows it here."""
    from ..benchmarks.outlook import ELSEWHERE
    from ..datasets.support.progress import in_words

    todo = [each for each in ahead.cells if each.runs]
    if not todo:
        return ["nothing to run"]
    beside = f", {ahead.jobs} side by side" if ahead.jobs > 1 else ""
    beside += " (one by one; --jobs auto decides when it runs)" if ahead.request.jobs == "auto" else ""
    parts = [f"about {in_words(ahead.seconds)} on {ahead.hardware_class}{beside}"] if ahead.untimed < len(todo) else []
    elsewhere = [each.seconds or 0.0 for each in todo if each.timed == ELSEWHERE]
    if elsewhere:
        parts.append(f"{_cells(elsewhere)} timed on other hardware alone, {in_words(sum(elsewhere))} there")
    if unknown := [each for each in todo if each.seconds is None]:
        parts.append(f"{_cells(unknown)} never timed")
    return parts


def _cells(each: Sequence[object]) -> str:
    return f"{len(each)} cell{'' if len(each) == 1 else 's'}"
