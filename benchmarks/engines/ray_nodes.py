"""The nodes of a Ray cluster as a run sees them: a station on each that fits, and why the others are left out."""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...datasets.support.errors import UserError
from ...zoo.core import Needs
from ..hardware import Hardware
from .ray_node import NAMESPACE, Node, Software, Station, Terms, station_name
from .ray_session import Session

OPEN_SECONDS = 120.0
LOST_SECONDS = 60.0
"""A cluster without a machine for so long is given up: one that scales itself brings another before that."""


@dataclass(frozen=True)
class _Known:
    """A node with its station, and what Ray counts there."""

    address: str
    station: Any
    node: Node
    resources: Mapping[str, float]


class Nodes:
    """The stations of a run. Safe to use from several threads.

    Attributes
    ----------
    run
        Names the run, and so its stations.
    refused
        Ids of the nodes that get no job.
    abroad
        Whether a node stands on another machine than the driver: jobs are sent with their files then.
    """

    def __init__(self, session: Session, mailbox: Any, device: str, rest: tuple[Any, str]) -> None:
        import ray

        self.run = secrets.token_hex(4)
        self._session, self._mailbox = session, mailbox
        self._alive = {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}
        with_gpu = any(node["Resources"].get("GPU") for node in self._alive.values())
        if device == "cuda" and not with_gpu:
            raise UserError("device cuda: no node of the Ray cluster has a GPU; use --device cpu or auto")
        self.device = "cuda" if with_gpu and device != "cpu" else "cpu"
        self._variables, self._depot = rest
        self._wanted = Software.here()
        self._known: dict[str, _Known] = {}
        self.refused: dict[str, str] = {}
        self.abroad = False
        self._last: list[_Known] = []
        self._guard = threading.Lock()
        self._seen = {0.0: time.monotonic()}

    def renew(self, name: str) -> bool:
        """Set up a station on a node that told of none, and return whether it had one: that one has died."""
        with self._guard:
            # Others may have come here before, each with a job that found no station: one new station is enough.
            dead = name in self._known and not self._stands(name)
            if dead:
                del self._known[name]
        self.open()
        return dead

    def _stands(self, name: str) -> bool:
        import ray

        try:
            ray.get_actor(station_name(self.run, name), NAMESPACE)
        except ValueError:
            return False
        return True

    def open(self) -> None:
        """Set up stations on the nodes that have none yet; forget nodes that are gone.

        Raises
        ------
        UserError
            If no node can be used and none could be before.
        """
        import ray

        with self._guard:
            self._alive = {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}
            first = not self._last
            self._known = {name: known for name, known in self._known.items() if name in self._alive}
            new = [node for node in self._alive if node not in self._known and node not in self.refused]
            # A head that only leads gets no cell; it stands in no record either.
            new = [node for node in new if self._alive[node]["Resources"].get("CPU", 0) >= 1]
            stations = {node: self._station(node) for node in new}
            for node, station in stations.items():
                self._admit(node, station)
            for gpus in list(self._seen):
                if self._fitting(gpus):
                    self._seen[gpus] = time.monotonic()
            if not self._known and first:
                why = "; ".join(self.refused.values()) or "none has a core for a cell"
                raise UserError(f"--engine ray: no node of the cluster can be used: {why}")

    def _station(self, node: str) -> Any:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        there = NodeAffinitySchedulingStrategy(node, soft=False)
        terms = Terms(self.device, self._variables, self._depot, node == self._session.home)
        options = {"num_cpus": 0, "max_concurrency": 1000, "scheduling_strategy": there, "namespace": NAMESPACE}
        return ray.remote(Station).options(name=station_name(self.run, node), **options).remote(terms, self._mailbox)

    def _admit(self, name: str, station: Any) -> None:
        """Take a node in if it fits, or refuse it for the rest of the run."""
        import ray
        from ray.exceptions import NodeDiedError, RayError

        address = str(self._alive[name].get("NodeManagerAddress", name))
        try:
            node: Node = ray.get(station.about.remote(), timeout=OPEN_SECONDS)
        except RayError as error:
            if isinstance(error, NodeDiedError):
                return
            self.refused[name] = f"node {address} is left out: {_line(error)}"
            ray.kill(station)
            return
        if difference := node.software.difference(self._wanted):
            self.refused[name] = f"node {address} is left out: it {difference}: install the same there"
            ray.kill(station)
            return
        self._known[name] = _Known(address, station, node, self._alive[name]["Resources"])
        self.abroad = self.abroad or name != self._session.home

    def warm(self, names: Sequence[str]) -> dict[str, str]:
        """Import frameworks on all nodes; leave out those where one fails that another has.

        Returns
        -------
        Why, by the names of those that failed on every node.
        """
        import ray
        from ray.exceptions import RayActorError

        failed: dict[str, dict[str, str]] = {}
        asked = {name: known.station.warm.remote(names) for name, known in self._known.items()}
        for name, answer in asked.items():
            with contextlib.suppress(RayActorError):  # a node that is lost is no fault of its frameworks
                failed[name] = ray.get(answer)
        everywhere = [name for name in names if failed and all(name in broken for broken in failed.values())]
        with self._guard:
            for node, broken in failed.items():
                odd = [name for name in broken if name not in everywhere]
                if odd and (known := self._known.pop(node, None)):
                    self.refused[node] = f"node {known.address} is left out: {odd[0]} fails there: {broken[odd[0]]}"
        return {name: next(iter(failed.values()))[name] for name in everywhere}

    @property
    def places(self) -> Sequence[Hardware]:
        """One machine of each class, in the order of their names."""
        found = {place.class_id: place for known in self._ever() for place in known.node.places}
        return [found[name] for name in sorted(found)]

    def _ever(self) -> Sequence[_Known]:
        """Return the nodes; those of before where the last has just been lost."""
        if self._known:
            self._last = list(self._known.values())
        return self._last

    @property
    def remarks(self) -> Sequence[str]:
        """How many nodes there are, and which are left out."""
        count, left_out = len(self._known), list(self.refused.values())
        return [f"Ray: {count} node{'' if count == 1 else 's'} with {self.cores} cores", *left_out]

    @property
    def cores(self) -> int:
        """The cores that Ray counts on all nodes."""
        return int(sum(known.resources.get("CPU", 0) for known in self._ever()))

    @property
    def memory_gb(self) -> float:
        """What a job may add on the smallest machine."""
        return min(known.node.memory_gb for known in self._ever())

    def check(self, threads: int, gpus: float = 0.0) -> None:
        """Refuse what no node has.

        Raises
        ------
        UserError
            If none has as many GPUs, and none that has as many cores.
        """
        fitting = self._fitting(gpus)
        if not fitting:
            raise UserError(f"no node of the Ray cluster that can be used has {_counted(gpus)}")
        most = int(max(have.get("CPU", 0) for have in fitting))
        if threads > most:
            where = f"the largest node with {_counted(gpus)}" if gpus else "the largest node"
            raise UserError(f"--threads {threads} is more than the {most} cores of {where}")

    def _fitting(self, gpus: float) -> list[Mapping[str, float]]:
        """Return the resources of the nodes that have so many GPUs."""
        return [known.resources for known in list(self._known.values()) if known.resources.get("GPU", 0) >= gpus]

    def clamped(self, needs: Needs) -> Needs:
        """Return what a job is given: as much as it needs, or as the largest node that fits has."""
        fitting = self._fitting(needs.gpus) or [known.resources for known in self._ever()]
        most = max(fitting, key=lambda have: have.get("CPU", 0))
        return replace(
            needs,
            cores=max(1, min(needs.cores, int(most.get("CPU", 1)))),
            memory_gb=min(needs.memory_gb, most.get("memory", 1e9) / 1e9),
        )

    def require(self, gpus: float = 0.0) -> None:
        """Refuse to wait for a machine with so many GPUs any longer.

        Raises
        ------
        UserError
            If there has been none for `LOST_SECONDS`.
        """
        now = time.monotonic()
        if now - self._seen.setdefault(gpus, now) > LOST_SECONDS and not self._fitting(gpus):
            last = f"the last node with {_counted(gpus)}" if gpus else "the last node"
            raise UserError(f"--engine ray: {last} of the cluster is lost; what is done is kept, run again")

    def close(self) -> None:
        """Have the stations remove what they hold."""
        import ray

        asked = []
        for known in self._known.values():
            with contextlib.suppress(Exception):
                asked.append(known.station.close.remote())
        with contextlib.suppress(Exception):
            ray.wait(asked, num_returns=len(asked), timeout=5)


def _counted(gpus: float) -> str:
    return f"{gpus:g} GPU{'' if gpus <= 1 else 's'}"


def _line(error: Exception) -> str:
    """Return the line of an error that says what happened: the last one of a traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:300]
