"""The performance script of studies runs whole: its figure is for quiet machines, its line for every suite."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent / "performance" / "tuning.py"


def _run(tiny: Path, *words: str) -> subprocess.CompletedProcess[str]:
    common = ["--jobs", "2", "--task", "tiny", "--model", "tfidf-logreg", "--plugin", str(tiny)]
    command = [sys.executable, str(SCRIPT), *common, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_a_short_run_prints_its_figure(tiny: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    done = _run(tiny, "--trials", "2", "--keep", str(kept))
    assert done.returncode in {0, 1}, done.stderr[-2000:]  # whether two trials are faster says nothing
    line = re.search(r"separate runs / study, seconds +>= 2 +[\d.]+  (.+)", done.stdout)
    assert line
    told = re.match(r"2 trials \(2 to their end, threads: (\d+)\) \d+ s, 2 runs \(threads: (\d+)\) \d+ s", line[1])
    assert told
    assert told[1] == told[2], "a run has the threads of a trial"
    assert re.search(r"best of the runs less that of the study +<= 0.0001 +-?0\.00  best of the runs", done.stdout)
    again = _run(tiny, "--trials", "2", "--keep", str(kept))
    assert again.stdout == done.stdout, "what was measured is not measured again"
    other = _run(tiny, "--trials", "3", "--keep", str(kept))
    assert other.returncode == 1
    assert "name another folder" in other.stderr
