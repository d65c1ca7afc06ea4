"""`zoobench results verify`, and what it refuses of a folder that was tampered with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .conftest import zoobench_here
from .contributed import Contributed


def verify(plugins: list[Path], root: Path, *words: str) -> Any:
    return zoobench_here("results", "verify", root, *words, *(w for path in plugins for w in ("--plugin", path)))


def refusals(plugins: list[Path], contributed: Contributed) -> list[str]:
    """Return the findings of the record that was tampered with; every other record must be verified."""
    task, model, key = contributed.path.parts[-4:-1]
    done = verify(plugins, contributed.root, "--format", "json", "--task", task)
    told = json.loads(done.stdout)
    assert done.returncode == 1, told
    found = {each["key"]: each for each in told["records"] if each["outcome"] == "refused"}
    assert key in found, found
    assert {each["model"] for each in found.values()} <= {model, "ensemble-greedy", "ensemble-mean"}
    return [f"{each['what']}: {each['expected']} / {each['found']}" for each in found[key]["findings"]]
