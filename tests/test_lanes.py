"""A training step dealt to threads: the same gradients, the same draws each time, and one thread where chance comes in."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from zoobench.zoo.lanes import dealt, lanes
from zoobench.zoo.losses import loss_of
from zoobench.zoo.networks.dropout import Dropout, drawing_from, quicken
from zoobench.zoo.recipe import Recipe
from zoobench.zoo.training import Trainer, answers, seeded

from .test_training import HELD, INPUTS, Net, Rows, weights


class Dropping(nn.Module):
    """Two layers with dropout between; it remembers the threads that it was called from."""

    def __init__(self, share: float = 0.4, own: bool = False) -> None:
        super().__init__()
        with seeded(1, "cpu"):
            self.first, self.drop, self.last = nn.Linear(6, 64), nn.Dropout(share), nn.Linear(64, 3)
        self.own, self.seen = own, set[str]()

    def forward(self, vectors: Tensor) -> Tensor:
        self.seen.add(threading.current_thread().name)
        hidden = self.drop(torch.tanh(self.first(vectors)))
        return self.last(nn.functional.dropout(hidden, 0.4, self.training) if self.own else hidden)


def trained(network: nn.Module, threads: int, data: Any = None, **changes: Any) -> Trainer:
    settings: dict[str, Any] = {"epochs": 2, "batch_size": 8, "learning_rate": 1e-2, **changes}
    recipe = Recipe(**settings)
    with seeded(5, "cpu"):
        run = Trainer(network, loss_of("plain", "multilabel", HELD, 3), recipe, "cpu", threads)
        run.fit(Rows() if data is None else data)
    return run


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("counts", [None, torch.linspace(0.2, 1, len(INPUTS))])
def test_lanes_learn_what_one_thread_learns(threads: int, counts: Tensor | None) -> None:
    alone, beside = Dropping(share=0.0), Dropping(share=0.0)
    trained(alone, 1, Rows(counts=counts), accumulation=2)
    trained(beside, threads, Rows(counts=counts), accumulation=2)
    assert alone.seen == {"MainThread"}
    assert 1 <= len(beside.seen - {"MainThread"}) <= threads  # one that is done already takes the next lane
    np.testing.assert_allclose(weights(alone), weights(beside), atol=1e-5)


def test_the_same_seed_drops_the_same() -> None:
    runs = [Dropping() for _ in range(3)]
    for network in runs:
        trained(network, 2)
    for network in runs[1:]:
        np.testing.assert_array_equal(weights(runs[0]), weights(network))
    other = Dropping()
    trained(other, 2, learning_rate=1.1e-2)
    assert not np.array_equal(weights(other), weights(runs[0]))


def test_a_layer_that_draws_from_torchs_own_generator_keeps_to_one_thread() -> None:
    runs = [Dropping(own=True) for _ in range(3)]
    for network in runs:
        trained(network, 2)
        assert network.seen == {"MainThread"}
        np.testing.assert_array_equal(weights(network), weights(runs[0]))


def test_weights_that_one_lane_alone_uses_and_frozen_ones() -> None:
    class Parts(Net):
        def forward(self, vectors: Tensor) -> Tensor:
            return super().forward(vectors) + (self.late(vectors) if vectors[0, 0] > 0 else 0)

    found = []
    for threads in (1, 2):
        network = Parts()
        with seeded(3, "cpu"):
            network.late = nn.Linear(6, 3)
        network.first.weight.requires_grad_(False)
        inputs = INPUTS.clone()
        inputs[:, 0] = torch.tensor([1.0, -1.0] * (len(inputs) // 2))  # every other row: all of one lane
        run = Trainer(network, loss_of("plain", "multilabel", HELD, 3), Recipe(1, 8, 1e-2), "cpu", threads)
        run.rows_at_once = 1
        run._gradients(np.arange(16), Rows(inputs))
        assert network.first.weight.grad is None
        found.append([weight.grad for weight in network.parameters() if weight.requires_grad])
    for left, right in zip(*found, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-6)


def test_a_hook_on_a_weight_is_heard_in_every_lane() -> None:
    network = Dropping(share=0.0)
    network.last.weight.register_hook(lambda gradient: gradient * torch.tensor([[1.0], [0.0], [0.0]]))
    before = network.last.weight.detach().clone()
    trained(network, 2, weight_decay=0.0)
    moved = (network.last.weight.detach() != before).any(1)
    assert moved.tolist() == [True, False, False]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_answers_come_in_order_from_any_number_of_threads(threads: int) -> None:
    network, data = Net(), Rows()
    batches = np.array_split(np.random.default_rng(1).permutation(len(INPUTS)), 7)
    with torch.no_grad():
        wanted = network.eval()(INPUTS).numpy()
    np.testing.assert_allclose(answers(network, data, batches, "cpu", threads=threads), wanted, atol=1e-6)
    assert torch.get_num_threads() > 0


def test_what_fails_in_a_lane_arrives_when_all_are_done() -> None:
    done: list[int] = []

    def act(number: int) -> int:
        if number == 0:
            raise MemoryError
        threading.Event().wait(0.2)
        done.append(number)
        return number

    before = torch.get_num_threads()
    with pytest.raises(MemoryError), lanes(2) as each:
        each(act, [0, 1])
    assert done == [1]
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(("error", "rows"), [(MemoryError, 2), (lambda: RuntimeError("not enough memory"), 2)])
def test_a_step_that_does_not_fit_is_halved_in_lanes_too(error: Any, rows: int) -> None:
    narrow, wide = Net(room=rows, error=error), Net()
    run = trained(narrow, 2)
    trained(wide, 2)
    assert run.rows_at_once == rows
    assert "did not fit" in run.notes[0]
    np.testing.assert_allclose(weights(narrow), weights(wide), atol=1e-5)


def test_hands_are_dealt_like_cards() -> None:
    assert [hand.tolist() for hand in dealt(np.arange(5), 2)] == [[0, 2, 4], [1, 3]]
    assert len(dealt(np.arange(2), 8)) == 2
    assert dealt([], 3) == []


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_dropout_drops_its_share_and_keeps_the_mean(share: float) -> None:
    layer, ones = Dropout(share), torch.ones(1000, 401)
    found = layer(ones)
    dropped = float((found == 0).float().mean())
    assert abs(dropped - share) < 4 * np.sqrt(share * (1 - share) / ones.numel()) + 1e-5
    torch.testing.assert_close(found[found != 0].unique(), torch.tensor([1 / (1 - share)]))
    rows = (found == 0).float().mean(1)
    assert float(rows.std()) == pytest.approx(np.sqrt(share * (1 - share) / 401), rel=0.1)  # no row draws another's
    assert torch.equal(layer.eval()(ones), ones)


def test_dropouts_gradient_is_its_mask() -> None:
    layer, inputs = Dropout(0.3), torch.randn(50, 7, requires_grad=True)
    found = layer(inputs)
    found.sum().backward()
    assert inputs.grad is not None
    torch.testing.assert_close(inputs.grad, torch.where(found == 0, 0.0, 1 / 0.7))


def test_dropout_follows_its_generator() -> None:
    layer, ones = Dropout(0.5), torch.ones(40, 40)

    def drawn(seed: int) -> Tensor:
        with drawing_from(torch.Generator().manual_seed(seed)):
            return layer(ones)

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))
    with seeded(4, "cpu"):
        first = layer(ones)
    with seeded(4, "cpu"):
        assert torch.equal(layer(ones), first)


def test_every_plain_dropout_is_replaced() -> None:
    network = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.2), nn.Sequential(nn.Dropout(0.7), nn.Dropout1d(0.1))).eval()
    names = list(network.state_dict())
    quicken(network)
    kinds = [type(part).__name__ for part in network.modules() if "Dropout" in type(part).__name__]
    assert kinds == ["Dropout", "Dropout", "Dropout1d"]
    assert [part.p for part in network.modules() if type(part) is Dropout] == [0.2, 0.7]
    assert not any(part.training for part in network.modules())
    assert list(network.state_dict()) == names
