"""Many machines: two nodes of a Ray cluster as processes here, with caches of their own, and one that is lost."""

from __future__ import annotations

import platform
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from zoobench.benchmarks.job import Event
from zoobench.benchmarks.launch import Launcher
from zoobench.benchmarks.options import RunOptions, check
from zoobench.benchmarks.plan import plan
from zoobench.benchmarks.record import Record
from zoobench.benchmarks.runner import run_suite
from zoobench.benchmarks.store import Results, discard, hash_files
from zoobench.datasets.support.errors import UserError

from .conftest import until, write_models, zoobench_here

pytest.importorskip("ray", reason="ray is not installed: pip install 'zoobench[ray]'")

pytestmark = pytest.mark.slow
HALF = "def predict_proba(self, X):\n    return self.half(X)\n"


def fit(*lines: str) -> str:
    return "\n".join(["def fit(self, X, y, report):", *(f"    {line}" for line in lines), "    return self", HALF])


@pytest.fixture(scope="module")
def cluster(cache: Path) -> Iterator[Any]:
    """Two nodes of one core: the driver's own, and another with a cache of its own (`far` in its path)."""
    from ray.cluster_utils import Cluster

    folder = Path(tempfile.mkdtemp(prefix="zb."))  # short: sockets stand in it
    here = {"node_ip_address": "127.0.0.1", "include_dashboard": False}
    patch = pytest.MonkeyPatch()
    patch.setenv("RAY_TMPDIR", str(folder))  # where sessions and the address of the newest cluster are kept
    (folder / "ray").mkdir()
    made = Cluster()
    try:
        far = {"ZOOBENCH_CACHE": str(folder / "far"), "ZOOBENCH_DATA": str(folder / "data")}
        for environment in ({}, far):
            try:
                made.add_node(num_cpus=1, env_vars=environment, **here)
            except Exception:  # a node gives itself 30 s to start: the machine is busy with other tests
                made.add_node(num_cpus=1, env_vars=environment, **here)
        yield made
    finally:
        made.shutdown()
        patch.undo()
        shutil.rmtree(folder, ignore_errors=True)


def run(cluster: Any, results: Path, *plugins: Path, **options: Any) -> list[Record]:
    asked = RunOptions(results=results, plugin=list(plugins), quiet=True, engine="ray", address=cluster.address)
    asked.update(options)  # type: ignore[typeddict-item]
    return run_suite("quick", asked).records


def essence(records: list[Record]) -> dict[str, Any]:
    """What does not depend on the clock: by key, the scores of all folds, the rows and what was fitted."""
    scores = {
        r.key: {f: {p: e.values for p, e in getattr(r, f).items()} for f in ("train", "validation", "test")}
        for r in records
    }
    return {r.key: (r.status, r.hardware_class, r.rows, dict(r.config), r.threads, scores[r.key]) for r in records}


FEATURES = """
def compute(texts):
    open({log!r}, "a").write("row " * len(texts))
    yield list(range(len(texts))), [np.ones(3, np.float32)] * len(texts), 0.1
open({nodes!r}, "a").write(str(self.context.features.folder) + "\\n")
self.context.features.matrix({{"kind": "ones"}}, np.asarray(X, dtype=object), compute)
"""


def asking(kind: str, log: Path, nodes: Path) -> dict[str, str]:
    """Models of which `asks-…` wants features and notes who computed them and where; `busy-…` keeps a node occupied."""
    body = fit(*FEATURES.format(log=str(log), nodes=str(nodes)).strip().splitlines())
    # The kind is new in each test, or its features would still be on the nodes.
    return {f"busy-{kind}": fit("time.sleep(1.0)"), f"asks-{kind}": body.replace('"ones"', repr(kind))}


