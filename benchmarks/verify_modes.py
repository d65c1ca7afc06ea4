"""What a tuned record and an ensemble claim beyond their scores: trials, members and weights."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.core import Fold
from ..datasets.support.errors import UserError
from ..datasets.support.files import sha256_json
from .findings import Finding, differences
from .members import Member, member_of
from .record import Record, Tuning
from .reread import AGREEMENT
from .rows import STORED, Answered, read_file
from .selection import blend
from .store import RECORD, TRIALS, Results, Stored, read_record
from .trial_members import trials_of

Seen = tuple[list[Finding], list[str]]
"""Findings, and remarks on what could not be looked at."""
_NO_TRIALS = (OSError, ValueError, LookupError, TypeError, ArithmeticError, csv.Error)
"""What a list of trials raises that is none."""
_STATES = {"finished": "complete", "pruned": "pruned", "failed": "fail"}
_KEY = re.compile(r"[0-9a-f]{20}")
"""Of a member: what else it says is no name to look for in a folder."""
_NO_SETTINGS = frozenset({"trial", "state", "value", "seconds", "reason", "sha256"})


def check_tuning(stored: Stored) -> Seen:
    """Compare a tuned record with its list of trials."""
    record, path = stored.record, stored.attempt / TRIALS
    if record.tuning is None:
        return [], []
    if not path.is_file():
        return [], [f"without {TRIALS}, its tuning is taken as it is"]
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        return _trial_findings(record, record.tuning, rows), []
    except _NO_TRIALS as error:
        return [Finding(TRIALS, "a row for each trial", f"{type(error).__name__}: {error}")], []


def _trial_findings(record: Record, tuning: Tuning, rows: list[dict[str, str]]) -> list[Finding]:
    counts = {name: sum(row["state"] == state for row in rows) for name, state in _STATES.items()}
    values = {int(row["trial"]): float(row["value"]) for row in rows if row["state"] == "complete"}
    seconds = math.fsum(float(row["seconds"]) for row in rows if row["seconds"])
    expected = {**counts, "value": values.get(tuning.best), "seconds": seconds}
    found = {name: getattr(tuning, name) for name in expected}
    findings = list(differences(f"tuning by {TRIALS},", expected, found, AGREEMENT))
    if values and max(values.values()) > tuning.value + AGREEMENT:
        findings.append(Finding.of("tuning's best value", max(values.values()), tuning.value))
    if tuning.default_value is not None and tuning.default_value not in values.values():
        findings.append(Finding.of("tuning's default value", f"one of {TRIALS}", tuning.default_value))
    best = next((row for row in rows if int(row["trial"]) == tuning.best), {})
    chosen = {name: cell for name, cell in best.items() if name not in _NO_SETTINGS and cell != ""}
    for name, cell in chosen.items():
        if not _same_setting(cell, record.config.get(name)):
            findings.append(Finding.of(f"setting {name} of the best trial", cell, record.config.get(name)))
    return findings


def _same_setting(cell: str, value: Any) -> bool:
    """Return whether a cell of a CSV is a setting's value: a whole number may stand there as 3 or as 3.0."""
    if cell == str(value):
        return True
    try:
        return not isinstance(value, (bool, str)) and float(cell) == float(value)
    except (TypeError, ValueError):
        return False


def check_ensemble(
    stored: Stored, results: Results, answers: Mapping[Fold, Answered], ids: Mapping[Fold, np.ndarray]
) -> Seen:
    """Compare an ensemble with its members: its key names them, and their probabilities make its own."""
    record = stored.record
    if record.mode != "ensemble":
        return [], []
    keys = sorted(share.key for share in record.members)
    findings = list(differences("hash of the members' keys", sha256_json(keys)[:20], record.config.get("members"), 0))
    members = _members_here(record, results)
    for share in record.members:
        here = members.get(share.key)
        if here is not None and here.sha256 != share.probabilities:
            findings.append(Finding.of(f"SHA-256 of member {share.key}", here.sha256, share.probabilities))
    taken = [share for share in record.members if share.weight]
    gone = [share for share in taken if share.key not in members]
    if gone:
        told = f"{len(gone)} of the {len(taken)} members that it takes are not here: they are not averaged again"
        return findings, [told]
    seen = "; ".join(sorted({members[share.key].costs.overlap for share in taken} - {""}))
    said = "; ".join(sorted(set(record.overlap.split("; ")) - {""}))
    findings += differences(
        "overlap (of the members' weights with the test fold)", seen or "nothing", said or "nothing", 0
    )
    if findings:
        return findings, []
    try:
        found = [_read(members[share.key], record, ids) for share in taken]
    except UserError as error:
        return [Finding("members' probabilities", "those that it was made of", str(error))], []
    for fold in STORED:
        # The weights stand for how often each was taken; their sum is 1 but for the last digit.
        made = blend([each[fold] for each in found], [share.weight for share in taken])  # type: ignore[arg-type]
        apart = np.abs(made - answers[fold].probabilities).max(axis=1) > AGREEMENT
        if apart.any():
            findings.append(
                Finding(f"{fold} probabilities", "the weighted mean of the members'", f"others in {apart.sum()} rows")
            )
    return findings, []


def _members_here(record: Record, results: Results) -> dict[str, Member]:
    """Return those of an ensemble's members that stand in the same folder: cells, and trials of tuned ones."""
    wanted = {share.key for share in record.members if _KEY.fullmatch(share.key)}
    folder = results.root / "cells" / record.task_name
    found: dict[str, Member] = {}
    for key in sorted(wanted):
        for path in folder.glob(f"*/{key}/{RECORD}"):
            if (stored := _readable(path)) is not None:
                found[key] = member_of(stored)
    if wanted - found.keys():
        for path in folder.glob(f"*/*/{RECORD}"):
            if (stored := _readable(path)) is not None and stored.record.tuning is not None:
                found |= {each.key: each for each in _trials(stored, results) if each.key in wanted}
    return found


def _readable(path: Path) -> Stored | None:
    try:
        stored = Stored(read_record(path), path)
    except (OSError, ValueError, RecursionError):
        return None  # it is refused by itself
    return stored if stored.record.status == "ok" and stored.record.mode != "ensemble" else None


def _trials(stored: Stored, results: Results) -> list[Member]:
    try:
        return trials_of(stored, results)
    except (UserError, *_NO_TRIALS):
        return []  # a list of trials that is none is a finding of the tuned record


def _read(member: Member, record: Record, ids: Mapping[Fold, np.ndarray]) -> dict[Fold, np.ndarray]:
    """Return a member's (n, labels) probabilities of the rows `ids`, by fold."""
    answers = read_file(member.probabilities, record.kind, record.labels, member.sha256, "put it back")
    found: dict[Fold, np.ndarray] = {}
    for fold in STORED:
        rows = answers[fold].in_order(ids[fold])
        if rows is None:
            raise UserError(f"{member.probabilities} holds other {fold} rows")
        found[fold] = rows
    return found
