"""The performance script of ensembles runs whole: its lines are for every suite, its figures for quiet machines."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent / "performance" / "ensembles.py"


def test_a_quick_run_prints_every_figure() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), "--quick"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert lines[0] == "python tests/performance/ensembles.py --quick"
    assert "500 ensembles scored" in lines[2]
    assert [line.split(",")[0] for line in lines[3:]] == [
        "greedy by f1_macro",
        "greedy by f1_micro",
        "greedy by roc_auc_macro",
        "the same by TaskScorer",
    ]
    assert all("members taken" in line for line in lines[3:6])
