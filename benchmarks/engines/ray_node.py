"""What runs on the nodes of a Ray cluster: a station each, which keeps the warm servers, and a task for each job.

The task holds the resources that Ray gave the job and hands it to the station of its node. What the job says on its
way goes through a mailbox beside the driver, and so does the word that it is to end.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import platform
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from ...datasets.core import TASKS
from ...datasets.fetch import raw_folders
from ...datasets.folds import SPLITS
from ...datasets.support.files import sha256_file, sha256_json
from ...datasets.support.folders import cache_root
from ..gpus import VisibleGpu, visible
from ..hardware import Hardware, measure, versions
from ..job import JOB, LOG, ROWS, Event, Job, shorten
from ..options import default_memory_gb
from .depot import Depot
from .exchange import DepotShelf, Exchange, Shelf
from .local import LocalEngine
from .parcels import MissingError, Package, Parcel, Reply, pack, unpacked

POST_SECONDS = 0.2
NAMESPACE = "zoobench"
LIBRARIES = ("numpy", "scipy", "scikit-learn", "torch", "transformers", "tokenizers", "keras", "tensorflow")
_log = logging.getLogger(__name__)
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Ray sets them on its workers, each to the cores of a task; processes of cells get those of the driver."""


@dataclass(frozen=True)
class Software:
    """What must be the same on all machines of a run, for its records to be of one kind."""

    python: str
    zoobench: str
    code: str
    libraries: Mapping[str, str]

    @classmethod
    def here(cls) -> Software:
        """Return that of this process."""
        found = {name: text.partition("+")[0] for name, text in versions(LIBRARIES).items() if name != "python"}
        return cls(".".join(platform.python_version_tuple()[:2]), version("zoobench"), code_sha256(), found)

    def difference(self, wanted: Software) -> str:
        """Return in words how this differs from what is wanted; "" if it does not."""
        if self.python != wanted.python:
            return f"has Python {self.python}, this run {wanted.python}"
        if self.zoobench != wanted.zoobench:
            return f"has zoobench {self.zoobench}, this run {wanted.zoobench}"
        if self.code != wanted.code:
            return f"has other code of zoobench {self.zoobench} than this run"
        for name, wished in wanted.libraries.items():
            found = self.libraries.get(name)
            if found != wished:
                return f"has {f'{name} {found}' if found else f'no {name}'}, this run {wished}"
        return ""


def code_sha256() -> str:
    """Return a hash of the package's source: a version does not tell one checkout from another."""
    found = []
    for room in ("datasets", "zoo", "benchmarks"):
        spec = importlib.util.find_spec(f"zoobench.{room}")
        for folder in map(Path, (spec.submodule_search_locations or ()) if spec else ()):
            found += [[f"{room}/{p.relative_to(folder).as_posix()}", sha256_file(p)] for p in folder.rglob("*.py")]
    return sha256_json(sorted(found))


@dataclass(frozen=True)
class Node:
    """What a station says of its machine: `places` has it with each kind of GPU that jobs may be dealt there."""

    hardware: Hardware
    places: tuple[Hardware, ...]
    software: Software
    memory_gb: float


class Mailbox:
    """An actor beside the driver: events come in, and are fetched; jobs that are to end are told so when they post.

    It also keeps the parts of feature caches in the object store, by scope and name.
    """

    def __init__(self) -> None:
        self._parts: dict[str, dict[str, Any]] = {}
        self._events: asyncio.Queue[tuple[str, list[Event]]] = asyncio.Queue()
        self._dropped: set[str] = set()

    async def post(self, name: str, events: list[Event]) -> bool:
        """Take in events of a job and return whether it is to end."""
        self._events.put_nowait((name, events))
        return name in self._dropped

    async def drop(self, name: str) -> None:
        """Have a job end."""
        self._dropped.add(name)

    async def fetch(self, seconds: float) -> list[tuple[str, list[Event]]]:
        """Return what has come in; where there is nothing wait for it, but no longer than `seconds`."""
        try:
            found = [await asyncio.wait_for(self._events.get(), seconds)]
        except TimeoutError:
            return []
        while not self._events.empty():
            found.append(self._events.get_nowait())
        return found

    async def names(self, scope: str) -> list[str]:
        """Return the names of the parts of a scope."""
        return list(self._parts.get(scope, ()))

    async def get(self, scope: str, name: str) -> list[Any]:
        """Return the reference to a part, in a list: Ray would send the part itself; an empty one if it is gone."""
        found = self._parts.get(scope, {}).get(name)
        return [] if found is None else [found]

    async def put(self, scope: str, name: str, part: bytes) -> None:
        """Keep a part: a copy of our own, which outlives the node that it came from."""
        import ray

        self._parts.setdefault(scope, {})[name] = ray.put(part)


