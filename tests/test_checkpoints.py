"""A training that was killed goes on after its last whole epoch, and nobody can tell by what comes out."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch
from torch import Tensor, nn
from zoobench.zoo.checkpoints import Checkpoints
from zoobench.zoo.losses import weighted
from zoobench.zoo.training import Trainer, seeded

from .test_training import HELD, INPUTS, Rows, recipe

STEPS = 5
"""Of an epoch of `Rows`."""
Told = list[tuple[int, dict[str, float]]]


class Killed(BaseException):
    """Stands for a kill: nothing of the process is left but its files."""


class Net(nn.Module):
    """Dropout, so that generators matter; batch normalisation, so that buffers do; `room` rows fit at most.

    `apart`: rows do not depend on one another, as lanes need it.
    """

    def __init__(self, room: int = 1000, *, apart: bool = False) -> None:
        super().__init__()
        with seeded(1, "cpu"):
            self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 3)
        self.norm = nn.LayerNorm(8) if apart else nn.BatchNorm1d(8)
        self.drop, self.room = nn.Dropout(0.3), room

    def forward(self, vectors: Tensor) -> Tensor:
        if self.training and len(vectors) > self.room:
            raise MemoryError
        return self.last(self.drop(torch.tanh(self.norm(self.first(vectors)))))


class Hand:
    """Hears reports, and kills when the values of an epoch are told: what is kept then are the epochs before it."""

    def __init__(self, kill_in: int = 0) -> None:
        self.told: Told = []
        self._kill_in = kill_in

    def __call__(self, step: int, total: int, **values: float) -> None:
        del total
        if values:
            self.told.append((step, values))
            if len(self.told) == self._kill_in:
                raise Killed


def kept_in(folder: Path | None, told: list[tuple[int, int]] | None = None, name: str = "key") -> Checkpoints | None:
    hear = (lambda epoch, epochs: told.append((epoch, epochs))) if told is not None else lambda epoch, epochs: None
    return None if folder is None else Checkpoints(folder, name, lambda: 0.0, hear)


def trained(
    folder: Path | None, hand: Hand | None = None, network: Net | None = None, **changes: Any
) -> dict[str, Any]:
    """Train from the start or a checkpoint; return all that comes of it."""
    changes = {"epochs": 5, "patience": 0, **changes}
    network, hand = network or Net(apart="threads" in changes), hand or Hand()
    losses, scores, watch = changes.pop("losses", [weighted(np.ones(3))]), changes.pop("scores", None), None
    threads, seed = changes.pop("threads", 1), changes.pop("seed", 7)
    with seeded(seed, "cpu"):
        run = Trainer(network, losses, recipe(**changes), "cpu", threads)

        def validate() -> float:
            if scores:
                return scores[len(run.losses) // STEPS - 1]
            network.eval()
            with torch.inference_mode():
                return float(network(INPUTS).sigmoid()[torch.from_numpy(HELD) > 0].mean())

        if changes.get("schedule") == "plateau":
            watch = lambda: {"val_loss": [1.0, 0.9, 0.9, 0.9, 0.9, 0.9][len(run.losses) // STEPS - 1]}  # noqa: E731
        run.keep_in(kept_in(folder))
        run.fit(Rows(), validate, hand, watch)
        drawn = torch.rand(3).tolist()
    weights = {name: held.numpy().copy() for name, held in network.state_dict().items()}
    rates = [group["lr"] for group in run.optimizer.param_groups]
    found = {"weights": weights, "losses": run.losses, "told": hand.told, "rates": rates, "drawn": drawn}
    return {**found, "notes": run.notes, "rows": run.rows_at_once}


def same(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    """Compare all but the notes, to the bit."""
    assert {name: array.tolist() for name, array in one["weights"].items()} == {
        name: array.tolist() for name, array in other["weights"].items()
    }
    for name in ("losses", "told", "rates", "drawn", "rows"):
        assert one[name] == other[name], name


def resumed(notes: list[str] | tuple[str, ...]) -> list[str]:
    return [note.partition(":")[0] for note in notes if note.startswith("resumed")]


CASES: dict[str, dict[str, Any]] = {
    "linear": {},
    "warm-up in steps": {"warmup": 12.0, "accumulation": 2, "batch_size": 4},
    "plateau": {"schedule": "plateau", "optimizer": "adam", "epochs": 6},
    "lanes": {"threads": 2},
    "cycles": {"losses": [weighted(np.ones(3)), weighted(np.full(3, 9.0))], "epochs": 6},
    "clipped, two groups": {"clip": 0.1, "rates": {"last.weight": 5.0}, "weight_decay": 0.2},
}


@pytest.mark.parametrize("kill_in", [2, 4])
@pytest.mark.parametrize("case", CASES)
def test_a_killed_training_ends_as_an_unbroken_one(case: str, kill_in: int, tmp_path: Path) -> None:
    whole = trained(None, **CASES[case])
    same(trained(tmp_path / "unbroken", **CASES[case]), whole)
    with pytest.raises(Killed):
        trained(tmp_path / "killed", Hand(kill_in), **CASES[case])
    again = trained(tmp_path / "killed", **CASES[case])
    same(again, whole)
    epochs = CASES[case].get("epochs", 5)
    assert resumed(again["notes"]) == [f"resumed at epoch {kill_in} of {epochs}"]
    assert [note for note in again["notes"] if not note.startswith("resumed")] == whole["notes"]
    assert [step for step, _ in again["told"]] == [STEPS * epoch for epoch in range(1, epochs + 1)]


def test_a_training_is_killed_as_often_as_it_likes(tmp_path: Path) -> None:
    for kill_in in (1, 2, 2, 4, 5):
        with pytest.raises(Killed):
            trained(tmp_path, Hand(kill_in))
    again = trained(tmp_path)
    same(again, trained(None))
    # The second time that it came to epoch 2 nothing was kept, that note included.
    assert resumed(again["notes"]) == [f"resumed at epoch {epoch} of 5" for epoch in (2, 4, 5)]


@pytest.mark.parametrize("kill_in", [2, 3, 4])
def test_patience_is_counted_across_the_kill(kill_in: int, tmp_path: Path) -> None:
    case = {"patience": 2, "epochs": 9, "scores": [0.5, 0.9, 0.8, 0.7, 0.6, 0.99]}
    whole = trained(None, **case)
    assert whole["notes"] == ["stopped after epoch 4 of 9: none better than 2"]
    with pytest.raises(Killed):
        trained(tmp_path, Hand(kill_in), **case)
    again = trained(tmp_path, **case)
    same(again, whole)
    assert again["notes"][0] == whole["notes"][0]
    # Killed after the fit: nothing is trained again, and the best epoch's weights are still those.
    after = trained(tmp_path, **case)
    same(after, whole)
    assert resumed(after["notes"])[-1] == "resumed after the last epoch"


def test_a_batch_that_did_not_fit_stays_halved(tmp_path: Path) -> None:
    whole = trained(None, network=Net(3))
    assert whole["rows"] == 2
    with pytest.raises(Killed):
        trained(tmp_path, Hand(3), network=Net(3))
    again = trained(tmp_path, network=Net(3))
    same(again, whole)
    assert [note for note in again["notes"] if not note.startswith("resumed")] == whole["notes"], "found out once"


def test_channels_last_weights_meet_their_own_moments() -> None:
    def network() -> nn.Module:
        with seeded(1, "cpu"):
            made = nn.Conv2d(3, 4, 3)
        return made.to(memory_format=torch.channels_last)

    def steps(made: nn.Module, optimizer: torch.optim.Optimizer, count: int) -> None:
        for step in range(count):
            optimizer.zero_grad()
            pixels = torch.linspace(0, 1 + step, 3 * 25).reshape(1, 3, 5, 5)
            made(pixels.contiguous(memory_format=torch.channels_last)).square().mean().backward()
            optimizer.step()

    from zoobench.zoo.optimizer_state import put_state, state_of

    one, other = network(), network()
    optimizers = [torch.optim.AdamW(made.parameters(), 0.1, fused=True) for made in (one, other)]
    steps(one, optimizers[0], 2)
    other.load_state_dict(one.state_dict())
    put_state(optimizers[1], *state_of(optimizers[0]))
    for made, optimizer in zip((one, other), optimizers, strict=True):
        steps(made, optimizer, 1)
    assert torch.equal(one.weight, other.weight)  # type: ignore[arg-type]


@contextmanager
def small_files(size: int) -> Iterator[None]:
    """Let no file grow beyond `size` bytes: what a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_costs_the_checkpoint_and_not_the_training(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        trained(tmp_path, Hand(2))
    [path] = tmp_path.iterdir()
    before = path.read_bytes()
    with small_files(1000):
        again = trained(tmp_path)
    same(again, trained(None))
    assert path.read_bytes() == before, "the last whole one stays"
    assert [*tmp_path.iterdir()] == [path]
    notes = [note for note in again["notes"] if not note.startswith("resumed")]
    assert len(notes) == 1
    assert notes[0].startswith("no checkpoint after epoch 2: ")
    assert "File too large" in notes[0]


def torn(call: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kill in the middle of the write with that number, half of it done."""
    whole, calls = safetensors.numpy.save_file, []

    def save_file(arrays: Any, path: Path, metadata: Any) -> None:
        whole(arrays, path, metadata)
        calls.append(path)
        if len(calls) == call:
            content = path.read_bytes()
            path.write_bytes(content[: len(content) // 2])
            monkeypatch.setattr(Path, "unlink", lambda path, missing_ok=False: None)  # a killed process tidies nothing
            raise Killed

    monkeypatch.setattr(safetensors.numpy, "save_file", save_file)


@pytest.mark.parametrize("call", [1, 3])
def test_killed_in_the_middle_of_writing_the_last_whole_one_stands(
    call: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        torn(call, patch)
        with pytest.raises(Killed):
            trained(tmp_path)
    assert any(path.name.startswith(".") for path in tmp_path.iterdir()), "the torn one lies there"
    again = trained(tmp_path)
    same(again, trained(None))
    assert resumed(again["notes"]) == ([] if call == 1 else ["resumed at epoch 3 of 5"])
    assert [path.name for path in tmp_path.iterdir()] == ["key-1.safetensors"]


def cut(share: float) -> Callable[[bytes], bytes]:
    return lambda content: content[: int(share * len(content))]


def flipped(content: bytes) -> bytes:
    return content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]


DAMAGED = {
    "cut": cut(0.6),
    "cut in its header": cut(0.01),
    "empty": cut(0),
    "one bit": flipped,
    "noise": lambda _: b"x" * 99,
}


@pytest.mark.parametrize("how", DAMAGED)
def test_a_damaged_checkpoint_is_not_believed(how: str, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        trained(tmp_path, Hand(4))
    [path] = tmp_path.iterdir()
    path.write_bytes(DAMAGED[how](path.read_bytes()))
    again = trained(tmp_path)
    same(again, trained(None))
    assert len(again["notes"]) == 1
    assert again["notes"][0].startswith("a checkpoint was removed (")
    assert again["notes"][0].endswith("): trained from the start")


def test_anothers_checkpoint_is_not_taken(tmp_path: Path) -> None:
    """The same name with another network, other steps or other threads; and another name."""
    for changes in ({"epochs": 4}, {"network": Net(), "batch_size": 4}, {"threads": 2}):
        with pytest.raises(Killed):
            trained(tmp_path, Hand(3), **changes)
        again = trained(tmp_path)
        same(again, trained(None))
        assert [note.partition(" (")[0] for note in again["notes"]] == ["a checkpoint was removed"], changes
    (tmp_path / "key-1.safetensors").rename(tmp_path / "other-1.safetensors")
    again = trained(tmp_path)
    same(again, trained(None))
    assert again["notes"] == ["a checkpoint of other settings was removed: trained from the start"]
    assert [path.name for path in tmp_path.iterdir()] == ["key-1.safetensors"]


def test_the_second_training_of_a_process_is_not_the_first(tmp_path: Path) -> None:
    def both(place: Checkpoints | None, hand: Hand | None = None) -> list[list[float]]:
        found = []
        for seed in (1, 2):
            network = Net()
            with seeded(seed, "cpu"):
                run = Trainer(network, weighted(np.ones(3)), recipe(epochs=3), "cpu")
                run.keep_in(place)
                run.fit(Rows(), None, hand if seed == 2 else None)
            found.append(run.losses)
        return found

    whole = both(None)
    assert whole[0] != whole[1]
    with pytest.raises(Killed):
        both(kept_in(tmp_path), Hand(3))
    told: list[tuple[int, int]] = []
    assert both(kept_in(tmp_path, told)) == whole
    assert told == [(4, 3), (3, 3)]


def test_seconds_count_once_and_writing_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """10 s an epoch, 3 s a checkpoint, 4 s to begin; killed 10 s after the second epoch was kept."""
    now = 0.0
    whole = safetensors.numpy.save_file

    def save_file(*given: Any, **named: Any) -> None:
        nonlocal now
        now += 3
        whole(*given, **named)

    monkeypatch.setattr(safetensors.numpy, "save_file", save_file)

    class Slow(Hand):
        def __call__(self, step: int, total: int, **values: float) -> None:
            nonlocal now
            if len(self.told) >= self.known and values:
                now += 10
            super().__call__(step, total, **values)

    def seconds(hand: Slow, known: int) -> float:
        nonlocal now
        now, hand.known = 4.0, known  # type: ignore[attr-defined]
        place = Checkpoints(tmp_path, "key", lambda: now, lambda epoch, epochs: None)
        run = Trainer(Net(), weighted(np.ones(3)), recipe(epochs=4), "cpu")
        run.keep_in(place)
        try:
            run.fit(Rows(), None, hand)
        except Killed:
            return -1
        return now + place.carried

    assert seconds(Slow(3), 0) == -1
    assert seconds(Slow(), 2) == 4 + 4 * 10
