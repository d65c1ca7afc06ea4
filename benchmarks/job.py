"""What passes between the harness and the process of a cell: a job in, events on the way, an outcome out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..datasets.support.files import read_json, write_json
from ..zoo.core import Scalar
from .record import Status

JOB, OUTCOME, EVENTS, PROBABILITIES, LOG, ARTEFACT, ROWS = (
    "job.json",
    "outcome.json",
    "events.jsonl",
    "probabilities.npz",
    "log.txt",
    "artefact",
    "rows.npy",
)
LOG_BYTES = 1_000_000


@dataclass(frozen=True)
class Job:
    """All that a cell's process is told. Paths are absolute; there is none to the test targets but `sealed`.

    Attributes
    ----------
    module
        Of the model's builder, or the one of `plugins` that it stands in: imported directly, for a scan of all models
        would cost each cell its time.
    card, protocol
        The task's card as plain values, and by which protocol its rows were dealt.
    public
        The prepared task without its test targets (see ``datasets/prepare.py``).
    sealed
        Files and folders that the process must not open; it refuses to, and says so.
    out
        Where the outcome goes; `work` below it is the current folder of the model.
    temporary
        The folder of its temporary files.
    source_sha256
        Of the model's code when the cell was planned; the process refuses any other.
    features, scope
        The folder of the feature cache and what parts it from others.
    trial
        Whether only the probabilities of the validation and test folds are wanted: a trial of a study.
    rows
        A file with the numbers of the training rows to fit on (.npy, sorted); "" for all.
    checkpoint
        The folder of the cell's checkpoints, and what their names begin with (``FOLDER/FIT_KEY``); "" for none.
    gpus
        How many GPUs the process is to have; on the device "cpu" none.
    tf32
        Whether products of float32 are computed in TF32 on a GPU; None leaves that to the framework.
    environment
        Variables of the process beside those of the harness.
    """

    model: str
    module: str
    config: Mapping[str, Scalar]
    card: Mapping[str, Any]
    protocol: str
    seed: int
    device: str
    threads: int
    plugins: tuple[str, ...]
    source_sha256: str
    public: str
    sealed: tuple[str, ...]
    features: str
    scope: Mapping[str, Any]
    out: str
    temporary: str
    trial: bool = False
    rows: str = ""
    checkpoint: str = ""
    gpus: int = 0
    tf32: bool | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    def write(self) -> Path:
        """Write the job into its folder and return the file."""
        path = Path(self.out) / JOB
        values = {name: dict(value) if isinstance(value, Mapping) else value for name, value in vars(self).items()}
        write_json(path, values)
        return path

    @classmethod
    def read(cls, path: Path) -> Job:
        """Read what `write` wrote."""
        values: dict[str, Any] = read_json(path)
        return cls(**{**values, "plugins": tuple(values["plugins"]), "sealed": tuple(values["sealed"])})


@dataclass(frozen=True)
class Outcome:
    """What a cell's process says of itself; probabilities and artefact lie beside it.

    Attributes
    ----------
    no_space
        Whether it failed because a file could not grow: a matter of the disk, which no record should tell of a model.
    """

    status: Status
    reason: str = ""
    timings: Mapping[str, float] = field(default_factory=dict)
    speed: Mapping[str, float] = field(default_factory=dict)
    memory: Mapping[str, float | None] = field(default_factory=dict)
    parameters: int | None = None
    notes: tuple[str, ...] = ()
    no_space: bool = False
    precision: Mapping[str, bool] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write the outcome: the last thing that a cell's process does."""
        write_json(folder / OUTCOME, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Outcome | None:
        """Return the outcome in `folder`, or None where the process died before it could write one."""
        try:
            values = read_json(folder / OUTCOME)
            return cls(**(values | {"notes": tuple(values["notes"])}))
        except (OSError, ValueError, TypeError, KeyError):
            return None


@dataclass(frozen=True)
class Event:
    """Where a cell's process stands: its phase, and step of total with what was measured there."""

    phase: str
    step: int = 0
    total: int = 0
    values: Mapping[str, float] = field(default_factory=dict)


def shorten(log: Path) -> None:
    """Keep the beginning and the end of a log that grew beyond `LOG_BYTES`; one that was shortened stays as it is."""
    if not log.exists() or (size := log.stat().st_size) <= LOG_BYTES + LOG_BYTES // 100:
        return
    half = LOG_BYTES // 2
    with log.open("rb") as stream:
        head = stream.read(half)
        stream.seek(size - half)
        tail = stream.read()
    log.write_bytes(head + f"\n… {size - LOG_BYTES} bytes left out …\n".encode() + tail)


def tail_events(path: Path, offset: int) -> tuple[list[Event], int]:
    """Return the whole events after `offset` bytes of the file, and the offset behind them."""
    try:
        with path.open("rb") as stream:
            stream.seek(offset)
            block = stream.read()
    except OSError:
        return [], offset
    whole = block[: block.rfind(b"\n") + 1]
    return list(_parse(whole)), offset + len(whole)


def _parse(lines: bytes) -> Iterator[Event]:
    for line in lines.splitlines():
        try:
            yield Event(**json.loads(line))
        except (ValueError, TypeError):
            continue