class MailboxShelf:
    """The shelf of a node whose parts lie with the mailbox."""

    def __init__(self, mailbox: Any) -> None:
        self._mailbox = mailbox

    def names(self, scope: str) -> list[str]:
        """Return the names of the parts of a scope."""
        import ray

        return ray.get(self._mailbox.names.remote(scope))

    def get(self, scope: str, name: str) -> bytes | None:
        """Return a part; None where it is gone."""
        import ray

        found = ray.get(self._mailbox.get.remote(scope, name))
        return ray.get(found[0]) if found else None

    def put(self, scope: str, name: str, part: bytes) -> None:
        """Keep a part."""
        import ray

        ray.get(self._mailbox.put.remote(scope, name, part))


@dataclass(frozen=True)
class Terms:
    """What a station is told: the device, the driver's variables of threads, where features lie, and if it is home.

    A station is at home where it stands on the driver's own machine, whose paths it can use as they are.
    """

    device: str
    variables: Mapping[str, str]
    depot: str
    home: bool


class Station:
    """An actor on each node: it runs jobs through a `LocalEngine`, several at a time."""

    def __init__(self, terms: Terms, mailbox: Any) -> None:
        for name in THREADS:
            os.environ.pop(name, None)
        os.environ.update(terms.variables)
        if not os.environ.get("CUDA_VISIBLE_DEVICES"):
            os.environ.pop("CUDA_VISIBLE_DEVICES", None)  # Ray hides GPUs from what asked for none: we look at them all
        self._terms, self._mailbox = terms, mailbox
        self._hardware = _measured(terms)
        self._engine = LocalEngine(terms.device, self._hardware, gpus=())  # GPUs are dealt by Ray
        self._depot = Depot(terms.depot) if terms.depot else None
        shelf: Shelf = DepotShelf(self._depot) if self._depot else MailboxShelf(mailbox)
        self._exchange = Exchange(shelf, cache_root() / "nodes" / "features")
        # Apart from other files: one task's training rows may be another's test rows, so all but its own are sealed.
        self._tasks, self._files = cache_root() / "nodes" / "tasks", cache_root() / "nodes" / "files"
        for folder in (self._tasks, self._files):
            folder.mkdir(parents=True, exist_ok=True)
        sweep()
        self._root = Path(tempfile.mkdtemp(prefix=f"{ROOT}{os.getpid()}."))

    def about(self) -> Node:
        """Return what this machine is."""
        found = visible() if self._terms.device == "cuda" else ()
        places = tuple(dict.fromkeys(replace(self._hardware, gpu=gpu.kind) for gpu in found)) or (self._hardware,)
        return Node(self._hardware, places, Software.here(), default_memory_gb())

    def warm(self, names: Iterable[str]) -> dict[str, str]:
        """Import frameworks ahead and return why by the names of those that failed."""
        return self._engine.warm(names)

    def run(self, parcel: Parcel, node: str, variables: Mapping[str, str]) -> Reply:
        """Run a job to its end and return what came of it, with all the files that it left."""
        import ray

        root = self._root / parcel.name
        (root / "out").mkdir(parents=True)
        (root / "t").mkdir()
        try:
            with _Outbox(self._mailbox, parcel.name, self._engine) as outbox:
                gpus = self._dealt(variables)
                place = replace(self._hardware, gpu=gpus[0].kind) if gpus else self._hardware
                try:
                    job = self._job(parcel, root, variables, place)
                except MissingError:
                    return Reply(node, wants="files")
                outbox.job = job
                scope = Path(job.features).name
                _try(self._exchange.take, scope)
                ending = self._engine.run(job, parcel.server, parcel.limits, outbox)
            shorten(root / "out" / LOG)
            left = pack(root / "out", ray.put, _left(root / "out"))
            _try(self._exchange.give, scope)
            told = {"software": versions(parcel.limits.software), "machine": ray.util.get_node_ip_address()}
            uuids = tuple(gpu.uuid for gpu in gpus)
            return Reply(node, replace(ending, place=place, gpus=uuids, **told), left)
        finally:
            shutil.rmtree(root, ignore_errors=True)

    def close(self) -> None:
        """Remove what lies on this machine of the run."""
        self._engine.stopping.set()
        shutil.rmtree(self._root, ignore_errors=True)

    def _dealt(self, variables: Mapping[str, str]) -> tuple[VisibleGpu, ...]:
        """Return the GPUs that Ray gave a job."""
        return visible(variables["CUDA_VISIBLE_DEVICES"]) if self._terms.device == "cuda" else ()

    def _sealed(self, job: Job) -> tuple[str, ...]:
        """Return what no job opens here: this machine has a cache, a data folder and packages of its own."""
        raw = raw_folders({*TASKS.entries(), str(job.card["name"])})
        return (*job.sealed, *map(str, (cache_root() / "tasks", self._tasks, SPLITS, *raw)))

    def _job(self, parcel: Parcel, root: Path, variables: Mapping[str, str], place: Hardware) -> Job:
        """Return the job with the paths of this machine."""
        job = parcel.job
        scope = {**job.scope, "hardware": place.class_id}
        moved: dict[str, Any] = {
            "scope": scope,
            "features": str(self._exchange.folder(sha256_json(scope)[:20])),
            "out": str(root / "out"),
            "temporary": str(root / "t"),
            "sealed": self._sealed(job),
            "environment": {**job.environment, **variables},
        }
        if not self._terms.home:
            if parcel.public is None:
                raise MissingError(job.public)
            plugins = tuple(str(self._unpacked(package)) for package in parcel.plugins)
            moved |= {"public": str(self._unpacked(parcel.public, self._tasks)), "plugins": plugins}
            moved["config"] = {**job.config, **{key: str(self._unpacked(it)) for key, it in parcel.folders.items()}}
            moved["rows"] = "" if parcel.rows is None else str(self._unpacked(parcel.rows))
            moved["module"] = job.module if parcel.plugin < 0 else plugins[parcel.plugin]
        return replace(job, **moved)

    def _unpacked(self, package: Package, store: Path | None = None) -> Path:
        import ray

        return unpacked(package, store or self._files, ray.get, self._depot)