def test_features_reach_other_nodes_and_a_models_failure_is_its_own(cluster: Any, tiny: Path, tmp_path: Path) -> None:
    log, nodes, fits = tmp_path / "computed", tmp_path / "nodes", tmp_path / "fits"
    note = f"open({str(fits)!r}, 'a').write('x')"
    bodies = {"breaks": fit(note, "raise ValueError('not today')"), "sleeps": fit(note, "time.sleep(60)")}
    plugin = write_models(tmp_path / "asks.py", {**bodies, **asking("store", log, nodes)})
    chosen = {
        "task": "tiny",
        "model": [*bodies, "busy-store", "asks-store"],
        "fractions": "0.4,0.6,0.8,1",
        "timeout": 2.0,
    }
    found = run(cluster, tmp_path / "r", tiny, plugin, **chosen)
    assert {record.status for record in found if record.model.endswith("-store")} == {"ok"}
    assert len(nodes.read_text().split()) == 4
    # Nobody who came later computed what the first had: four parts, each with rows that are in none before it.
    assert int(log.read_text().count("row")) == 168, "each training row was computed once, on one of the nodes"
    for record in found:
        if record.model == "breaks":
            assert (record.status, record.reason) == ("failed", "ValueError: not today")
        if record.model == "sleeps":
            assert record.status == "timeout"
    assert fits.read_text() == "x" * 8, "what the model did itself is not tried again"


def test_a_cache_url_carries_data_and_features_to_later_runs(cluster: Any, tiny: Path, tmp_path: Path) -> None:
    log, nodes, depot = tmp_path / "computed", tmp_path / "nodes", tmp_path / "depot"
    plugin = write_models(tmp_path / "asks.py", asking("url", log, nodes))
    chosen = {"task": "tiny", "cache": str(depot)}
    run(cluster, tmp_path / "r", tiny, plugin, model="asks-url", seed=0, jobs=1, **chosen)
    part = next(depot.glob("features/*/*"))  # what a node had of this data before lies there too
    assert {path.stat().st_size > 0 for path in depot.glob("tasks/*")} <= {True}
    assert log.read_text().count("row") == 168
    # A file that was damaged is taken for none, and so is one that is no part at all.
    (part.parent / "0").write_text("no part")
    for path in depot.glob("tasks/*"):
        path.write_bytes(b"x" * path.stat().st_size)
    found = run(cluster, tmp_path / "r", tiny, plugin, model=["busy-url", "asks-url"], seed=[1, 2, 3], **chosen)
    assert {record.status for record in found} == {"ok"}
    assert log.read_text().count("row") == 168, "the features of the first run served the second, wherever it ran"


def test_a_trial_that_is_given_up_ends_on_its_node(cluster: Any, tiny: Path, tmp_path: Path) -> None:
    from zoobench.benchmarks.engines.ray_engine import RayEngine

    pid = tmp_path / "pid"
    endless = fit(f"open({str(pid)!r}, 'w').write(str(os.getpid()))", "report(1, 9, score=0.5)", "time.sleep(600)")
    plugin = write_models(tmp_path / "endless.py", {"endless": endless})
    request = check(
        "quick", RunOptions(task="tiny", model="endless", plugin=[tiny, plugin], results=tmp_path, threads=1)
    )
    [planned], _ = plan(request, lambda text: None)
    engine = RayEngine(cluster.address, "cpu", 0, "", lambda text: None)
    try:
        heard: list[Event] = []

        def listen(event: Event) -> bool:
            heard.append(event)
            return "score" in event.values

        for cause, seconds in (("pruned", 600.0), ("stopped", 600.0)):
            if cause == "stopped":
                pid.unlink()
                threading.Thread(target=lambda: (until(pid.exists), engine.stopping.set())).start()
            scratch = Results(tmp_path).scratch()
            start = time.monotonic()
            _, ending = Launcher(request, engine, tmp_path / "f").run(
                planned, planned.cell, scratch, listen if cause == "pruned" else heard.append
            )
            assert ending.cause == cause
            assert time.monotonic() - start < seconds / 10
            until(lambda: not psutil.pid_exists(int(pid.read_text())), 10)
            discard(scratch)  # as a run would: its temporary files stand with the system's
    finally:
        engine.close()
    assert [event.phase for event in heard][:2] == ["waiting", "loading"]


OPENS = """
import zoobench.datasets.support.folders as folders
time.sleep(0.5)
for path in (*PLACES, folders.cache_root() / "downloads", folders.cache_root() / "nodes" / "tasks" / "other"):
    try:
        open(os.path.expandvars(path))
    except Exception as error:
        open({log!r}, "a").write(f"{{path}} {{type(error).__name__}}\\n")
"""


