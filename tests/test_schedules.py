"""What image models add to the training loop: plateaus, Adam, and losses that change from cycle to cycle."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from zoobench.datasets.support.errors import UserError
from zoobench.zoo.losses import weighted
from zoobench.zoo.training import Trainer

from .test_training import Net, Rows, recipe, trainer, weights


def test_the_rate_halves_where_the_watched_loss_does_not_fall() -> None:
    watched, rates = iter([1.0, 0.8, 0.9, 0.9, 0.9, 0.7, 0.6]), []
    run = trainer(Net(), epochs=7, schedule="plateau", patience=0)

    def validate() -> float:
        rates.append(run.optimizer.param_groups[0]["lr"])
        return 0.0

    told = []
    run.fit(Rows(), validate, lambda step, total, **values: told.append(values), lambda: {"val_loss": next(watched)})
    assert rates == [1e-2] * 5 + [5e-3] * 2
    assert [values["val_loss"] for values in told if values] == [1.0, 0.8, 0.9, 0.9, 0.9, 0.7, 0.6]


def test_without_validation_a_plateau_is_the_training_losss() -> None:
    run = trainer(Net(), epochs=6, batch_size=40, schedule="plateau", learning_rate=1e-7)
    run.fit(Rows())
    assert run.optimizer.param_groups[0]["lr"] == 5e-8


@pytest.mark.parametrize(("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
def test_the_optimiser_is_the_one_asked_for(name: str, kind: type[torch.optim.Optimizer]) -> None:
    assert type(trainer(Net(), optimizer=name).optimizer) is kind


@pytest.mark.parametrize("wrong", [{"optimizer": "adan"}, {"schedule": "flat"}])
def test_unknown_words_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(UserError, match="unknown"):
        recipe(**wrong)


def test_each_cycle_has_its_loss() -> None:
    light, heavy = weighted(np.ones(3)), weighted(np.full(3, 9.0))
    network, seen = Net(), []
    run = Trainer(network, [light, light, heavy], recipe(epochs=6), "cpu")

    def validate() -> float:
        seen.append(run.loss)
        return 0.0

    run.fit(Rows(), validate)
    assert seen[:3] == [light] * 3  # patience 2 stops here
    seen.clear()
    run = Trainer(network, [light, light, heavy], recipe(epochs=6, patience=0), "cpu")
    run.fit(Rows(), validate)
    assert seen == [light] * 4 + [heavy] * 2
    alone, same = Net(), Net()
    Trainer(alone, light, recipe(), "cpu").fit(Rows())
    Trainer(same, [light, light], recipe(), "cpu").fit(Rows())
    np.testing.assert_array_equal(weights(alone), weights(same))


def test_weights_are_those_of_the_positives() -> None:
    logits, targets = torch.zeros(1, 2), torch.tensor([[1.0, 0.0]])
    found = weighted(np.array([3.0, 5.0])).total(logits, targets)
    assert float(found) == pytest.approx((3 + 1) / 2 * np.log(2))
