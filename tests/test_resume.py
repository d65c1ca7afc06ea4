"""Nothing finished is lost and nothing half-done is believed: kill -9, Ctrl-C, and two runs at once."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from zoobench.benchmarks.store import Results, read_record

from .conftest import until, write_models

SLOW = "def fit(self, X, y):\n    time.sleep(SECONDS)\n    return self\ndef predict_proba(self, X):\n    return self.half(X)\n"


def _start(plugins: list[Path], results: Path, models: list[str], *more: str) -> subprocess.Popen[str]:
    words = [
        sys.executable,
        "-m",
        "zoobench.leaderboard.cli",
        "run",
        "--task",
        "tiny",
        "--results",
        str(results),
        *more,
    ]
    words += [word for plugin in plugins for word in ("--plugin", str(plugin))]
    words += [word for model in models for word in ("--model", model)]
    # A shell that starts the tests in the background has them ignore Ctrl-C, and their children with them.
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(words, **pipes, text=True, env=dict(os.environ), preexec_fn=heed)  # noqa: PLW1509


def _records(results: Path) -> dict[str, str]:
    return {record.model: record.attempt for record in map(read_record, Results(results).record_paths())}


def _alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    bodies = {"quick-one": SLOW.replace("SECONDS", "0"), "slow-one": SLOW.replace("SECONDS", "4")}
    return write_models(tmp_path / "slow.py", bodies)


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "ctrl-c"])
def test_a_stopped_run_keeps_what_is_done_and_goes_on(
    sign: signal.Signals, tmp_path: Path, tiny: Path, plugin: Path
) -> None:
    results, models = tmp_path / "r", ["quick-one", "slow-one"]
    first = _start([tiny, plugin], results, models)
    until(lambda: "quick-one" in _records(results))
    time.sleep(0.5)  # the slow cell is in its fit
    children = [child.pid for child in psutil.Process(first.pid).children(recursive=True)]
    assert children
    first.send_signal(sign)
    _, err = first.communicate(timeout=30)
    until(lambda: not _alive(children), 15)
    done = _records(results)
    assert set(done) == {"quick-one"}, "the finished cell stands, the other left no record"
    if sign == signal.SIGINT:
        assert first.returncode == 130
        assert "the same command goes on from there" in err
    second = _start([tiny, plugin], results, models)
    _, err = second.communicate(timeout=120)
    assert second.returncode == 0, err
    after = _records(results)
    assert set(after) == set(models)
    assert after["quick-one"] == done["quick-one"], "what was done is not done again"
    assert [path.name for path in (results / ".work").iterdir()] == ["locks"], "the dead run's work is swept"


@pytest.mark.parametrize("sign", [signal.SIGTERM, None], ids=["stopped", "by itself"])
def test_a_run_that_nobody_listens_to_ends_all_the_same(
    sign: signal.Signals | None, tmp_path: Path, tiny: Path
) -> None:
    """The terminal, or the program that reads what the run says, is gone: what it says next fails."""
    bodies = {"quick-one": SLOW.replace("SECONDS", "3"), "slow-one": SLOW.replace("SECONDS", "100")}
    first = _start([tiny, write_models(tmp_path / "slow.py", bodies)], tmp_path / "r", list(bodies), "--jobs", "2")
    assert first.stderr
    while "importing" not in first.stderr.readline():
        pass
    until(lambda: len(psutil.Process(first.pid).children(recursive=True)) > 4)
    children = [child.pid for child in psutil.Process(first.pid).children(recursive=True)]
    first.stderr.close()
    if sign:
        first.send_signal(sign)
    try:
        first.wait(30)
    finally:
        first.kill()
    until(lambda: not _alive(children), 15)


def test_two_runs_on_one_folder_share_the_work(tmp_path: Path, tiny: Path) -> None:
    names = [f"m{index}" for index in range(6)]
    log = tmp_path / "fits"
    body = (
        f"def fit(self, X, y):\n    open({str(log)!r}, 'a').write(NAME + '\\n')\n    time.sleep(1)\n    return self\n"
    )
    body += "def predict_proba(self, X):\n    return self.half(X)\n"
    plugin = write_models(tmp_path / "shared.py", {name: body.replace("NAME", repr(name)) for name in names})
    runs = [_start([tiny, plugin], tmp_path / "r", names) for _ in range(2)]
    for process in runs:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        for name in names:
            assert name in out, "each run shows every cell on its board"
    assert sorted(log.read_text().split()) == names, "every cell was fitted once"
    assert set(_records(tmp_path / "r")) == set(names)
    assert not [path.name for path in (tmp_path / "r" / ".work").iterdir() if path.name != "locks"]


@pytest.mark.parametrize("victim", ["supervisor", "fork server", "cell"])
def test_what_dies_of_another_hand_costs_no_cell(victim: str, tmp_path: Path, tiny: Path) -> None:
    """A process is killed under a cell (as the system does for want of memory): the cell is run again."""
    flag = tmp_path / "killed"
    whom = {"supervisor": "parents()[1]", "fork server": "parents()[0]", "cell": "parents()[0].children()[-1]"}[victim]
    kill = "os.kill(os.getpid(), signal.SIGKILL)" if victim == "cell" else f"psutil.Process(os.getpid()).{whom}.kill()"
    body = f"def fit(self, X, y):\n    if not os.path.exists({str(flag)!r}):\n        open({str(flag)!r}, 'w')\n"
    body += f"        import psutil\n        {kill}\n        time.sleep(60)\n    return self\n"
    body += "def predict_proba(self, X):\n    return self.half(X)\n"
    plugin = write_models(tmp_path / "killer.py", {"killer": body})
    process = _start([tiny, plugin], tmp_path / "r", ["killer", "dummy-uniform"])
    _, err = process.communicate(timeout=120)
    assert flag.exists()
    assert process.returncode == 0, err
    assert set(_records(tmp_path / "r")) == {"killer", "dummy-uniform"}


def test_a_framework_that_does_not_import_costs_only_its_cells(tmp_path: Path, tiny: Path) -> None:
    broken = tmp_path / "site" / "keras"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise RuntimeError('this build of keras is broken')\n")
    words = [sys.executable, "-m", "zoobench.leaderboard.cli", "run", "--task", "tiny", "--plugin", str(tiny)]
    words += ["--model", "embedding-mlp", "--model", "dummy-uniform", "--results", str(tmp_path / "r")]
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(broken.parent)},
    )
    records = {record.model: record for record in map(read_record, Results(tmp_path / "r").record_paths())}
    assert records["dummy-uniform"].status == "ok", done.stderr
    assert records["embedding-mlp"].status == "unavailable"
    assert "this build of keras is broken" in records["embedding-mlp"].reason
    assert done.returncode == 0
