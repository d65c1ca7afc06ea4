"""Inject faults and count what is lost: python -m tests.faults.campaign [--kills 50] [--nodes 5] [--seed 0] [--out report.json].

From the root of the repository, with a zoobench installed from it. Takes some 25 minutes on two cores. The last line
says how many faults were injected and what was lost; the exit status is 1 where anything was.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
import tempfile
import time
from pathlib import Path

from zoobench.datasets.support.files import write_text

from . import clock, crowd, hostile, kills, many, nodes, space
from .scene import Scene

DISKS = ["60k", "150k", "300k", "600k"]
LIMITS = [4_000, 20_000]


class Report:
    """What was injected and lost so far, on the screen and in a file."""

    def __init__(self, out: Path | None) -> None:
        self.out, self.start = out, time.monotonic()
        self.done: list[dict[str, object]] = []

    def say(self, line: str) -> None:
        print(f"{time.monotonic() - self.start:6.0f} s  {line}", flush=True)

    def add(self, what: str, injected: int, lost: list[str], note: str = "") -> None:
        self.done.append({"what": what, "injected": injected, "lost": lost, "note": note})
        self.say(f"{what}: {injected} injected, {len(lost)} lost{f'; {note}' if note else ''}")
        for line in lost:
            self.say(f"    {line}")
        if self.out:
            write_text(self.out, json.dumps(self.done, indent=1) + "\n")

    def end(self) -> int:
        injected = sum(int(str(each["injected"])) for each in self.done)
        lost = [line for each in self.done for line in each["lost"]]  # type: ignore[attr-defined]
        print(f"{injected} faults injected, lost: {'; '.join(lost) or 'nothing'}")
        return int(bool(lost))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--nodes", type=int, default=5, help="of Ray clusters, to lose")
    parser.add_argument("--cells", type=int, default=1000, help="of the run of very many")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", nargs="*", default=["kills", "nodes", "disk", "crowd", "hostile", "clock", "many"])
    options = parser.parse_args()
    report = Report(options.out)
    report.say(f"seed {options.seed}")
    with tempfile.TemporaryDirectory(prefix="zoobench.faults.") as name:
        os.environ["ZOOBENCH_CACHE"] = str(Path(name) / "cache")
        scene = Scene.small(Path(name))
        report.say(f"undisturbed, the suite takes {scene.seconds:.1f} s")
        for what in options.only:
            _inject(what, scene, options, report)
    return report.end()


def _inject(what: str, scene: Scene, options: argparse.Namespace, report: Report) -> None:
    if what == "kills":
        report.add("kill -9", options.kills, kills.kills(scene, options.kills, options.seed, report.say))
    elif what == "nodes":
        report.add("Ray nodes lost", *nodes.lost_nodes(scene, options.nodes, options.seed, report.say))
    elif what == "disk":
        if space.can_mount(scene.folder):
            report.add("full disk", len(DISKS), space.full_disk(scene, DISKS, report.say))
        else:
            report.add("full disk", 0, [], "no tmpfs may be mounted here")
        lost = [line for size in LIMITS for line in space.file_limit(scene, size)]
        report.add("limit on files", len(LIMITS), lost)
    elif what == "crowd":
        report.add("crowds of four", 3, crowd.all_crowds(scene, report.say))
    elif what == "hostile":
        report.add("hostile models", 2 * len(hostile.BEHAVIOUR), hostile.hostile(scene, 1000))
    elif what == "clock":
        report.add("clock back a day", 1, clock.clock_back(scene))
    elif what == "many":
        report.add("very many cells", 0, *many.many(scene.folder, options.cells, 50))


if __name__ == "__main__":
    sys.exit(main())
