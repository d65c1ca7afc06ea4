"""The performance script of the text models runs whole: its figures are for quiet machines, its lines for every suite."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("keras")
SCRIPT = Path(__file__).parent / "performance" / "text.py"


def test_a_quick_run_prints_every_figure() -> None:
    command = [sys.executable, str(SCRIPT), "--quick", "--threads", "1", "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert lines[0] == "python tests/performance/text.py --quick --threads 1 --device cpu"
    figures = [line for line in lines if re.match(r"[abcd]  ", line)]
    asked = [
        ("a  minilm training / plain loop", ">= 2"),
        ("a  minilm inference / plain loop", ">= 2"),
        ("c  training step / rate of matrix products", ""),
        ("b  birnn published seconds / ours", ">= 5"),
        ("b  birnn words a second / published", ">= 5"),
        ("d  tfidf-logreg exponent of rows", "<= 1.15"),
    ]
    for line, (name, target) in zip(figures, asked, strict=True):
        found = re.match(rf"{re.escape(name)} +{re.escape(target)} +(-?[\d.]+)  \S.*", line)
        assert found, line
    assert re.search(r"48 rows [\d.]+ s, 96 rows [\d.]+ s, 192 rows", lines[-1])
