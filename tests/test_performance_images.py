"""The performance script of the image network runs whole: its lines are for every suite, its figures for quiet machines."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torchvision")
SCRIPT = Path(__file__).parent / "performance" / "images.py"


def test_a_quick_run_prints_every_figure() -> None:
    command = [sys.executable, str(SCRIPT), "--quick", "--threads", "1", "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert lines[0] == "python tests/performance/images.py --quick --threads 1 --device cpu"
    asked = [
        ("a  training at 64 / plain loop", ">= 1.3"),
        ("a  inference at 64 / plain loop", ">= 1.5"),
        ("b  input's share of a step at 64", "<= 0.05"),
        ("c  step at 64 / rate of products", ""),
    ]
    figures = [line for line in lines if re.match(r"[abcd]  ", line)]
    for line, (name, target) in zip(figures, asked, strict=True):
        assert re.match(rf"{re.escape(name)} +{re.escape(target)} +[\d.]+  \S.*", line), line
