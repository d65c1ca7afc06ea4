"""The performance script of the Ray engine runs whole: its figure is for quiet machines, its line for every suite."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="ray is not installed: pip install 'zoobench[ray]'")
pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).parent / "performance" / "many_machines.py"


def test_a_short_run_prints_its_figure() -> None:
    words = ["--cells", "2", "--seconds", "0.2"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *words], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode in {0, 1}, done.stderr[-2000:]  # whether two short cells are faster says nothing
    assert re.search(
        r"ideal / two Ray workers, seconds +>= 0.85 +[\d.]+  2 cells, fit [\d.]+ s alone, .* \+ [\d.]+ s to start Ray",
        done.stdout,
    )
