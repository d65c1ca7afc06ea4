"""The script that proves the GPUs runs whole where there is one, and says that it proved nothing where there is none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from zoobench.benchmarks.gpus import visible

SCRIPT = Path(__file__).parent / "performance" / "gpus.py"


def test_it_proves_what_it_can() -> None:
    pytest.importorskip("torch")
    done = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, timeout=900, check=False)
    if visible():
        assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    else:
        assert done.stdout == "no NVIDIA GPU answers on this machine: nothing was proved\n"
        assert done.returncode == 3
