"""What the Ray engine decides by itself, without a cluster: what a job is given, what is refused, what was lost."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from zoobench.benchmarks.engines import ray_engine, ray_nodes, ray_session
from zoobench.benchmarks.engines.base import Ending, Limits, LostError
from zoobench.benchmarks.engines.local import LocalEngine
from zoobench.benchmarks.engines.parcels import Reply
from zoobench.benchmarks.engines.ray_engine import RayEngine
from zoobench.benchmarks.engines.ray_node import Station, _try
from zoobench.benchmarks.engines.ray_nodes import Nodes
from zoobench.benchmarks.engines.servers import computes_on
from zoobench.benchmarks.job import Job, Outcome
from zoobench.benchmarks.options import RunOptions
from zoobench.benchmarks.runner import run_suite
from zoobench.datasets.support.errors import UserError
from zoobench.zoo.core import ModelCard, Needs

from .conftest import zoobench_here
from .nvml import Nvml, Part

GPU_NODE, CPU_NODE = {"CPU": 8.0, "GPU": 1.0, "memory": 64e9}, {"CPU": 32.0, "memory": 64e9}


def engine(*resources: dict[str, float], threads: int = 0) -> RayEngine:
    """An engine whose cluster has these nodes, and does nothing."""
    nodes = Nodes.__new__(Nodes)
    nodes._known = {str(number): SimpleNamespace(resources=each) for number, each in enumerate(resources)}  # type: ignore[misc]
    nodes._last, nodes._seen = list(nodes._known.values()), {0.0: time.monotonic()}
    made = RayEngine.__new__(RayEngine)
    made._nodes, made._threads, made._gone, made.device = nodes, threads, "", "cuda"
    made.stopping = threading.Event()
    return made


def test_what_no_node_has_is_refused() -> None:
    many = engine(GPU_NODE, CPU_NODE, threads=16)
    many.check("words", Needs(1, 0, 1.0), 0)
    with pytest.raises(UserError, match=r"^net: --threads 16 is more than the 8 cores of the largest node with 1 GPU$"):
        many.check("net", Needs(4, 1, 8.0), 1)
    with pytest.raises(UserError, match=r"^net: no node of the Ray cluster that can be used has 2 GPUs$"):
        engine(GPU_NODE, CPU_NODE).check("net", Needs(4, 1, 8.0), 2)


def test_a_job_is_given_what_the_nodes_have_that_fit_it() -> None:
    many = engine(GPU_NODE, CPU_NODE)
    assert many.given(Needs(16, 0.5, 8.0), 1) == Needs(8, 0.5, 8.0), "a part of a GPU stays a part"
    assert many.given(Needs(16, 0.5, 8.0), 0) == Needs(16, 0, 8.0)
    assert many.given(Needs(1, 1, 8.0), 2).gpus == 2, "the setting asks for more than the card"
    few = engine(CPU_NODE, threads=16)
    assert few.given(Needs(1, 0, 1.0), 0).cores == 16
    few._nodes._known = engine(GPU_NODE)._nodes._known
    assert few.given(Needs(1, 0, 1.0), 0).cores == 8, "the largest node is lost"


def test_a_cluster_without_a_fitting_node_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = engine(CPU_NODE)._nodes
    nodes.require(1.0)
    monkeypatch.setattr(ray_nodes, "LOST_SECONDS", -1.0)
    nodes.require(0.0)
    with pytest.raises(UserError, match="the last node with 1 GPU of the cluster is lost"):
        nodes.require(1.0)


def test_a_model_that_needs_no_gpu_computes_on_none() -> None:
    fields = {"title": "t", "description": "d", "modality": "text", "citation": "c"}
    assert computes_on(ModelCard(name="a", framework="torch", gpus=0, **fields), {}, "cuda") == "cpu"
    assert computes_on(ModelCard(name="a", framework="torch", **fields), {}, "cuda") == "cuda"


def job(**changes: Any) -> Job:
    fields = dict.fromkeys(
        ("model", "module", "protocol", "source_sha256", "public", "features", "out", "temporary"), ""
    )
    rest = {
        "config": {},
        "card": {"name": "mine"},
        "seed": 0,
        "device": "cpu",
        "threads": 2,
        "plugins": (),
        "sealed": (),
    }
    return Job(**{**fields, **rest, "scope": {"threads": 2}, **changes})


def test_what_was_spent_on_a_lost_machine_is_no_cell_s_time(monkeypatch: pytest.MonkeyPatch) -> None:
    exceptions = pytest.importorskip("ray.exceptions")
    answers: list[Any] = [
        exceptions.WorkerCrashedError(), ray_engine._OutgrownError(), Reply("n", Ending("exit", 0, 0.0)),
    ]  # fmt: skip
    jobs: list[Job] = []

    class Flight:
        waited, seconds, parcel = 1.0, 100.0, None

        def __init__(self, engine: Any, job: Job, *rest: Any) -> None:
            jobs.append(job)

        def until_end(self) -> Any:
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

    monkeypatch.setattr(ray_engine, "_Flight", Flight)
    ending = engine(GPU_NODE).run(job(), "torch", Limits(None, None, Needs(4, 0, 1.0)), lambda event: None)
    assert (ending.waited_s, ending.threads) == (201.0, 4)
    assert [each.scope["threads"] for each in jobs] == [4, 4, 4]
    answers += [exceptions.WorkerCrashedError() for _ in range(ray_engine.TRIES)]
    with pytest.raises(LostError, match="4 machines were lost under it"):
        engine(GPU_NODE).run(job(), "torch", Limits(None, None, None), lambda event: None)


def lost(*_: object) -> Ending:
    raise LostError("4 machines were lost under it")


def test_a_cell_that_was_lost_has_no_record(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = RunOptions(task="tiny", model="dummy-uniform", plugin=tiny, results=tmp_path / "r", quiet=True)
    monkeypatch.setattr(LocalEngine, "run", lost)
    finished = run_suite("quick", chosen)
    assert finished.records == []
    assert finished.lost == ["dummy-uniform: 4 machines were lost under it"]
    assert not list(tmp_path.rglob("record.json"))
    common = ("run", "--task", "tiny", "--plugin", tiny, "--model", "dummy-uniform", "--results", tmp_path / "r")
    done = zoobench_here(*common)
    assert (done.returncode, "no record of dummy-uniform: 4 machines" in done.stderr) == (1, True)
    monkeypatch.undo()
    assert [record.status for record in run_suite("quick", chosen).records] == ["ok"]


def test_a_lost_trial_is_no_failure_of_its_study(
    tunable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = RunOptions(task="searched", model="knows", trials=2, plugin=tunable, results=tmp_path / "r", quiet=True)
    with monkeypatch.context() as patch:
        patch.setattr(LocalEngine, "run", lost)
        assert len(run_suite("quick", chosen).lost) == 2
    found = run_suite("quick", chosen).records
    assert [record.status for record in found] == ["ok", "ok"]
    assert [record.tuning.failed for record in found if record.tuning] == [1], "as where nothing is lost"


def test_a_station_knows_the_gpus_that_were_dealt(monkeypatch: pytest.MonkeyPatch) -> None:
    station = Station.__new__(Station)
    station._terms = SimpleNamespace(device="cuda")  # type: ignore[assignment]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setitem(sys.modules, "pynvml", Nvml([Part("GPU-a"), Part("GPU-b")]))
    assert [gpu.index for gpu in station._dealt({"CUDA_VISIBLE_DEVICES": "1"})] == ["1"]
    assert station._dealt({"CUDA_VISIBLE_DEVICES": "-1"}) == ()


def test_a_shelf_that_fails_costs_no_cell(caplog: pytest.LogCaptureFixture) -> None:
    def fails(scope: str) -> int:
        raise ValueError(f"{scope} is out of reach")

    _try(fails, "s")
    assert "s is out of reach" in caplog.text


def test_a_full_disk_of_another_machine_is_named(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: LocalEngine, job: Job, *_: object) -> Ending:
        Outcome("failed", "no space left", no_space=True).write(Path(job.out))
        return Ending("exit", 0, 0.0, machine="10.0.0.2")

    monkeypatch.setattr(LocalEngine, "run", full)
    chosen = RunOptions(task="tiny", model="dummy-uniform", plugin=tiny, results=tmp_path / "r", quiet=True)
    with pytest.raises(UserError, match=r"^node 10\.0\.0\.2: no space left"):
        run_suite("quick", chosen)


@pytest.fixture
def wants_a_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """The address of what answers like a Ray cluster to whom shows no token; none is to be found on this machine."""
    grpc = pytest.importorskip("grpc")
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    refuse = grpc.unary_unary_rpc_method_handler(
        lambda asked, context: context.abort(grpc.StatusCode.UNAUTHENTICATED, "missing token")
    )
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("ray.rpc.NodeInfoGcsService", {"CheckAlive": refuse})]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)
    os.environ.pop("RAY_AUTH_MODE", None)


def test_a_cluster_that_wants_a_token_is_shown_the_one_that_is_here(wants_a_token: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="this cluster wants a token: set RAY_AUTH_TOKEN"):
        ray_session._knock(wants_a_token)
    assert "RAY_AUTH_MODE" not in os.environ
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("open sesame")
    ray_session._knock(wants_a_token)
    assert os.environ["RAY_AUTH_MODE"] == "token"
