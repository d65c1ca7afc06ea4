"""The Ray engine: each job a Ray task on one of many machines, its files sent there and back, watched from here."""

from __future__ import annotations

import contextlib
import os
import queue
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...datasets.support.errors import UserError, first_line
from ...zoo.core import ModelCard, Needs
from ..hardware import Hardware
from ..job import Event, Job
from .base import ANEW, Ending, Limits, Listener, LostError
from .depot import Depot, shown
from .parcels import MissingError, Package, Parcel, Reply, pack, unpack
from .ray_node import NAMESPACE, THREADS, Mailbox, run_parcel
from .ray_nodes import Nodes
from .ray_session import connect

LISTEN_SECONDS, FETCH_SECONDS, LOOK_SECONDS = 0.1, 0.5, 1.0
TRIES, ASKED = 4, 20
"""A job is begun so often where machines are lost under it, and where nodes join that are not ready for it."""
END_SECONDS = 15.0
"""After so long a job that was to end is ended with its task, and the station sees to the rest."""


class RayEngine:
    """Runs jobs on the nodes of a Ray cluster, as `base.Engine` says.

    Parameters
    ----------
    address
        Of the cluster; None starts Ray on this machine.
    device
        "auto" takes GPUs where there are any.
    threads
        Of each job, where they are not its model's own number.
    cache
        URL by which prepared tasks and features go from machine to machine; "" for Ray's object store.

    Attributes
    ----------
    device
        "cpu" or "cuda".
    """

    def __init__(self, address: str | None, device: str, threads: int, cache: str, tell: Callable[[str], None]) -> None:
        self.stopping = threading.Event()
        self._boxes: dict[str, queue.SimpleQueue[list[Event]]] = {}
        self._packages: dict[Path, Package] = {}
        self._guard, self._closed = threading.Lock(), threading.Event()
        self._helpers: list[threading.Thread] = []
        self._gone = ""
        self._depot = Depot(cache) if cache else None
        if self._depot is not None:
            tell(f"looking at {shown(cache)}")
            self._depot.check()
        tell("starting Ray" if address is None else f"joining the Ray cluster at {address}")
        self._session = connect(address)
        try:
            self._open(device, threads, cache, tell)
        except BaseException:
            self._session.close()
            raise

    def _open(self, device: str, threads: int, cache: str, tell: Callable[[str], None]) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        # Beside the driver, or beside what speaks for it: what is not lost unless all is.
        near = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._mailbox: Any = ray.remote(Mailbox).options(num_cpus=0, scheduling_strategy=near).remote()
        self._task: Any = ray.remote(max_retries=0, max_calls=0)(run_parcel)
        variables = {name: os.environ[name] for name in THREADS if name in os.environ}
        self._nodes = Nodes(self._session, self._mailbox, device, (variables, cache))
        self.device = self._nodes.device
        tell("measuring the machines of the cluster")
        self._nodes.open()
        self._nodes.check(threads)
        self._threads = threads
        for work in (self._fetch, self._watch):
            self._helpers.append(threading.Thread(target=work, name=f"ray {work.__name__}", daemon=True))
            self._helpers[-1].start()

    @property
    def places(self) -> Sequence[Hardware]:
        """One machine of each class of the cluster's nodes."""
        return self._nodes.places

    @property
    def remarks(self) -> Sequence[str]:
        """The nodes, and why some are left out."""
        return self._nodes.remarks

    @property
    def slots(self) -> int:
        """How many of the smallest jobs the cluster holds at a time."""
        return max(1, self._nodes.cores // max(1, self._threads))

    @property
    def memory_gb(self) -> float:
        """What a job may add on the smallest of the machines."""
        return self._nodes.memory_gb

    def warm(self, names: Iterable[str]) -> dict[str, str]:
        """Import frameworks on all nodes and return why by the names of those that failed on each of them."""
        return self._nodes.warm(list(names))

    def threads(self, card: ModelCard) -> int:
        """Return the threads of a model's process: those that were asked for, or as many as its card needs."""
        return self.given(card.needs, int(self.device == "cuda")).cores

    def check(self, model: str, needs: Needs, gpus: int) -> None:
        """Refuse a model whose fits no node can take: it would wait for ever.

        Parameters
        ----------
        gpus
            That its setting asks for, as `Job.gpus` says.

        Raises
        ------
        UserError
            Saying what no node has.
        """
        try:
            self._nodes.check(self._threads, _needs(needs, gpus).gpus)
        except UserError as error:
            raise UserError(f"{model}: {error}") from None

    def given(self, needs: Needs | None, gpus: int) -> Needs:
        """Return what a job is given: what was asked for or its card needs, or as much of it as a node has."""
        wanted = _needs(needs, gpus)
        return self._nodes.clamped(replace(wanted, cores=self._threads or wanted.cores))

    def run(self, job: Job, server: str, limits: Limits, on_event: Listener) -> Ending:
        """Run one job to its end, whatever that is; one whose machine was lost begins anew on another."""
        from ray.exceptions import RayError

        lost = ""
        waited, tries, asked = 0.0, 0, 0
        while tries < TRIES and asked < ASKED and not self.stopping.is_set():
            self.require(0.0)
            if lost:
                on_event(ANEW)
            threads = self.given(limits.needs, job.gpus).cores  # the largest machine may be the one that is lost
            job = replace(job, threads=threads, scope={**job.scope, "threads": threads})
            flight = _Flight(self, job, server, limits, on_event)
            try:
                reply = flight.until_end()
                if not isinstance(reply, Reply) or not reply.wants:
                    return self._landed(reply, job, waited + flight.waited)
                lost, again = f"no {reply.wants} for it", self._provide(reply, flight.parcel)
                tries, asked = tries + again, asked + 1
            except _OutgrownError:
                lost, asked = "no machine of its size", asked + 1
            except (RayError, MissingError) as error:
                lost, tries = _loss(error), tries + 1
            waited += flight.seconds  # whatever was done there is lost
        if self.stopping.is_set():
            return Ending("stopped", None, 0.0, waited_s=waited)
        raise LostError(f"{tries} machines were lost under it, {asked} were not ready for it; at last: {lost}")

    def close(self) -> None:
        """Have the stations tidy up, and leave the cluster."""
        self._closed.set()
        for thread in self._helpers:
            thread.join(10)  # Ray ends a thread that waits for an answer when it is shut down
        self._nodes.close()
        self._session.close()

    def _landed(self, reply: Reply | Ending, job: Job, waited: float) -> Ending:
        import ray

        if isinstance(reply, Ending):
            return replace(reply, waited_s=waited)
        if reply.left is not None:
            unpack(reply.left, Path(job.out), ray.get)
        ending = reply.ending or Ending("lost", None, 0.0)
        return replace(ending, waited_s=waited, threads=job.threads)

    def _provide(self, reply: Reply, parcel: Parcel) -> bool:
        """Send what a node lacks, a station or the files; return whether it had a station, which has died."""
        if reply.wants == "station":
            return self._nodes.renew(reply.node)
        self._nodes.abroad = True
        if parcel.public is not None:  # they did not lie at the URL; else the node joined when the parcel was packed
            with self._guard:
                self._depot = None
                self._packages.clear()
        return False

    def parcel(self, name: str, job: Job, server: str, limits: Limits) -> Parcel:
        """Return a job as it is sent: with its files, unless all nodes are on this machine."""
        import ray

        if not self._nodes.abroad:
            return Parcel(name, job, server, limits)
        places = {key: Path(value) for key, value in job.config.items() if isinstance(value, str) and _local(value)}
        file = getattr(sys.modules.get(job.module), "__file__", None)
        return Parcel(
            name, job, server, limits,
            public=self._package(Path(job.public), shared=True),
            plugins=tuple(self._package(Path(plugin)) for plugin in job.plugins),
            rows=pack(Path(job.rows), ray.put) if job.rows else None,
            folders={key: self._package(path, shared=True) for key, path in places.items()},
            plugin=job.plugins.index(file) if file in job.plugins else -1,
        )  # fmt: skip

    def _package(self, path: Path, *, shared: bool = False) -> Package:
        """Return a package of what lies at `path`, which is put once a run."""
        import ray

        with self._guard:
            if path not in self._packages:
                self._packages[path] = pack(path, (self._depot if shared else None) or ray.put)
            return self._packages[path]

    def submit(self, parcel: Parcel) -> Any:
        """Hand a parcel to Ray and return the reference to its reply."""
        needs = self.given(parcel.limits.needs, parcel.job.gpus)
        options: dict[str, Any] = {"num_cpus": parcel.job.threads, "memory": int(needs.memory_gb * 1e9)}
        if needs.gpus:
            options["num_gpus"] = needs.gpus
        if self._nodes.refused:
            options["label_selector"] = {"ray.io/node-id": f"!in({','.join(sorted(self._nodes.refused))})"}
        return self._task.options(**options).remote(self._nodes.run, parcel)

    @contextlib.contextmanager
    def box(self, name: str) -> Any:
        """Yield the queue of what a job says while it is under way."""
        self._boxes[name] = box = queue.SimpleQueue()
        try:
            yield box
        finally:
            del self._boxes[name]

    def drop(self, name: str) -> None:
        """Have a job end."""
        self._mailbox.drop.remote(name)

    def require(self, gpus: float) -> None:
        """Refuse to go on where the cluster, or its last machine with so many GPUs, is gone."""
        if self._gone:
            raise UserError(f"the Ray cluster ({self._session.address}) is gone: {self._gone}; run again to go on")
        self._nodes.require(gpus)

    def _fetch(self) -> None:
        """Bring events from the mailbox to the threads that wait for them."""
        import ray

        while not self._closed.is_set():
            try:
                found = ray.get(self._mailbox.fetch.remote(FETCH_SECONDS), timeout=60)
            except Exception as error:  # nothing comes any more: whoever waits says why
                self._gone = first_line(error) or type(error).__name__
                return
            for name, events in found:
                if (box := self._boxes.get(name)) is not None:
                    box.put(events)

    def _watch(self) -> None:
        """Open stations on nodes that join, and forget those that leave."""
        while not self._closed.wait(2.0):
            with contextlib.suppress(Exception):  # `_fetch` says it
                self._nodes.open()


class _OutgrownError(Exception):
    """A job waits for more cores than any machine has by now."""


class _Flight:
    """One attempt at a job, from here to a node and back."""

    def __init__(self, engine: RayEngine, job: Job, server: str, limits: Limits, on_event: Listener) -> None:
        self._engine, self._on_event = engine, on_event
        self._start = time.monotonic()
        self.parcel = engine.parcel(secrets.token_hex(8), job, server, limits)
        self._began: float | None = None
        self._unwanted, self._next = False, 0.0

    @property
    def waited(self) -> float:
        """Seconds until a machine was free."""
        return (self._began or time.monotonic()) - self._start

    @property
    def seconds(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._start

    def until_end(self) -> Reply | Ending:
        """Return what the node replied; how it ended where it was ended from here.

        Raises
        ------
        RayError
            If the task or its node came to grief.
        _OutgrownError
            If the machines that it was to begin on are lost.
        """
        self._on_event(Event("waiting"))
        try:
            return self._until_end()
        except BaseException:
            self._engine.drop(self.parcel.name)  # where only the task is lost, the station still works for nobody
            raise

    def _until_end(self) -> Reply | Ending:
        with self._engine.box(self.parcel.name) as box:
            reference = self._engine.submit(self.parcel)
            reply = reference.future()
            while not reply.done():
                self._listen(box, LISTEN_SECONDS)
                self._look(reference, reply)
                if self._unwanted or self._engine.stopping.is_set():
                    self._end(reference, reply)
                    return Ending("pruned" if self._unwanted else "stopped", None, 0.0)
            while not box.empty():
                self._listen(box, 0)
            return reply.result()

    def _listen(self, box: queue.SimpleQueue[list[Event]], seconds: float) -> None:
        with contextlib.suppress(queue.Empty):
            events = box.get(timeout=seconds)
            self._began = self._began or time.monotonic()
            for event in events:
                self._unwanted = bool(self._on_event(event)) or self._unwanted

    def _look(self, reference: Any, reply: Any) -> None:
        """Refuse to wait for what will not come."""
        parcel, now = self.parcel, time.monotonic()
        if now < self._next:
            return
        self._next = now + LOOK_SECONDS
        given = self._engine.given(parcel.limits.needs, parcel.job.gpus)
        self._engine.require(given.gpus)
        if self._began is None and given.cores < parcel.job.threads:
            self._end(reference, reply)
            raise _OutgrownError

    def _end(self, reference: Any, reply: Any) -> None:
        import ray

        self._engine.drop(self.parcel.name)
        deadline = time.monotonic() + (END_SECONDS if self._began else 0.0)
        while not reply.done() and time.monotonic() < deadline:
            time.sleep(LISTEN_SECONDS)
        if not reply.done():
            ray.cancel(reference, force=True)


def _needs(needs: Needs | None, gpus: int) -> Needs:
    """Return what a job needs of a machine, whose setting may ask for more GPUs than its card."""
    needs = needs or Needs(1, 0, 1.0)
    return replace(needs, gpus=max(needs.gpus, gpus) if gpus > 1 else needs.gpus if gpus else 0)


def _loss(error: Exception) -> str:
    """Return in a line what a machine or its Ray came to; raise what is no such loss: a full disk, a fault of ours."""
    from ray import exceptions

    cause: Any = error
    while isinstance(inner := getattr(cause, "cause", None), Exception):
        cause = inner
    if isinstance(cause, OSError):
        raise OSError(cause.errno, f"on a node of the cluster: {cause.strerror or cause}", cause.filename) from error
    lost = (
        exceptions.NodeDiedError, exceptions.WorkerCrashedError, exceptions.ObjectLostError, exceptions.RayActorError,
        exceptions.LocalRayletDiedError, exceptions.OutOfMemoryError, exceptions.TaskCancelledError,
        exceptions.RaySystemError, MissingError,
    )  # fmt: skip
    if not isinstance(cause, lost):
        raise error
    return first_line(cause) or type(cause).__name__


def _local(value: str) -> bool:
    return Path(value).is_absolute() and Path(value).exists()


__all__ = ["NAMESPACE", "RayEngine"]
