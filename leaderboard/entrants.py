"""Which records a person means by the words of `zoobench compare`: NAME, NAME@PRESET, NAME:tuned, NAME:C=5, a key."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from ..benchmarks.comparison import Entrant
from ..benchmarks.record import Record
from ..benchmarks.store import Stored, read_record
from ..datasets.support.errors import UserError, unknown_name
from . import index
from .frame import standing, where

MODES: tuple[str, ...] = get_args(Record.model_fields["mode"].annotation)
_KEY = re.compile(r"[0-9a-f]{6,20}")
_NAMED = 8
"""Rows that a message lists."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Selector:
    """What a word asks for; `preset`, `mode` and `hardware` are None where it says nothing of them."""

    word: str
    model: str = ""
    preset: str | None = None
    mode: str | None = None
    settings: tuple[str, ...] = ()
    hardware: str | None = None
    key: str = ""

    def fits(self, row: Row) -> bool:
        """Return whether a record, as the index has it, is among those asked for."""
        if self.key:
            return _key(row).startswith(self.key)
        return (
            row["model"] == self.model
            and self.preset in {None, row["preset"]}
            and self.mode in {None, row["mode"]}
            and set(self.settings) <= set(_settings(row))
            and (self.hardware is None or self.hardware == row["hardware_class"])
        )


def read_selector(word: str, models: Iterable[str]) -> Selector:
    """Return what a word asks for; bare hexadecimal digits are a key unless a model has that name.

    Raises
    ------
    UserError
        If it cannot be read.
    """
    if word.startswith("key=") or (_KEY.fullmatch(word) and word not in set(models)):
        key = word.removeprefix("key=")
        if not _KEY.fullmatch(key):
            raise UserError(f"{word}: a key is 6 to 20 of the digits 0-9 and a-f, as a record's folder is called")
        return Selector(word, key=key)
    name, _, rest = word.partition(":")
    model, at, preset = name.partition("@")
    told: dict[str, str] = {}
    settings: list[str] = []
    for part in filter(None, rest.split(",")):
        key, sign, value = part.partition("=")
        if not sign and part in MODES:
            told["mode"] = part
        elif key == "hardware" and value:
            told["hardware"] = value
        elif key and value:
            settings.append(part)
        else:
            raise UserError(f"{word}: after ':' stand {', '.join(MODES)}, KEY=VALUE or hardware=CLASS, not {part!r}")
    if not model or (at and not preset) or (":" in word and not rest):
        raise UserError(f"{word!r} names no model: give NAME, NAME@PRESET, NAME:tuned, or key=DIGITS of a record")
    return Selector(word, model, preset if at else None, settings=tuple(settings), **told)


def choose(root: Path, task: str, words: Sequence[str]) -> tuple[list[Entrant], list[str]]:
    """Return the entrants that words ask for on a task (``name@protocol``), and a line per unreadable record.

    Of a model alone its preset, mode and settings are the default ones where it has those. Where entrants have
    records of several data or folds, those are taken that all of them have, the newest.

    Raises
    ------
    UserError
        If a word has no finished record, or more than one row of the board.
    """
    rows, problems = index.read_rows(root)
    if rows.empty:
        told = f"; {problems[0]}" if problems else ""
        raise UserError(f"results folder {root} has no record: `zoobench run --results {root}` makes some{told}")
    rows = where(rows, rows["fraction"] == 1)
    every: list[Row] = rows.to_dict("records")
    if task not in (tasks := sorted({row["task"] for row in every})):
        raise UserError(f"task {task!r} has no record in {root}; tasks that have: {', '.join(tasks)}")
    current: list[Row] = standing(rows).to_dict("records")
    mine = [row for row in current if row["task"] == task]
    selectors = [read_selector(word, (row["model"] for row in every)) for word in words]
    found = [_fitting(each, every if each.key else mine, task) for each in selectors]
    found = _of_one_table(found)
    chosen = [_one_row(each, rows) for each, rows in zip(selectors, found, strict=True)]
    names = _names(chosen)
    entrants = [Entrant(name, _stored(root, rows)) for name, rows in zip(names, chosen, strict=True)]
    return entrants, problems


def _key(row: Row) -> str:
    return row["path"].split("/")[-2]


