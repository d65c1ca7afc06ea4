"""Steps dealt to several processes: the same training, to the last digits, and no process left behind."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

pytest.importorskip("accelerate")

CASE = """
import json, os, sys
import numpy as np, psutil, torch
from torch import nn
from zoobench.zoo.losses import loss_of
from zoobench.zoo.recipe import Recipe
from zoobench.zoo.training import Trainer

RNG = np.random.default_rng(6)
INPUTS = torch.from_numpy(RNG.normal(size=(42, 6)).astype(np.float32))
HELD = (RNG.random((42, 3)) < 0.4).astype(np.uint8)

class Rows:
    counts = None
    targets = torch.from_numpy(HELD.astype(np.float32))
    def plan(self, epoch, size):
        order = np.random.default_rng(epoch).permutation(len(INPUTS))
        return [order[at : at + size] for at in range(0, len(order), size)]
    def parts(self, rows, size):
        return [rows[at : at + size] for at in range(0, len(rows), size)]
    def load(self, rows):
        return {"vectors": INPUTS[rows]}

class Net(nn.Module):
    def __init__(self, room, dies):
        super().__init__()
        torch.manual_seed(1)
        self.first, self.last, self.room, self.dies = nn.Linear(6, 8), nn.Linear(8, 3), room, dies
        self.unused = nn.Linear(2, 2)
    def forward(self, vectors):
        if os.environ.get("RANK") == "1":
            if len(vectors) > self.room:
                raise MemoryError
            if self.dies:
                os._exit(9)
        return self.last(torch.tanh(self.first(vectors)))

def told(case):
    network = Net(case.pop("room", 1000), case.pop("dies", False))
    scores = iter(case.pop("scores", []))
    recipe = Recipe(**{"epochs": 3, "batch_size": 8, "learning_rate": 1e-2, **case})
    trainer = Trainer(network, loss_of("balanced", "multilabel", HELD, 3), recipe, "cpu")
    reason = ""
    try:
        trainer.fit(Rows(), (lambda: next(scores)) if case.get("patience") else None)
    except RuntimeError as error:
        reason = str(error)
    flat = np.concatenate([held.detach().numpy().ravel() for held in network.parameters()])
    # The tracker of shared memory stays until the exit.
    left = [child.name() for child in psutil.Process().children(recursive=True) if "tracker" not in str(child.cmdline())]
    found = {"weights": flat.tolist(), "losses": trainer.losses, "notes": trainer.notes, "reason": reason}
    return {**found, "rates": [group["lr"] for group in trainer.optimizer.param_groups], "left": left}

if __name__ == "__main__":
    print(json.dumps({name: told(case) for name, case in json.loads(sys.argv[1]).items()}))
"""

FALLING = {"schedule": "plateau", "epochs": 6, "learning_rate": 0.3}
CASES = {
    "one": FALLING,
    "two": {"gpus": 2, **FALLING},
    "one row": {"batch_size": 1, "epochs": 1},
    "two, one row": {"gpus": 2, "batch_size": 1, "epochs": 1},
    "stopped": {"gpus": 2, "epochs": 9, "patience": 2, "scores": [0.5, 0.9, 0.8, 0.7, 0.6]},
    "whole": {},
    "halved": {"gpus": 2, "room": 2},
    "dead": {"gpus": 2, "dies": True},
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What came of each case, all trained in one process and its helpers."""
    script = tmp_path_factory.mktemp("crew") / "case.py"
    script.write_text(CASE)
    command = [sys.executable, str(script), json.dumps(CASES)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(("one", "two"), [("one", "two"), ("one row", "two, one row"), ("whole", "halved")])
def test_two_train_as_one_does(one: str, two: str, found: dict[str, dict[str, Any]]) -> None:
    """Also where a step has fewer rows than there are processes, and where one of them has less memory."""
    alone, together = found[one], found[two]
    np.testing.assert_allclose(together["losses"], alone["losses"], rtol=1e-4)
    np.testing.assert_allclose(together["weights"], alone["weights"], rtol=1e-3, atol=1e-4)
    assert together["rates"] == pytest.approx(alone["rates"])


def test_the_first_ones_early_stop_is_everyones(found: dict[str, dict[str, Any]]) -> None:
    assert found["stopped"]["notes"] == ["stopped after epoch 4 of 9: none better than 2"]
    assert not found["stopped"]["reason"]


def test_memory_that_ends_in_one_process_halves_the_parts_of_all(found: dict[str, dict[str, Any]]) -> None:
    # Four rows each did not fit in one of them.
    assert found["halved"]["notes"] == ["8 rows a step did not fit: 2 at once from step 1"]


def test_a_helper_that_dies_is_named_and_none_is_left(found: dict[str, dict[str, Any]]) -> None:
    assert found["dead"]["reason"] == "1 of 1 helpers ended (exit 9)"
    assert not any(each["left"] for each in found.values())
