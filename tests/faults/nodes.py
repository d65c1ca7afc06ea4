"""Nodes of a Ray cluster that are lost at random moments: their cells begin anew on the ones that are left."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from zoobench.benchmarks.options import RunOptions
from zoobench.benchmarks.runner import run_suite

from .scene import Scene, losses

EARLIEST, LATEST = 8.0, 40.0
"""Seconds from the start of a run; it takes some ten to reach the cluster and import its frameworks there."""


def lost_nodes(scene: Scene, count: int, seed: int, say: Callable[[str], None]) -> tuple[int, list[str]]:
    """Run the scene on two nodes `count` times, lose the one that is not the driver's while a run goes on.

    Returns
    -------
    How often it was lost in time, and what was lost with it.
    """
    draw, lost, struck = random.Random(seed), [], 0  # noqa: S311
    with _cluster() as cluster:
        for number in range(count):
            node = cluster.add_node(num_cpus=1, node_ip_address="127.0.0.1")
            results, moment = scene.folder / f"node-{number}", draw.uniform(EARLIEST, LATEST)
            # In this process: a cluster that listens on the loopback address alone is found by no other.
            with ThreadPoolExecutor(1) as pool:
                run = pool.submit(run_suite, "quick", _options(scene, results, cluster.address))
                wait([run], timeout=moment)
                over = run.done()
                struck += not over
                cluster.remove_node(node, allow_graceful=False)
                finished = run.result(900)
            lines = [f"{record.task} {record.model}: {record.reason}" for record in finished.faults]
            lines += losses(results, scene.unbroken)
            late = " (after the run had ended)" if over else ""
            say(f"node {number + 1} of {count} lost at {moment:.1f} s{late}: {'; '.join(lines) or 'nothing lost'}")
            lost += [f"node at {moment:.1f} s: {line}" for line in lines]
    return struck, lost


def _options(scene: Scene, results: Path, address: str) -> RunOptions:
    """Return the words of a scene as options, on a cluster."""
    said: dict[str, list[str]] = {}
    for name, value in zip(scene.words[::2], scene.words[1::2], strict=True):
        said.setdefault(name.removeprefix("--"), []).append(value)
    settings = dict(pair.split("=") for pair in said["set"])
    return RunOptions(
        task=said["task"], model=said["model"], plugin=said["plugin"], set=settings, seed=[int(said["seed"][0])],
        trials=int(said["trials"][0]), pruner=said["pruner"][0], results=results, quiet=True,
        engine="ray", address=address, threads=1,
    )  # fmt: skip


@contextlib.contextmanager
def _cluster() -> Iterator[Any]:
    # Read by Ray at its import: its servers listen on the loopback address alone, and are looked for there.
    os.environ.update(RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0", RAY_USAGE_STATS_ENABLED="0")
    folder = Path(tempfile.mkdtemp(prefix="zb."))  # short: sockets stand in it
    os.environ["RAY_TMPDIR"] = str(folder)
    from ray.cluster_utils import Cluster

    made = Cluster()
    try:
        made.add_node(num_cpus=1, node_ip_address="127.0.0.1", include_dashboard=False)
        yield made
    finally:
        made.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
