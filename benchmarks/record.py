"""What is kept of a cell: one JSON file that refuses impossible states."""

from __future__ import annotations

import datetime
import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

SCHEMA_VERSION = 2
"""Raised with every field that is added, so that an older zoobench says what it is; see `schema.py`."""
Status = Literal["ok", "failed", "timeout", "oom", "incompatible", "unavailable"]
FAULTS: frozenset[Status] = frozenset({"failed", "timeout", "oom"})
"""The statuses that make a run end with exit status 1; the other two say that a cell cannot run here."""
ENSEMBLES = ("ensemble-greedy", "ensemble-mean")
"""What ensembles are called on a board, and in commands."""

NonNegative = Annotated[float, Field(ge=0)]
Values = dict[str, float | None]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Timings(_Frozen):
    """Seconds of wall time, all by a monotonic clock.

    `features` is what the shared features (an encoder's embeddings) cost when they were computed, charged to
    every cell that uses them: those of the training and validation texts here, those of the test texts within
    `predict`. `warmup` (building the model) is apart and not part of `total`; `wall` is the whole cell as the
    harness saw it. Of a fit that went on from a checkpoint `fit` counts each epoch where it was done, once, and `wall`
    the last run alone; of a tuned cell `wall` holds what its trials waited for GPUs.
    """

    prepare: NonNegative = 0
    warmup: NonNegative = 0
    features: NonNegative = 0
    tune: NonNegative = 0
    fit: NonNegative = 0
    predict: NonNegative = 0
    wall: NonNegative = 0

    @property
    def total(self) -> float:
        """Return what a user pays to train: features, tuning and fit."""
        return self.features + self.tune + self.fit


class Speed(_Frozen):
    """Latency of one example from raw input to probabilities (ms), and throughput on the test fold (rows/s)."""

    latency_p50_ms: NonNegative
    latency_p95_ms: NonNegative
    rows_per_second: NonNegative


class Memory(_Frozen):
    """Peak memory in GB (10^9 bytes): what the cell added, and the warm process it forked from.

    `gpu_gb` is what the framework's allocator held of the cell's GPUs; of a training that is dealt to several, on the
    first. The driver's own, some 0.5 GB a process, is not in it.
    """

    added_gb: NonNegative
    baseline_gb: NonNegative
    gpu_gb: NonNegative | None = None


class Evaluation(_Frozen):
    """The scores of one fold under one threshold policy."""

    values: Values
    intervals: dict[str, tuple[float, float] | None] = {}
    per_label: dict[str, list[float | None]] = {}
    confusion: list[list[int]] = []
    undefined: dict[str, list[str]] = {}
    thresholds: list[Annotated[float, Field(ge=0, le=1)]] = []


class Part(_Frozen):
    """The scores of a part of the test fold, under the record's policy; thresholds are the whole fold's."""

    rows: Annotated[int, Field(ge=1)]
    values: Values
    undefined: dict[str, list[str]] = {}


class Tuning(_Frozen):
    """How a configuration was found: Optuna's study of it, and what that cost.

    `value` and `default_value` are the task's metric on the validation fold, higher is better, of the best trial and
    of the one that the search began with. `seconds` are those of all trials, wherever they ran.
    """

    study: str
    key: str = Field(pattern=r"^[0-9a-f]{20}$", description="the study's folder, below the task's and the model's")
    storage: str = Field("", description="the database without its password; empty: a journal beside the records")
    budget: int = Field(ge=1, description="trials that were asked for")
    tune_time_s: Annotated[float, Field(gt=0)] | None = None
    finished: int = Field(ge=1)
    pruned: int = Field(ge=0)
    failed: int = Field(ge=0)
    best: int = Field(ge=0, description="the number of the best trial")
    value: float
    default_value: float | None = None
    seconds: NonNegative
    sampler: str
    pruner: str
    importances: dict[str, float] = Field({}, description="share of the variance that a setting explains (fANOVA)")


class Share(_Frozen):
    """A member of an ensemble, by its cell's key and in words; of weight 0 if it was looked at and not taken."""

    key: str
    label: str
    weight: NonNegative
    probabilities: str = Field("", description="SHA-256 of the file that was read")


