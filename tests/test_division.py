"""How many cells run side by side: what is chosen from a measurement, and that the measurement is one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from zoobench.benchmarks import division, run
from zoobench.benchmarks.division import Work, choose, counts, measured
from zoobench.benchmarks.engines import throughput
from zoobench.benchmarks.engines.base import Ending
from zoobench.benchmarks.engines.local import LocalEngine
from zoobench.benchmarks.hardware import Hardware
from zoobench.benchmarks.job import Job
from zoobench.benchmarks.options import RunOptions
from zoobench.benchmarks.runner import run_suite
from zoobench.benchmarks.store import Results, read_record
from zoobench.datasets.support.errors import UserError

from .conftest import zoobench_here

MACHINE = Hardware("cpu", 2, 24, None, 100.0, 10.0)
SMALL = {1: 19.0, 2: 29.0}
LARGE = {1: 100.0, 2: 150.0, 4: 170.0, 8: 120.0}


def never() -> Mapping[int, float]:
    pytest.fail("measured where there is nothing to choose")


@pytest.mark.parametrize(
    ("work", "rates", "jobs"),
    [
        (Work(5, 0, 0, 1.0), SMALL, 2),
        (Work(5, 0, 0, 1.0), {1: 29.0, 2: 19.0}, 1),
        (Work(20, 0, 0, 1.0), LARGE, 4),
        (Work(2, 0, 0, 1.0), LARGE, 2),  # four at a time would be two
        (Work(5, 0, 0, 1.0), {1: 100.0, 2: 110.0, 4: 111.0}, 1),  # four, and then one alone on a quarter of the cores
        (Work(20, 0, 0, 10.0), LARGE, 2),  # 24 GB hold two of them
        (Work(20, 3, 2, 1.0), LARGE, 6),  # four beside two on GPUs
    ],
)
def test_the_fastest_division_within_memory_is_chosen(work: Work, rates: dict[int, float], jobs: int) -> None:
    found = choose(work, 8, 24.0, lambda: rates)
    assert found.jobs == jobs
    assert "measured here: 1 x 8" in found.why


@pytest.mark.parametrize(
    ("work", "threads", "memory", "jobs", "why"),
    [
        (Work(1, 0, 0, 1.0), 8, 24.0, 1, "there is one to run"),
        (Work(9, 0, 0, 1.0), 1, 24.0, 1, "there is one thread"),
        (Work(9, 0, 0, 4.0), 8, 7.0, 1, "7 GB of memory are enough for 1"),
        (Work(9, 0, 0, 4.0), 8, 3.0, 1, "3 GB of memory are enough for 1"),
        (Work(0, 5, 2, 4.0), 8, 24.0, 2, "the GPUs have room for 2"),
        (Work(1, 5, 2, 4.0), 8, 24.0, 3, "the GPUs have room for 2"),
        (Work(3, 5, 4, 4.0), 8, 8.0, 2, "2 on GPUs, and 8 GB of memory for no more"),
    ],
)
def test_nothing_is_measured_where_there_is_no_choice(
    work: Work, threads: int, memory: float, jobs: int, why: str
) -> None:
    found = choose(work, threads, memory, never)
    assert (found.jobs, found.why) == (jobs, why)


def test_counts_are_powers_of_two_and_a_process_each() -> None:
    assert [list(counts(threads)) for threads in (1, 2, 3, 8, 12)] == [
        [1], [1, 2], [1, 2, 3], [1, 2, 4, 8], [1, 2, 4, 8, 12],
    ]  # fmt: skip


def test_processes_are_measured_side_by_side() -> None:
    done = subprocess.run(
        [sys.executable, "-m", throughput.__name__, "2", "0.1", "1,2"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    rates = json.loads(done.stdout)
    assert set(rates) == {"1", "2"}
    assert min(rates.values()) > 1
    if len(os.sched_getaffinity(0)) > 1:
        # Two processes that were measured one after the other, or of which one alone counted, would be half of it.
        assert rates["2"] > 0.5 * rates["1"]


def test_a_measurement_is_made_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOOBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(division, "_run", lambda threads: dict(SMALL))
    assert measured(MACHINE, 2) == SMALL
    monkeypatch.setattr(division, "_run", lambda threads: dict.fromkeys(counts(threads), 7.0))
    assert measured(MACHINE, 2) == SMALL
    assert measured(MACHINE, 4) == {1: 7.0, 2: 7.0, 4: 7.0}, "other threads are another measurement"
    monkeypatch.setattr(division, "versions", lambda names: {"torch": "9"})
    assert measured(MACHINE, 2) == {1: 7.0, 2: 7.0}, "so is another torch"
    for path in (tmp_path / "hardware").glob("division-*.json"):
        path.write_text("[]")
    monkeypatch.setattr(division, "_run", lambda threads: dict(SMALL))
    assert measured(MACHINE, 2) == SMALL, "what is damaged is measured again"


def test_a_measurement_that_fails_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOOBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(division.sys, "executable", "/bin/false")
    with pytest.raises(UserError, match=r"--jobs auto: the measurement ended .*\(exit status 1\): give --jobs N"):
        measured(MACHINE, 2)


@pytest.mark.parametrize("asked", ["many", "2.5", "", "-1", "0"])
def test_nonsense_is_refused(asked: str, tmp_path: Path) -> None:
    done = zoobench_here("run", "--jobs", asked, "--results", tmp_path / "r")
    assert done.returncode == 2
    assert re.fullmatch(r"zoobench: --jobs .*: give how many cells run side by side, 1 or more, or auto\n", done.stderr)
    assert not (tmp_path / "r").exists()


def test_a_run_says_what_it_chose_and_keeps_to_it(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    threads = len(os.sched_getaffinity(0))
    if threads < 2:
        pytest.skip("one core cannot be divided")
    rates = {count: float(count) for count in counts(threads)}
    monkeypatch.setattr("zoobench.benchmarks.runner.measured", lambda hardware, threads: rates)
    models = ["dummy-uniform", "tfidf-logreg"]
    run(task="tiny", model=models, plugin=tiny, results=tmp_path, jobs="auto")
    said = capfd.readouterr().err
    records = [read_record(path) for path in Results(tmp_path).record_paths()]
    assert {record.threads for record in records} == {threads // 2}
    assert f"--jobs auto: 2 side by side, {threads // 2} thread" in said
    assert f"1 x {threads}: 1, 2 x {threads // 2}: 2" in said
    monkeypatch.setattr("zoobench.benchmarks.runner.measured", lambda hardware, threads: never())
    run(task="tiny", model=models, plugin=tiny, results=tmp_path, jobs="auto")
    assert "--jobs auto" not in capfd.readouterr().err, "what is recorded already needs no division"
    run(task="tiny", model="tfidf-logreg", plugin=tiny, results=tmp_path / "one", jobs="auto")
    assert f"--jobs auto: 1 side by side, {threads} threads each (there is one to run)" in capfd.readouterr().err
    record = next(read_record(path) for path in Results(tmp_path / "one").record_paths())
    assert record.threads == threads


@pytest.mark.parametrize("jobs", [2, 4])
def test_a_study_has_the_room_that_other_cells_leave(
    tunable: Path, tmp_path: Path, jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    spans, real = [], LocalEngine.run

    def watched(self: LocalEngine, job: Job, *given: Any) -> Ending:
        start = time.monotonic()
        ending = real(self, job, *given)
        spans.append((start, time.monotonic(), job.trial))
        return ending

    monkeypatch.setattr(LocalEngine, "run", watched)
    asked: RunOptions = {
        "task": "searched",
        "model": "knows",
        "trials": 7,
        "pruner": "none",
        "jobs": jobs,
        "threads": 2,
    }
    limits: RunOptions = {"set": {"nap": 0.05, "kind": "plain"}, "plugin": tunable, "results": tmp_path, "quiet": True}
    records = run_suite("quick", {**asked, **limits}).records
    best = next(record for record in records if record.tuning)
    assert best.tuning
    assert best.tuning.finished == 7
    assert {record.threads for record in records} == {1}
    beside = [sum(a <= start < b for a, b, _ in spans) for start, _, _ in spans]
    assert max(beside) <= jobs
    trials = [(start, end) for start, end, trial in spans if trial]
    assert max(sum(a <= start < b for a, b in trials) for start, _ in trials) == jobs
