"""Checkpoints: what a training needs to go on after its last whole epoch, bit for bit, in a file written whole."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..datasets.support.files import atomic_path, sha256_json

SUFFIX = ".safetensors"
_STATE, _SHA256 = "state", "sha256"
Counters = tuple[Any, tuple[str, ...]]
"""An object, and the names of those of its attributes that change in a training and that JSON holds."""


class State(Protocol):
    """What a training is made of between two epochs."""

    def take(self, done: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return its arrays by name, and the rest as values that JSON holds, once `done` epochs are."""
        ...

    def put(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> None:
        """Become what `take` returned."""
        ...


@dataclass
class Checkpoints:
    """Where the trainings of a cell's process are kept: the first one, the second and so on, a file each.

    Whatever else lies in the folder is removed: of other code or data, or half written.

    Parameters
    ----------
    folder, name
        The folder, and what the cell's files are called: the same only where its code, data and settings are.
    clock
        Returns the seconds of the cell's fit in this process so far.
    tell
        Hears that a training goes on: with which epoch, from 1 (past the last where all are done), of how many.

    Attributes
    ----------
    carried
        What to add to the clock's seconds: an epoch counts where it was done, once; writing a checkpoint does not.
    notes
        What is to be said of the files that were found.
    """

    folder: Path
    name: str
    clock: Callable[[], float]
    tell: Callable[[int, int], None]
    carried: float = 0.0
    notes: list[str] = field(default_factory=list)
    _begun: int = 0

    def __post_init__(self) -> None:
        strange = [path for path in self.folder.glob("*") if not path.name.startswith(f"{self.name}-")]
        if any(path.suffix == SUFFIX and not path.name.startswith(".") for path in strange):
            self.notes.append("a checkpoint of other settings was removed: trained from the start")
        for path in strange:
            with contextlib.suppress(OSError):
                path.unlink()

    def next(self) -> Path:
        """Return the file of the next training of this process: a cell begins its trainings in the same order."""
        self._begun += 1
        return self.folder / f"{self.name}-{self._begun}{SUFFIX}"


class Checkpoint:
    """The checkpoint of one training; without a place it keeps nothing.

    Parameters
    ----------
    subject
        What must be the same for a training to go on, beside the name of its files: JSON.
    epochs
        How many there are at most.

    Attributes
    ----------
    notes
        From which epochs on the training went on, and what was not kept or not believed.
    """

    def __init__(self, place: Checkpoints | None, state: State, subject: Sequence[Any], epochs: int) -> None:
        self._place, self._state, self._epochs = place, state, epochs
        self._path = Path() if place is None else place.next()
        self._of = sha256_json([self._path.name, subject])
        self.notes = [] if place is None else [*place.notes]

    def resume(self) -> int:
        """Take up the training where its checkpoint stands; return how many epochs are behind it, 0 without one.

        A checkpoint that is damaged or of another training is removed, and a note says so.
        """
        place = self._place
        if place is None:
            return 0
        from safetensors import SafetensorError

        try:
            arrays, kept = self._read()
            done, seconds = int(kept["done"]), float(kept["seconds"])
        except FileNotFoundError:
            return 0
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            self.notes.append(f"a checkpoint was removed ({_line(error)}): trained from the start")
            with contextlib.suppress(OSError):
                self._path.unlink()
            return 0
        self._state.put(arrays, kept["values"])
        _seed_generators(arrays, kept["generators"])
        where = f"at epoch {done + 1} of {self._epochs}" if done < self._epochs else "after the last epoch"
        self.notes = [*kept["notes"], f"resumed {where}: every epoch's seconds count once, what was lost does not"]
        place.carried = seconds - place.clock()
        place.tell(done + 1, self._epochs)
        return done

    def keep(self, done: int, *, over: bool = False) -> None:
        """Keep the training after `done` epochs; one that ends early is `over`. A full disk leaves the last one."""
        place = self._place
        if place is None:
            return
        from safetensors import SafetensorError

        start = place.clock()
        try:
            self._write(done, {"done": self._epochs if over else done, "seconds": start + place.carried})
        except (OSError, SafetensorError) as error:
            if not any(note.startswith("no checkpoint") for note in self.notes):
                self.notes.append(f"no checkpoint after epoch {done}: {_line(error)}")
        place.carried -= place.clock() - start

    def _write(self, done: int, state: dict[str, Any]) -> None:
        from safetensors.numpy import save_file

        arrays, values = self._state.take(done)
        drawn, generators = _generators()
        # What safetensors is handed must lie in memory as it is written.
        arrays = {name: np.asarray(array, order="C") for name, array in (arrays | drawn).items()}
        state |= {"of": self._of, "values": values, "generators": generators, "notes": self.notes}
        kept = json.dumps(state)
        with atomic_path(self._path) as temporary:
            save_file(arrays, temporary, metadata={_STATE: kept, _SHA256: _digest(arrays, kept)})

    def _read(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        from safetensors import safe_open

        with safe_open(self._path, framework="np") as file:
            metadata = file.metadata() or {}
            arrays = {name: np.asarray(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118 - no mapping
        if _digest(arrays, metadata[_STATE]) != metadata[_SHA256]:
            raise ValueError("it is damaged")
        state = json.loads(metadata[_STATE])
        if state["of"] != self._of:
            raise ValueError("it is of another training, or of another version of its libraries")
        return arrays, state


def read_counters(held: Counters) -> dict[str, Any]:
    """Return the attributes that `held` names."""
    return {name: getattr(held[0], name) for name in held[1]}


def set_counters(held: Counters, values: Mapping[str, Any]) -> None:
    """Set the attributes that `held` names to what `read_counters` returned."""
    for name in held[1]:
        setattr(held[0], name, values[name])


def _generators() -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the state of every generator of the process: Python's, numpy's, torch's on the CPU and on each GPU."""
    numpy: dict[str, Any] = np.random.get_state(legacy=False)  # type: ignore[assignment]
    key = numpy["state"]["key"]
    values = {"python": random.getstate(), "numpy": {**numpy, "state": {**numpy["state"], "key": key.tolist()}}}
    arrays: dict[str, np.ndarray] = {}
    if (torch := sys.modules.get("torch")) is not None:
        arrays["generators/torch"] = torch.get_rng_state().numpy()
        states = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        arrays |= {f"generators/cuda {number}": state.numpy() for number, state in enumerate(states)}
    return arrays, values


def _seed_generators(arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> None:
    """Put every generator where `_generators` found it."""
    version, inner, gauss = values["python"]
    random.setstate((version, tuple(inner), gauss))
    numpy = values["numpy"]
    np.random.set_state({**numpy, "state": {**numpy["state"], "key": np.array(numpy["state"]["key"], np.uint32)}})
    if (torch := sys.modules.get("torch")) is not None and "generators/torch" in arrays:
        torch.set_rng_state(torch.from_numpy(arrays["generators/torch"]))
        count = sum(name.startswith("generators/cuda ") for name in arrays)
        for number in range(count):
            torch.cuda.set_rng_state(torch.from_numpy(arrays[f"generators/cuda {number}"]), number)


def _digest(arrays: Mapping[str, np.ndarray], state: str) -> str:
    digest = hashlib.sha256(state.encode())
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        digest.update(arrays[name].reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _line(error: Exception) -> str:
    known = error.strerror if isinstance(error, OSError) else None
    return known or next(iter(str(error).splitlines()), type(error).__name__)
