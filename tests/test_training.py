"""The training loop: schedule, groups, accumulation, memory, early stopping, and what it says on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from zoobench.zoo import pace, training
from zoobench.zoo.losses import loss_of
from zoobench.zoo.memory import Halving, out_of_memory
from zoobench.zoo.recipe import Recipe, parameter_groups, rate_factor
from zoobench.zoo.training import Trainer, answers, seeded

RNG = np.random.default_rng(6)
INPUTS = torch.from_numpy(RNG.normal(size=(40, 6)).astype(np.float32))
HELD = (RNG.random((40, 3)) < 0.4).astype(np.uint8)
CLASSES = RNG.integers(0, 3, 40)


class Rows:
    """Vectors as a data side: what an image model would bring."""

    def __init__(self, inputs: Tensor = INPUTS, targets: np.ndarray = HELD, counts: Tensor | None = None) -> None:
        self.inputs, self.counts = inputs, counts
        self.targets = torch.from_numpy(targets.astype(np.float32 if targets.ndim == 2 else np.int64))

    def plan(self, epoch: int, size: int) -> Sequence[np.ndarray]:
        order = np.random.default_rng(epoch).permutation(len(self.inputs))
        return [order[at : at + size] for at in range(0, len(order), size)]

    def parts(self, rows: np.ndarray, size: int) -> Sequence[np.ndarray]:
        return [rows[at : at + size] for at in range(0, len(rows), size)]

    def load(self, rows: np.ndarray) -> Mapping[str, Tensor]:
        return {"vectors": self.inputs[rows]}


class Net(nn.Module):
    """Two layers; it refuses more than `room` rows as a full memory would."""

    def __init__(self, room: int = 1000, error: Callable[[], Exception] = MemoryError) -> None:
        super().__init__()
        with seeded(1, "cpu"):
            self.first, self.norm, self.last = nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, 3)
        self.room, self.error, self.asked = room, error, []

    def forward(self, vectors: Tensor) -> Tensor:
        self.asked.append(len(vectors))
        if len(vectors) > self.room:
            raise self.error()
        return self.last(torch.tanh(self.norm(self.first(vectors))))


def recipe(**changes: Any) -> Recipe:
    return Recipe(**{"epochs": 3, "batch_size": 8, "learning_rate": 1e-2, **changes})


def trainer(network: nn.Module, targets: np.ndarray = HELD, loss: str = "balanced", **changes: Any) -> Trainer:
    kind = "multilabel" if targets.ndim == 2 else "multiclass"
    return Trainer(network, loss_of(loss, kind, targets, 3), recipe(**changes), "cpu")


def weights(network: nn.Module) -> np.ndarray:
    return np.concatenate([held.detach().numpy().ravel() for held in network.parameters()])


def test_the_rate_rises_and_falls_linearly() -> None:
    found = [rate_factor(step, 100, 0.1) for step in range(101)]
    assert np.argmax(found) == 10
    assert found[10] == 1
    np.testing.assert_allclose(np.diff(found[:10]), 1 / 11)
    np.testing.assert_allclose(np.diff(found[10:]), -1 / 90)
    assert found[0] > 0
    assert found[100] == 0
    # A warm-up given in steps, as system 5's 500, may be longer than the training.
    np.testing.assert_allclose([rate_factor(step, 20, 500.0) for step in (0, 19)], [1 / 501, 20 / 501])
    assert rate_factor(600, 1500, 500.0) == pytest.approx(0.9)
    assert rate_factor(0, 10, 0.0) == 1


def test_biases_and_norms_do_not_decay() -> None:
    network = Net()
    network.first.weight.requires_grad_(False)
    rates = {"last.weight": 5.0, "last.bias": 5.0}
    groups = parameter_groups(network, recipe(weight_decay=0.03, rates=rates))
    found = {id(held): (group["lr"], group["weight_decay"]) for group in groups for held in group["params"]}
    names = {name: found.get(id(held)) for name, held in network.named_parameters()}
    assert names == {
        "first.weight": None,
        "first.bias": (0.01, 0.0),
        "norm.weight": (0.01, 0.0),
        "norm.bias": (0.01, 0.0),
        "last.weight": (0.05, 0.03),
        "last.bias": (0.05, 0.0),
    }
    groups = parameter_groups(network, recipe(weight_decay=0.03, undecayed=frozenset({"last.weight"})))
    assert {group["weight_decay"] for group in groups} == {0.0}


@pytest.mark.parametrize(("targets", "loss"), [(HELD, "balanced"), (CLASSES, "balanced"), (CLASSES, "focal")])
@pytest.mark.parametrize("size", [2, 3, 5])
def test_parts_add_up_to_the_gradient_of_the_whole(targets: np.ndarray, loss: str, size: int) -> None:
    whole, cut = Net(), Net()
    rows = np.arange(3, 16)
    one, many = trainer(whole, targets, loss), trainer(cut, targets, loss)
    one.rows_at_once, many.rows_at_once = 13, size
    data = Rows(targets=targets)
    first, second = one._gradients(rows, data), many._gradients(rows, data)
    assert first is not None
    assert second is not None
    assert float(first) == pytest.approx(float(second), rel=1e-5)
    assert cut.asked == [size] * (13 // size) + [13 % size] * bool(13 % size)
    for left, right in zip(whole.parameters(), cut.parameters(), strict=True):
        torch.testing.assert_close(left.grad, right.grad, rtol=1e-5, atol=1e-6)


def test_accumulation_makes_the_steps_of_a_larger_batch() -> None:
    small, large = Net(), Net()
    trainer(small, batch_size=4, accumulation=3).fit(Rows())
    trainer(large, batch_size=12).fit(Rows())
    np.testing.assert_allclose(weights(small), weights(large), atol=1e-5)
    assert max(small.asked) == 4
    assert max(large.asked) == 12


@pytest.mark.parametrize(
    "error",
    [
        lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        lambda: RuntimeError(
            "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
        ),
        lambda: RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"),
    ],
)
def test_a_batch_that_does_not_fit_is_halved_and_the_step_stays(error: Callable[[], Exception]) -> None:
    tight, roomy = Net(3, error), Net()
    halved = trainer(tight, batch_size=8)
    halved.fit(Rows())
    trainer(roomy, batch_size=8).fit(Rows())
    np.testing.assert_allclose(weights(tight), weights(roomy), atol=1e-5)
    assert halved.rows_at_once == 2
    assert halved.notes == [
        "8 rows a step did not fit: 4 at once from step 1",
        "8 rows a step did not fit: 2 at once from step 1",
    ]


def test_other_errors_and_a_single_row_are_not_halved() -> None:
    for network, kind in ((Net(0), MemoryError), (Net(3, lambda: RuntimeError("shapes do not match")), RuntimeError)):
        with pytest.raises(kind):
            trainer(network).fit(Rows())
    assert not out_of_memory(RuntimeError("shapes do not match"))


def test_a_loss_that_is_not_finite_stops_and_says_where() -> None:
    inputs = INPUTS.clone()
    inputs[17] = torch.inf
    data = Rows(inputs)
    at = next(step for step, rows in enumerate(data.plan(0, 8)) if 17 in rows)
    with pytest.raises(FloatingPointError, match=f"loss nan at epoch 1, step {at + 1}:"):
        trainer(Net()).fit(data)


def test_a_gpus_rare_look_still_names_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    losses = [torch.tensor(float(value)) for value in range(45)]
    losses[31] = torch.tensor(torch.nan)
    with pytest.raises(FloatingPointError, match="epoch 3, step 32:"):
        training._require_finite(losses[:40], 2)
    training._require_finite(losses[:31], 2)


def test_the_best_epoch_is_restored_and_training_stops_after_patience() -> None:
    network, seen, told = Net(), [], []
    scores = iter([0.2, 0.7, 0.7, 0.1, 0.9])

    def validate() -> float:
        seen.append(weights(network))
        return next(scores)

    run = trainer(network, epochs=10, patience=2)
    run.fit(Rows(), validate, lambda step, total, **values: told.append((step, total, values)))
    assert len(seen) == 4
    np.testing.assert_array_equal(weights(network), seen[1])
    assert run.notes == ["stopped after epoch 4 of 10: none better than 2"]
    valued = [(step, total, set(values), values["score"]) for step, total, values in told if values]
    assert valued == [(5 * (at + 1), 50, {"loss", "score"}, score) for at, score in enumerate((0.2, 0.7, 0.7, 0.1))]


def test_without_validation_all_epochs_are_trained() -> None:
    told: list[Mapping[str, float]] = []
    run = trainer(Net())
    run.fit(Rows(), None, lambda step, total, **values: told.append(values))
    assert [set(values) for values in told if values] == [{"loss"}] * 3
    assert told[-1]["loss"] < told[0]["loss"]
    assert not run.notes


def test_progress_within_an_epoch_holds_no_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "REPORT_SECONDS", 0.0)
    told: list[tuple[int, int, int]] = []
    trainer(Net(), epochs=2).fit(Rows(), None, lambda step, total, **values: told.append((step, total, len(values))))
    assert [step for step, _, _ in told] == sorted(step for step, _, _ in told)
    assert {total for _, total, _ in told} == {10}
    assert [step for step, _, values in told if values] == [5, 10]
    assert len(told) > 4


def test_frozen_weights_stay() -> None:
    network = Net()
    network.first.requires_grad_(False)
    before = network.first.weight.clone()
    trainer(network).fit(Rows(), lambda: 1.0)
    assert torch.equal(network.first.weight, before)
    assert not torch.equal(network.last.weight, Net().last.weight)


def test_answers_come_in_the_order_of_the_rows() -> None:
    network, data = Net(5), Rows()
    halving = Halving("answered")
    found = answers(network, data, data.plan(3, 16), "cpu", halving=halving)
    with torch.inference_mode():
        expected = torch.cat([network(row[None]) for row in INPUTS]).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert halving.notes[0] == "a batch of 16 did not fit into memory: 8 at most are answered at once"
    assert halving.rows == 4
    answers(network, data, data.plan(3, 16), "cpu", halving=halving)
    assert len(halving.notes) == 2, "what fits is remembered"
    with pytest.raises(MemoryError):
        answers(Net(0), data, data.plan(3, 16), "cpu")


def test_a_seed_holds_for_its_block_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    with seeded(3, "cpu"):
        first = torch.rand(3)
    assert torch.equal(torch.get_rng_state(), before)
    with seeded(3, "cpu"):
        assert torch.equal(torch.rand(3), first)