def test_another_machine_keeps_its_own_test_targets_to_itself_and_says_what_it_is(
    cluster: Any, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "opened"
    places = "PLACES = [f'$ZOOBENCH_DATA/{task}/x' for task in ('tiny', 'biored-pairs')] if 'ZOOBENCH_DATA' in os.environ else []"
    plugin = write_models(
        tmp_path / "opens.py", {"opens": fit(places, *OPENS.format(log=str(log)).strip().splitlines())}
    )
    monkeypatch.setattr("zoobench.benchmarks.execute.versions", lambda names: {"python": "the driver's"})
    found = run(cluster, tmp_path / "r", tiny, plugin, task="tiny", model="opens", seed=list(range(6)))
    assert {record.status for record in found} == {"failed"}
    assert {record.reason.partition(" /")[0] for record in found} == {"the model tried to open"}
    lines = log.read_text().splitlines()
    assert {line.rpartition(" ")[2] for line in lines} == {"SealedError"}
    far = {line.rpartition(" ")[0].partition("/far/")[2] for line in lines}
    assert far == {"", "downloads", "nodes/tasks/other"}, "a cell ran on each node"
    assert sum(line.startswith("$ZOOBENCH_DATA/") for line in lines) >= 2
    for record in found:
        assert record.software["python"] == platform.python_version()
        assert {"numpy", "scikit-learn"} < set(record.software)


def test_a_station_dies_and_its_cell_is_begun_once_more(cluster: Any, tiny: Path, tmp_path: Path) -> None:
    log, killed = tmp_path / "fits", tmp_path / "killed"
    body = fit(
        f"open({str(log)!r}, 'a').write(f'{{os.getpid()}} {{self.context.features.folder}}\\n')",
        f"held = '/far/' in str(self.context.features.folder) and not os.path.exists({str(killed)!r})",
        "time.sleep(600 if held else 0.5)",
    )
    plugin = write_models(tmp_path / "dies.py", {"dies": body})

    def kill() -> None:
        until(lambda: log.exists() and "/far/" in log.read_text())
        killed.touch()
        pid = next(int(line.split()[0]) for line in log.read_text().splitlines() if "/far/" in line)
        above = psutil.Process(pid).parents()
        above[next(place for place, each in enumerate(above) if "raylet" in each.name()) - 1].kill()

    killer = threading.Thread(target=kill)
    killer.start()
    found = run(cluster, tmp_path / "r", tiny, plugin, task="tiny", model="dies", seed=list(range(6)))
    killer.join()
    assert [record.status for record in found] == ["ok"] * 6
    lines = log.read_text().splitlines()
    assert len(lines) == 7, "the cell under which its station died was begun once more, and no other"


def test_a_study_on_the_cluster_is_that_of_one_machine(cluster: Any, tunable: Path, tmp_path: Path) -> None:
    chosen = {"task": "searched", "model": "knows", "trials": 3, "jobs": 1}
    found = run(cluster, tmp_path / "ray", tunable, **chosen)
    local = run_suite("quick", RunOptions(results=tmp_path / "l", plugin=tunable, quiet=True, threads=1, **chosen))
    assert essence(found) == essence(local.records)
    assert {record.mode for record in found} == {"default", "tuned"}


def test_nodes_with_other_software_are_left_out(
    cluster: Any, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zoobench.benchmarks.engines import ray_nodes
    from zoobench.benchmarks.engines.ray_node import Software

    here = Software.here()
    wanted = Software(here.python, here.zoobench, here.code, {**here.libraries, "numpy": "0.1"})
    monkeypatch.setattr(ray_nodes.Software, "here", lambda: wanted)
    with pytest.raises(UserError, match=r"it has numpy .*, this run 0\.1: install the same there"):
        run(cluster, tmp_path / "r", tiny, task="tiny", model="dummy-uniform")
    for other, words in (
        (Software("2.7", here.zoobench, here.code, {}), "has Python 2.7, this run 3."),
        (Software(here.python, "0.0", here.code, {}), "has zoobench 0.0, this run"),
        (Software(here.python, here.zoobench, "else", {}), "has other code of zoobench"),
        (Software(here.python, here.zoobench, here.code, {}), "has no numpy, this run 0.1"),
    ):
        assert words in other.difference(wanted)
    assert here.difference(here) == ""


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--engine", "rey"), "unknown engine 'rey': did you mean 'ray'?"),
        (("--address", "auto"), "--address auto is for many machines: add --engine ray"),
        (("--cache", "x"), "--cache x is for many machines: add --engine ray"),
        (("--engine", "ray", "--address", "nowhere"), "--address nowhere is not auto, HOST:PORT or ray://HOST:PORT"),
        (("--engine", "ray", "--address", "127.0.0.1:1"), "--address 127.0.0.1:1: nobody answers there"),
        (("--engine", "ray", "--address", "ray://127.0.0.1:1"), "--address ray://127.0.0.1:1: nobody answers there"),
        (("--engine", "ray", "--cache", "nosuch://x"), "--cache nosuch://x is no folder or URL that fsspec opens"),
        (("--engine", "ray", "--device", "gpu"), "unknown device 'gpu'"),
    ],
)
def test_what_cannot_be_is_one_line(words: tuple[str, ...], line: str, tiny: Path, tmp_path: Path) -> None:
    common = ("run", "--task", "tiny", "--plugin", tiny, "--model", "dummy-uniform", "--results", tmp_path / "r")
    done = zoobench_here(*common, *words)
    assert done.returncode == 2
    assert line in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.rglob("record.json"))