class Record(_Frozen):
    """A finished cell.

    A record that claims ``ok`` holds the scores of its test fold under every policy of its day, each finite or named
    undefined; any other status holds a reason and no score.
    """

    schema_version: Literal[2] = SCHEMA_VERSION
    key: str = Field(pattern=r"^[0-9a-f]{20}$")
    fit_key: str = Field(pattern=r"^[0-9a-f]{20}$")
    attempt: str = Field(pattern=r"^[0-9a-f]{12}$")
    created: str

    task: str
    protocol: str
    task_version: int
    kind: Literal["multilabel", "multiclass"]
    labels: list[str]
    primary_metric: str
    data_fingerprint: str
    split_sha256: str
    rows: dict[str, int] = Field(description="by fold; of the training fold those that the model was fitted on")

    model: str
    framework: str
    preset: str
    mode: Literal["default", "tuned", "ensemble"] = "default"
    config: dict[str, str | int | float | bool]
    settings: dict[str, str | int | float | bool] = Field({}, description="what differs from the preset")
    folders: dict[str, str] | None = Field(None, description="content hash of each folder in `config`; None: not kept")
    tuning: Tuning | None = None
    seed: int = Field(ge=0, lt=2**32)
    fraction: float = Field(1.0, gt=0, le=1, description="of the training fold: the part asked for")
    source_sha256: str = Field(description="of the model's code and the zoo modules that it imports")

    status: Status
    reason: str = ""
    metric_version: int = 0
    policy: str = ""
    test: dict[str, Evaluation] = {}
    validation: dict[str, Evaluation] = {}
    train: dict[str, Evaluation] = {}
    parts: dict[str, Part] = Field({}, description="of the test fold, by name, such as `unseen`")
    temperature: float | None = Field(None, gt=0, description="that calibrates, fitted on validation; None: not fitted")
    timings: Timings = Timings()
    speed: Speed | None = None
    memory: Memory | None = None
    parameters: int | None = None
    history: list[dict[str, float]] = []
    members: list[Share] = Field([], description="of an ensemble: whatever it could take, by key")

    hardware_class: str
    hardware: dict[str, Any]
    device: str
    gpus: list[str] = Field([], description="UUIDs of the GPUs that it had")
    precision: dict[str, bool] = Field({}, description="on a GPU: whether float32 products were computed in TF32")
    threads: int
    overlap: str = Field("", description="the setting by which the weights had seen this task's test fold")
    beside: int = Field(0, description="other cells that ran at the same time")
    timeout_s: float | None = None
    memory_limit_gb: float | None = None
    software: dict[str, str] = {}
    zoobench: str
    revision: str = ""
    notes: list[str] = []
    files: dict[str, str] = Field({}, description="SHA-256 of each file in the attempt's folder")

    @field_validator("files")
    @classmethod
    def _inside(cls, files: dict[str, str]) -> dict[str, str]:
        """Refuse names that leave the attempt's folder: a folder of somebody else is copied by them."""
        for name in files:
            if not name or name.startswith("/") or "\\" in name or not {"", ".", ".."}.isdisjoint(name.split("/")):
                raise ValueError(f"{name!r} is no file of the attempt's folder")
        return files

    @model_validator(mode="after")
    def _possible(self) -> Record:
        if self.status != "ok":
            if not self.reason or self.test or self.parts or self.temperature is not None:
                raise ValueError(f"a record with status {self.status} needs a reason and has no scores")
            return self
        if self.reason or not self.test or self.policy not in self.test or self.speed is None or self.memory is None:
            raise ValueError("a record with status ok has scores, speed, memory and a policy, and no reason")
        self._check_mode()
        for policy, evaluation in self.test.items():
            self._check_scores(policy, evaluation)
        return self

    def _check_scores(self, policy: str, evaluation: Evaluation) -> None:
        if self.primary_metric not in evaluation.values:
            raise ValueError(f"policy {policy} has no {self.primary_metric}")
        for metric, value in evaluation.values.items():
            if value is None and metric not in evaluation.undefined:
                raise ValueError(f"policy {policy}: {metric} has no value and is not named undefined")
            if value is not None and not math.isfinite(value):
                raise ValueError(f"policy {policy}: {metric} is not finite")
        # Whoever asks the stored model decides by them.
        asked = len(self.labels) if self.kind == "multilabel" else 0
        if len(evaluation.thresholds) != asked:
            raise ValueError(f"policy {policy} has {len(evaluation.thresholds)} thresholds, not {asked}")

    def _check_mode(self) -> None:
        if (self.mode == "tuned") != (self.tuning is not None):
            raise ValueError("a record has an account of its tuning exactly if its mode is tuned")
        weight = sum(share.weight for share in self.members)
        if (self.mode == "ensemble") != bool(self.members) or (self.members and abs(weight - 1) > 1e-9):
            raise ValueError("an ensemble has members whose weights sum to 1, and no other record has any")

    @property
    def task_name(self) -> str:
        """The task with its protocol, as the command line takes it."""
        return f"{self.task}@{self.protocol}" if self.protocol else self.task

    @property
    def value(self) -> float | None:
        """The primary metric on the test fold under the record's policy; None where there is none."""
        return self.test[self.policy].values[self.primary_metric] if self.status == "ok" else None

    @property
    def setup(self) -> list[Any]:
        """What records of one row of a board share where their figures may be pooled: the same code, run the same way.

        Each seed of a tuned row has found its own configuration.
        """
        budget = self.tuning and self.tuning.model_dump(include={"budget", "tune_time_s", "pruner"})
        return [budget or self.config, self.source_sha256, self.task_version, self.threads]

    def summary(self) -> dict[str, Any]:
        """Return the record as one row of a table."""
        return {
            "task": self.task_name,
            "model": self.model,
            "preset": self.preset,
            "seed": self.seed,
            "status": self.status,
            "reason": self.reason,
            "metric": self.primary_metric,
            "value": self.value,
            "fit_s": self.timings.total,
            "latency_p50_ms": self.speed.latency_p50_ms if self.speed else None,
            "memory_gb": self.memory.added_gb if self.memory else None,
            "key": self.key,
        }


def now() -> str:
    """Return the time as a record's `created` has it: ISO 8601 in UTC, to the millisecond."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
