"""What a user's TOML says of a table: checked before the table is opened."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ..core import Kind, Leak, check_name
from ..folds import SHARES
from ..support.errors import UserError, unknown_name
from ..tables import DELIMITERS

Column = Annotated[str, Field(min_length=1)]
_IMAGE_SIZE = 224  # what most published image encoders were trained on


class Settings(BaseModel):
    """A task on a table of one's own: the keys of its TOML (described in ``datasets/README.md``).

    Attributes
    ----------
    path
        The table, from the folder of the TOML.
    text, image
        The column or columns that hold the input; one of the two.
    size, numeric
        Of images: the side of the squares they are kept as (pixels), and columns of numbers beside them.
    labels
        A column of labels, or one column of 0 and 1 for each label.
    separator
        What parts the labels in a cell of a multi-label column.
    label_names
        All labels that may occur, in their order; those that do occur, sorted, without it.
    empty_is_no_label
        An empty cell of a multi-label column says that no label holds, and not that nobody looked.
    split, validation
        The column that says train, validation or test; the share of the training rows that becomes validation
        where it never says that.
    shares
        Of rows wanted in train, validation and test where the folds are made here.
    leaks
        Why the folds of `split` share what honest folds do not (see `core.Protocol`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    path: Annotated[str, Field(min_length=1)]
    kind: Kind
    labels: Column | tuple[Column, ...]
    text: tuple[Column, ...] = ()
    image: str = ""
    size: Annotated[int, Field(ge=8, le=1024)] = _IMAGE_SIZE
    numeric: tuple[Column, ...] = ()
    separator: str = ""
    label_names: tuple[Column, ...] = ()
    empty_is_no_label: bool = False
    delimiter: str = ""
    group: str = ""
    id: str = ""
    split: str = ""
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.0
    shares: tuple[float, float, float] = SHARES
    leaks: dict[Leak, Annotated[str, Field(min_length=1)]] = Field(default_factory=dict)
    metric: str = "f1_macro"
    title: str = ""
    description: str = ""
    language: str = "en"
    licence: str = "not stated"
    source: str = ""
    citation: str = "none"

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        check_name("task", name)
        return name

    @field_validator("text", mode="before")
    @classmethod
    def _several(cls, text: object) -> object:
        return (text,) if isinstance(text, str) else text

    @field_validator("text", "numeric", "labels", "label_names")
    @classmethod
    def _distinct(cls, names: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if isinstance(names, tuple) and len(set(names)) != len(names):
            raise ValueError("a name stands in it twice")
        return names

    @field_validator("shares")
    @classmethod
    def _sum_to_one(cls, shares: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
            raise ValueError("shares of train, validation and test must be more than 0 and sum to 1")
        train, validation, test = (share / sum(shares) for share in shares)
        return train, validation, test

    @field_validator("delimiter")
    @classmethod
    def _is_a_delimiter(cls, delimiter: str) -> str:
        if delimiter and delimiter not in DELIMITERS:
            raise ValueError(f"it must be one of {', '.join(map(repr, DELIMITERS))}")
        return delimiter

    @model_validator(mode="after")
    def _fits_together(self) -> Settings:
        alone = isinstance(self.labels, str)
        faults = {
            "give either text or image: the column that holds the input": bool(self.text) == bool(self.image),
            "size and numeric go with image": bool(self.text) and bool(self.numeric or "size" in self.model_fields_set),
            "labels must name a column": not self.labels,
            "a multiclass task with one column a label needs two or more": self.kind == "multiclass"
            and not alone
            and len(self.labels) < 2,
            "label_names go with one labels column; with one column a label, its name is the label": not alone
            and bool(self.label_names),
            'separator goes with one labels column and kind = "multilabel"': bool(self.separator)
            and (not alone or self.kind == "multiclass"),
            'empty_is_no_label goes with one labels column and kind = "multilabel"': self.empty_is_no_label
            and (not alone or self.kind == "multiclass"),
            "split and shares exclude each other: either a column deals the rows or shares do": bool(self.split)
            and "shares" in self.model_fields_set,
            "validation and leaks go with a split column": not self.split and bool(self.validation or self.leaks),
            "one column cannot serve two purposes": len(set(self.columns)) != len(self.columns),
        }
        for advice, wrong in faults.items():
            if wrong:
                raise ValueError(advice)
        return self

    @property
    def label_columns(self) -> tuple[str, ...]:
        """The column, or columns, of labels."""
        return (self.labels,) if isinstance(self.labels, str) else self.labels

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns of the table that the task reads."""
        roles = (*self.text, self.image, *self.numeric, *self.label_columns, self.id, self.split)
        # A group may be what something else is as well: an id (each row its own group), a label, a number.
        return tuple(filter(None, roles)) + ((self.group,) if self.group and self.group not in roles else ())


def read_settings(path: Path) -> Settings:
    """Return what the TOML at `path` says.

    Raises
    ------
    UserError
        If it is missing, is no TOML, or holds a key or a value that makes no sense.
    """
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is no file: give the path of a TOML")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): `zoobench new task TABLE` writes one") from error
    except ValueError as error:
        raise UserError(f"{path} is no TOML: {error}") from error
    try:
        return Settings(**values)
    except ValidationError as error:
        raise _refusal(path, error) from None


def _refusal(path: Path, error: ValidationError) -> UserError:
    first = error.errors(include_url=False)[0]
    keys = [part for part in first["loc"] if isinstance(part, str) and part in Settings.model_fields]
    if first["type"] == "extra_forbidden":
        return unknown_name(f"key of {path.name}", str(first["loc"][0]), Settings.model_fields)
    if first["type"] == "missing":
        return UserError(f"{path.name}: {first['loc'][0]} is missing: add it (datasets/README.md says what it means)")
    place = f"{keys[0]}: " if keys else ""
    return UserError(f"{path.name}: {place}{first['msg'].removeprefix('Value error, ')}")
