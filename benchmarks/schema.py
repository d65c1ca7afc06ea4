"""Which schema a stored record is of, and how one of an earlier schema is brought up to this one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from .record import SCHEMA_VERSION, Record

Values = dict[str, Any]

FIRST = 1
"""What a record is of that does not say it."""


def _without_folders(values: Values) -> Values:
    """Say that nobody knows what the folders held that settings name: schema 2 is the first that keeps their hashes."""
    return {**values, "folders": None}


MIGRATIONS: Mapping[int, Callable[[Values], Values]] = MappingProxyType({1: _without_folders})
"""By schema, what makes a record of it one of the next."""


class NewerRecordError(ValueError):
    """A record of a schema that only a later zoobench knows."""


def parse(content: bytes) -> Record:
    """Return the record in a file's bytes, brought up to this schema.

    Raises
    ------
    NewerRecordError
        If its schema is newer than this.
    ValueError
        If it is not whole, or no record.
    """
    try:
        record = Record.model_validate_json(content)
        if "schema_version" in record.model_fields_set:
            return record
        version, values = FIRST, json.loads(content)
    except ValidationError:
        values = _object(content)
        version = (values or {}).get("schema_version", FIRST)
        if values is None or not isinstance(version, int) or version < FIRST or version == SCHEMA_VERSION:
            raise
    if version > SCHEMA_VERSION:
        reads = f"schema {version}, this one reads up to {SCHEMA_VERSION}"
        raise NewerRecordError(f"written by a newer zoobench ({reads}): upgrade it")
    return Record.model_validate(migrated(values, version))


def migrated(values: Values, version: int) -> Values:
    """Return the values of a record of schema `version` as those of one of this schema."""
    for step in range(version, SCHEMA_VERSION):
        values = MIGRATIONS[step](values)
    return {**values, "schema_version": SCHEMA_VERSION}


def _object(content: bytes) -> Values | None:
    """Return a file's JSON object, None if it holds none."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def why_unreadable(path: Path, error: Exception) -> str:
    """Return, in a few words, why the file at `path`, which raised `error`, is no record."""
    if not isinstance(error, ValidationError):
        return str(getattr(error, "strerror", None) or error)
    try:
        text = path.read_text(encoding="utf-8")
        value = json.loads(text) if text.strip() else None
    except (OSError, ValueError, RecursionError):  # the last of brackets within brackets, thousands deep
        return "not whole JSON (cut short, or another kind of file)"
    if value is None:
        return "empty"
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"not a zoobench record ({where + ': ' if where else ''}{first['msg']})"