def test_a_listener_that_is_no_cluster_is_refused_soon(tiny: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        start = time.monotonic()
        common = ("run", "--task", "tiny", "--plugin", tiny, "--results", tmp_path / "r", "--engine", "ray")
        done = zoobench_here(*common, "--address", address)
    assert time.monotonic() - start < 20
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"--address {address}: what listens there is no Ray cluster" in done.stderr


def test_a_node_is_lost_in_the_middle_and_the_records_are_those_of_the_local_engine(
    cluster: Any, tiny: Path, tmp_path: Path
) -> None:
    """The last test of this cluster: one node is left of it."""
    log = tmp_path / "fits"
    names = ["held", *(f"m{number}" for number in range(4))]
    # On the node that is to be lost a fit never ends: whichever cell Ray sends there, its machine is lost under it.
    body = fit(
        f"open({str(log)!r}, 'a').write(f'{{os.getpid()}} {{self.context.features.folder}}\\n')",
        "time.sleep(600 if '/far/' in str(self.context.features.folder) else 0.2)",
    )
    plugin = write_models(tmp_path / "held.py", dict.fromkeys(names, body))
    chosen = {"task": "tiny", "model": [*names, "tfidf-logreg"], "fractions": "0.5,1"}
    killed: list[int] = []

    def kill() -> None:
        until(lambda: log.exists() and "/far/" in log.read_text())
        killed.extend(int(line.split()[0]) for line in log.read_text().splitlines() if "/far/" in line)
        next(above for above in psutil.Process(killed[0]).parents() if "raylet" in above.name()).kill()

    killer = threading.Thread(target=kill)
    killer.start()
    found = run(cluster, tmp_path / "ray", tiny, plugin, **chosen)
    killer.join()
    fits = len(log.read_text().splitlines())
    assert fits == 2 * len(names) + 1, "the cell under which its machine was lost was begun once more, and no other"
    until(lambda: not psutil.pid_exists(killed[0]), 20)
    local = run_suite(
        "quick", RunOptions(results=tmp_path / "l", plugin=[tiny, plugin], quiet=True, threads=1, **chosen)
    )
    assert essence(found) == essence(local.records)
    assert len(found) == 2 * len(chosen["model"])
    assert {record.status for record in found} == {"ok"}
    results = Results(tmp_path / "ray")
    assert {path.parent.name for path in results.record_paths()} == {record.key for record in found}
    for record in found:
        path = results.record_path("tiny", record.model, record.key)
        assert hash_files(path.parent / record.attempt) == record.files
        assert (path.parent / record.attempt / "artefact").exists() or record.model != "tfidf-logreg"