ROOT = "zb."


def sweep() -> None:
    """Remove what stations left on this machine that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{ROOT}*.*"):
        pid = folder.name.removeprefix(ROOT).partition(".")[0]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _try(share: Callable[[str], int], scope: str) -> None:
    """Take or give features; where that fails a job computes its own, and what it came to is kept."""
    try:
        share(scope)
    except Exception as error:  # each kind of storage has errors of its own
        _log.warning("features of %s are not shared: %s", scope, error)


def _measured(terms: Terms) -> Hardware:
    """Measure this machine on as many threads as the driver would."""
    from threadpoolctl import threadpool_limits

    from ..hardware import cores

    with threadpool_limits(int(terms.variables.get(THREADS[1]) or terms.variables.get(THREADS[0]) or cores())):
        return measure(terms.device)


def _left(out: Path) -> list[Path]:
    """Return the files that a job left, without those that it was given and the model's current folder."""
    given = {out / JOB, out / ROWS}
    return [path for path in out.rglob("*") if path not in given and path.relative_to(out).parts[0] != "work"]


class _Outbox:
    """Hears a job's events, posts them now and then, and ends the job when the driver wants no more of it."""

    def __init__(self, mailbox: Any, name: str, engine: LocalEngine) -> None:
        self._mailbox, self._name, self._engine = mailbox, name, engine
        self.job: Job | None = None
        self._events: list[Event] = []
        self._unwanted = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"outbox {name}", daemon=True)

    def __call__(self, event: Event) -> bool:
        self._events.append(event)
        return self._unwanted

    def __enter__(self) -> _Outbox:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._post()

    def _work(self) -> None:
        self._post()
        while not self._over.wait(POST_SECONDS):
            self._post()
            if self._unwanted and self.job is not None:
                self._engine.end(self.job)

    def _post(self) -> None:
        import ray
        from ray.exceptions import RayError

        count = len(self._events)
        events, self._events[:count] = self._events[:count], []
        try:
            self._unwanted = bool(ray.get(self._mailbox.post.remote(self._name, events))) or self._unwanted
        except RayError:
            self._unwanted = True  # nobody is there to want it


def run_parcel(run: str, parcel: Parcel) -> Reply:
    """Hand a job to the station of the node that Ray chose, which gave it cores and perhaps a GPU (a Ray task)."""
    import ray

    node = ray.get_runtime_context().get_node_id()
    try:
        station: Any = ray.get_actor(station_name(run, node), NAMESPACE)
    except ValueError:
        return Reply(node, wants="station")
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "") if ray.get_gpu_ids() else ""
    reply: Any = ray.get(station.run.remote(parcel, node, {"CUDA_VISIBLE_DEVICES": given or "-1"}))
    return reply


def station_name(run: str, node: str) -> str:
    """Return the name of the station of a node, of one run."""
    return f"station {run} {node}"
