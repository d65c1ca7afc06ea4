"""The unit of work: a task, a model, a configuration, a seed and folds, and the key that names its outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from ..datasets.support.files import sha256_json
from ..datasets.support.source import code_fingerprint
from ..zoo.core import Scalar

ZOO = "zoobench.zoo"
# Types only: no number passes through it, and a comment on a field must not make every record stale.
NOT_HASHED = frozenset({f"{ZOO}.core", f"{ZOO}.settings"})


@dataclass(frozen=True)
class Cell:
    """A measurement to make. Two cells with one `fit_key` would give the same probabilities.

    Attributes
    ----------
    config
        The full configuration; `settings` is the part that the user changed from the preset.
    seed
        The user's seed; generators get `derived_seed`.
    source_sha256
        Of the model's entry and the modules of the zoo, or of its own package, that it imports.
    primary_metric
        Handed to the fit as its scorer, and tuned for by the thresholds.
    folders
        Content hash of each setting that names a local folder.
    tuning
        How the configuration is searched for, from `config` on: the budget and the space; empty where it is not.
    fraction
        The part of the training rows that it is fitted on; a cell of the whole is named as before there were others.
    tf32
        Whether a GPU computes products of float32 in TF32; None, and no part of the name, where nobody said.
    """

    task: str
    protocol: str
    task_version: int
    data_fingerprint: str
    split_sha256: str
    model: str
    preset: str
    config: Mapping[str, Scalar]
    settings: Mapping[str, Scalar]
    seed: int
    source_sha256: str
    primary_metric: str
    folders: Mapping[str, str]
    tuning: Mapping[str, Scalar | None] = field(default_factory=dict)
    fraction: float = 1.0
    tf32: bool | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed {self.seed} must be from 0 to 2^32 - 1")
        if not 0 < self.fraction <= 1:
            raise ValueError(f"fraction {self.fraction} must be more than 0 and at most 1")
        for name in ("config", "settings", "folders", "tuning"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    @property
    def task_name(self) -> str:
        """The task with its protocol, as the command line takes it."""
        return f"{self.task}@{self.protocol}" if self.protocol else self.task

    @property
    def model_name(self) -> str:
        """The model with its preset, as the command line takes it."""
        return f"{self.model}@{self.preset}" if self.preset else self.model

    @property
    def fit_key(self) -> str:
        """Name all that can change the probabilities: 20 hexadecimal digits."""
        parts = {
            "task": self.task_name,
            "version": self.task_version,
            "data": self.data_fingerprint,
            "split": self.split_sha256,
            "model": self.model,
            "config": dict(self.config),
            "seed": self.seed,
            "source": self.source_sha256,
            "metric": self.primary_metric,
            "folders": dict(self.folders),
            **({} if self.fraction == 1 else {"fraction": self.fraction}),
            **({} if self.tf32 is None else {"tf32": self.tf32}),
        }
        if self.tuning:
            parts["tuning"] = dict(self.tuning)
        return sha256_json(parts)[:20]

    @property
    def study_key(self) -> str:
        """Name the study of a tuned cell: 20 hexadecimal digits, whatever its budget, so that a larger one goes on."""
        untuned = replace(self, tuning={})
        return sha256_json([untuned.fit_key, self.tuning["space"]])[:20]

    @property
    def derived_seed(self) -> int:
        """A seed in [0, 2^31) from the cell's coordinates: no two cells share a stream, and code changes keep it."""
        return int(sha256_json(self._place)[:8], 16) % 2**31

    @property
    def _place(self) -> list[object]:
        place = [self.task_name, self.model, dict(self.config), self.seed]
        return place + ([] if self.fraction == 1 else [self.fraction])

    def place(self, hardware_class: str) -> str:
        """Name the cell's coordinates on a class of hardware, whatever code and data are: 20 hexadecimal digits."""
        return sha256_json([self._place, dict(self.tuning), hardware_class])[:20]

    def key(self, hardware_class: str) -> str:
        """Name the record of this cell on a class of hardware: 20 hexadecimal digits."""
        return record_key(self.fit_key, hardware_class)


def record_key(fit_key: str, hardware_class: str) -> str:
    """Name the record of a fit on a class of hardware: 20 hexadecimal digits."""
    return sha256_json([fit_key, hardware_class])[:20]


def source_fingerprint(module: str) -> str:
    """Return the SHA-256 of a model's code and of the zoo modules that it imports, directly or not."""
    return code_fingerprint(module, ZOO, NOT_HASHED)
