"""Studies on a real PostgreSQL, and opened by optuna-dashboard."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from zoobench.benchmarks import studies
from zoobench.benchmarks.studies import counted, open_storage

from tests.conftest import until, zoobench

pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'zoobench[postgresql]'")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """A PostgreSQL of this module alone: Debian's package, on the loopback, not by root."""
    homes = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not homes:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    # Not below pytest's folder, which is root's alone.
    binaries, folder, port = homes[-1].parent, Path(tempfile.mkdtemp(prefix="zoobench.postgresql.")), free_port()
    as_other: list[str] = []
    if os.geteuid() == 0:
        if not shutil.which("runuser"):
            pytest.skip("PostgreSQL does not run as root, and there is no runuser to be another with")
        as_other = ["runuser", "-u", "postgres", "--"]
        shutil.chown(folder, "postgres")
    data = folder / "data"

    def run(*words: str) -> None:
        # To a file: the server that pg_ctl leaves behind would hold a pipe open.
        with (folder / "log").open("ab") as log:
            subprocess.run([*as_other, *words], check=True, stdout=log, stderr=log, timeout=120, cwd="/")

    run(str(binaries / "initdb"), "-D", str(data), "-U", "zoo", "-A", "trust", "--no-sync")
    listen = f"-c listen_addresses=127.0.0.1 -p {port} -c unix_socket_directories={data} -c fsync=off"
    run(str(binaries / "pg_ctl"), "-D", str(data), "-w", "-o", listen, "start")
    try:
        yield f"postgresql+psycopg://zoo@127.0.0.1:{port}/postgres"
    finally:
        run(str(binaries / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop")
        shutil.rmtree(folder)


def study_of(url: str, name: str) -> optuna.Study:
    return optuna.load_study(study_name=name, storage=open_storage(url))


def words(tunable: Path, results: Path, storage: str, trials: int, seed: int) -> list[str]:
    return [
        *("run", "--task", "searched", "--model", "knows", "--plugin", str(tunable), "--results", str(results)),
        *("--trials", str(trials), "--storage", storage, "--pruner", "none", "--seed", str(seed)),
        *("--set", "kind=plain", "--set", "nap=0.3"),
    ]


def start(tunable: Path, results: Path, storage: str, trials: int, seed: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "zoobench.leaderboard.cli", *words(tunable, results, storage, trials, seed)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def test_two_machines_share_a_study(database: str, tunable: Path, tmp_path: Path) -> None:
    """Two runs with a results folder each, as on two machines."""
    both = [start(tunable, tmp_path / name, database, 6, 0) for name in ("one", "two")]
    for each in both:
        assert each.wait(300) == 0, each.stderr and each.stderr.read().decode()
    trials = study_of(database, "searched/knows/kind=plain,nap=0.3/seed 0").trials
    assert 6 <= len(counted(trials)) <= 7  # a trial that was begun as the sixth ended is kept
    owners = {trial.user_attrs["owner"] for trial in trials}
    assert len(owners) == 2
    assert sum(bool(trial.user_attrs.get("default")) for trial in trials) == 1


def test_a_killed_run_on_a_database_goes_on(
    database: str, tunable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "searched/knows/kind=plain,nap=0.3/seed 1"
    killed = start(tunable, tmp_path, database, 3, 1)

    def runs() -> bool:
        names = optuna.get_all_study_names(open_storage(database))
        return name in names and any(trial.intermediate_values for trial in study_of(database, name).trials)

    until(runs)
    killed.send_signal(signal.SIGKILL)
    killed.wait(60)
    [cut] = [trial for trial in study_of(database, name).trials if trial.state.name == "RUNNING"]
    done = zoobench(*words(tunable, tmp_path, database, 3, 1))
    assert done.returncode == 0, done.stderr
    after = study_of(database, name).trials
    assert after[cut.number].state.name == "FAIL"
    assert [trial.params for trial in after if cut.number in trial.system_attrs.get("retry_history", ())] == [
        cut.params
    ]
    assert len(counted(after)) == 3


def test_the_trial_of_a_machine_that_fell_silent_is_tried_again(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of another machine nobody can see whether its process lives: its heartbeat tells."""
    monkeypatch.setattr(studies, "HEARTBEAT_S", 1)
    monkeypatch.setattr(studies, "GRACE_S", 2)
    storage = open_storage(database)
    study = optuna.create_study(study_name="silent", storage=storage, direction="maximize")
    study.enqueue_trial({"x": 0.5})
    trial = study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
    trial.set_user_attr("owner", "elsewhere~1~1.00")
    storage.record_heartbeat(trial._trial_id)  # type: ignore[attr-defined]
    time.sleep(4)
    study.optimize(lambda again: again.suggest_float("x", 0, 1), n_trials=1)
    assert [(each.state.name, each.params["x"]) for each in study.trials] == [("FAIL", 0.5), ("COMPLETE", 0.5)]


def test_a_database_that_may_only_be_read_is_refused(database: str, tunable: Path, tmp_path: Path) -> None:
    open_storage(database)  # its tables are there
    closed = f"{database}?options=-c%20default_transaction_read_only%3Don"
    done = zoobench(*words(tunable, tmp_path / "new", closed, 2, 0))
    assert done.returncode == 2
    assert "cannot be written: cannot execute INSERT in a read-only transaction" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "new").exists()


def test_a_study_is_read_from_the_database(database: str, tunable: Path, tmp_path: Path) -> None:
    assert zoobench(*words(tunable, tmp_path, database, 2, 5)).returncode == 0
    done = zoobench("study", "searched", "knows", "--storage", database, "--out", tmp_path / "page.html")
    assert done.returncode == 0, done.stderr
    assert "searched/knows/kind=plain,nap=0.3/seed 5: 2 finished" in done.stdout
    missing = zoobench("study", "searched", "knows", "--storage", database.replace("zoo@", "zoo:secret@") + "_none")
    assert missing.returncode == 2
    assert "does not exist" in missing.stderr
    assert "secret" not in missing.stderr


def test_the_dashboard_opens_a_journal(tmp_path: Path) -> None:
    pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed")
    journal = tmp_path / "journal.log"
    study = optuna.create_study(study_name="searched/knows/seed 0", storage=open_storage(journal))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    port = free_port()
    serving = [sys.executable, "-m", "optuna_dashboard._cli", str(journal), "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(serving, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def asked() -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/studies", timeout=5) as answer:
                return answer.read().decode()
        except OSError:
            return ""

    try:
        until(lambda: "searched/knows/seed 0" in asked(), 60)
    finally:
        server.terminate()
        server.wait(30)
