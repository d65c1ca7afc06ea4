"""Nodes of a Ray cluster that are lost at random moments: their cells begin anew on the ones that are left."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

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
            run = scene.start(results, "--engine", "ray", "--address", cluster.address, "--threads", "1")
            end = time.monotonic() + moment
            while time.monotonic() < end and run.poll() is None:
                time.sleep(0.1)
            over = run.poll() is not None
            struck += not over
            cluster.remove_node(node, allow_graceful=False)
            status = run.wait(900)
            lines = [f"the run ended with status {status}"] if status else []
            lines += losses(results, scene.unbroken)
            late = " (after the run had ended)" if over else ""
            say(f"node {number + 1} of {count} lost at {moment:.1f} s{late}: {'; '.join(lines) or 'nothing lost'}")
            lost += [f"node at {moment:.1f} s: {line}" for line in lines]
    return struck, lost


@contextlib.contextmanager
def _cluster() -> Iterator[Any]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
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