def _fitting(selector: Selector, rows: Sequence[Row], task: str) -> list[Row]:
    """Return the finished records that a selector asks for."""
    named = [row for row in rows if selector.fits(row)]
    for row in named:
        if row["task"] != task:
            raise UserError(f"{selector.word} is a record of {row['task']}, not of {task}: records of one task compare")
    done = [row for row in named if row["status"] == "ok"]
    if done:
        return done
    if named:
        row = named[0]
        raise UserError(f"{selector.word} has no finished record on {row['task']}: {row['status']}, {row['reason']}")
    if selector.key:
        raise UserError(f"no record has a key that begins with {selector.key}")
    models = sorted({row["model"] for row in rows if row["status"] == "ok"})
    if selector.model not in models:
        hint = str(unknown_name("model", selector.model, models)).partition(": ")[2]
        made = f"if there is such a model, `zoobench run --task {task} --model {selector.model}` makes one"
        raise UserError(f"model {selector.model!r} has no finished record on {task}: {hint}; {made}")
    held = _listed([row for row in rows if row["model"] == selector.model and row["status"] == "ok"])
    raise UserError(f"{selector.word} has no finished record on {task}; of {selector.model} there are {held}")


def _listed(rows: Iterable[Row]) -> str:
    """Return the rows of the board that records belong to, as words that `compare` takes, with a key each."""
    words = {row["row"]: f"{_full_name(row)} (key={_key(row)[:8]})" for row in rows}
    shown = list(words.values())[:_NAMED]
    return ", ".join(shown) + (", …" if len(words) > _NAMED else "")


def _full_name(row: Row, shared: frozenset[str] = frozenset()) -> str:
    """Return the word that asks for a row and no other, but for hardware and for settings that are `shared`."""
    parts = [row["mode"]] if row["mode"] != "default" else []
    parts += [each for each in _settings(row) if each not in shared]
    name = f"{row['model']}@{row['preset']}" if row["preset"] else row["model"]
    return index.one_line(name + (f":{','.join(parts)}" if parts else ""))


def _settings(row: Row) -> list[str]:
    return row["settings"].split(", ") if row["settings"] else []


def _of_one_table(found: list[list[Row]]) -> list[list[Row]]:
    """Keep the records of the newest data and folds that all entrants have; of each its own where there are none."""
    shared = set.intersection(*({_table(row) for row in rows} for rows in found))
    common = _newest_table(row for rows in found for row in rows if _table(row) in shared) if shared else None
    return [[row for row in rows if _table(row) == (common or _newest_table(rows))] for rows in found]


def _newest_table(rows: Iterable[Row]) -> tuple[str, ...]:
    return _table(max(rows, key=lambda row: row["created"]))


def _table(row: Row) -> tuple[str, ...]:
    return tuple(row[name] for name in index.TABLE)


def _one_row(selector: Selector, rows: list[Row]) -> list[Row]:
    """Return the records of the one row of the board that is meant, one a seed; of a key, the record itself."""
    if selector.key:
        if len(rows) > 1:
            keys = ", ".join(_key(row) for row in rows[:_NAMED])
            raise UserError(f"{len(rows)} records have a key that begins with {selector.key}: {keys}; give more digits")
        return rows
    usual = (
        *([("preset", "")] if selector.preset is None else []),
        *([("mode", "default")] if selector.mode is None else []),
        *([("settings", "")] if not selector.settings else []),
    )
    for name, value in usual:
        rows = [row for row in rows if row[name] == value] or rows
    if len({row["row"] for row in rows}) == 1:
        return rows
    places = {(row["hardware_class"], row["data_fingerprint"], row["split_sha256"]) for row in rows}
    mend = ""
    if len({place[0] for place in places}) > 1:
        mend = f" (or hardware={sorted(places)[0][0]})"
    raise UserError(
        f"{selector.word} stands for several rows of the board: {_listed(rows)}; name one by its words{mend}"
    )


def _names(chosen: Sequence[list[Row]]) -> list[str]:
    """Return a name for each entrant, no two alike; settings that all have tell none from another."""
    shared = frozenset.intersection(*(frozenset(_settings(rows[0])) for rows in chosen))
    names = [_full_name(rows[0], shared) for rows in chosen]
    seeds = [f" seed {rows[0]['seed']}" if len(rows) == 1 else "" for rows in chosen]
    for told in (seeds, [f" ({place})" for place in range(1, len(chosen) + 1)]):
        alike = [place for place, name in enumerate(names) if names.count(name) > 1]
        if len({told[place] for place in alike}) > 1:
            names = [name + told[place] if place in alike else name for place, name in enumerate(names)]
    return names


def _stored(root: Path, rows: Sequence[Row]) -> tuple[Stored, ...]:
    try:
        return tuple(Stored(read_record(root / row["path"]), root / row["path"]) for row in rows)
    except (OSError, ValueError) as error:
        raise UserError(f"a record was changed while it was read ({error}): try again") from error
