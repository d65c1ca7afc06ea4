"""The house: imports go one way, listing imports no framework, and no room shadows a library."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("datasets", "zoo", "benchmarks", "leaderboard")

# Who looks up entries by name. A module is not added here to make the test pass: it is handed the entry instead.
SEES: dict[str, set[str]] = {
    "datasets.folds": {"TASKS"},
    "datasets.own": {"TASKS"},
    "benchmarks.engines.ray_node": {"TASKS"},
    "benchmarks.options": {"TASKS", "MODELS"},
    "benchmarks.plan": {"TASKS", "MODELS"},
    "benchmarks.predict": {"TASKS", "MODELS"},
    "benchmarks.worker": {"MODELS"},
    "leaderboard.cards": {"TASKS", "MODELS"},
    "leaderboard.cli": {"TASKS", "MODELS"},
    "leaderboard.conformance": {"TASKS", "MODELS"},
    "leaderboard.data_cli": {"TASKS"},
}
REGISTRIES = {"TASKS": "zoobench.datasets.core", "MODELS": "zoobench.zoo.core"}
FRAMEWORKS = {"sklearn", "torch", "transformers", "tensorflow", "keras", "optuna"}
HEAVY = FRAMEWORKS | {"scipy", "pandas", "pyarrow", "torchvision", "torchxrayvision"}


def modules() -> dict[str, Path]:
    """Return every module of the package by its full name."""
    paths = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
    return {
        ".".join(("zoobench", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
        for path in paths
    }


def imports(name: str, path: Path, known: dict[str, Path]) -> Iterator[tuple[str, str]]:
    """Yield (module, name taken from it) for each import of `path`, all modules by their full names."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield (inner, "") if inner in known or base == "zoobench" else (base, alias.name)


def room(module: str) -> str | None:
    first, _, rest = module.partition(".")
    return rest.partition(".")[0] if first == "zoobench" else None


def short(module: str) -> str:
    return module.removeprefix("zoobench.")


def arrows() -> list[tuple[str, str]]:
    """Return every import between modules of the package, as (who, whom), without ``zoobench.``."""
    known = modules()
    found = [(who, whom) for who, path in known.items() for whom, _ in imports(who, path, known) if room(whom)]
    return [(short(who), short(whom)) for who, whom in found]


def registries_seen() -> dict[str, set[str]]:
    known = modules()
    seen: dict[str, set[str]] = {}
    for who, path in known.items():
        taken = {name for whom, name in imports(who, path, known) if REGISTRIES.get(name) == whom}
        # Also by the long way: `from . import core`, then `core.TASKS`.
        tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        taken |= {node.attr for node in tree if isinstance(node, ast.Attribute) and node.attr in REGISTRIES}
        if taken:
            seen[short(who)] = taken
    return seen


def python(*words: str, cwd: Path | None = None, **environment: str) -> str:
    command = [sys.executable, *words]
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, timeout=120, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_reader_of_imports_finds_them_all() -> None:
    found = arrows()
    assert len(found) > 50
    assert {whom for who, whom in found if who == "benchmarks.plan"} >= {"datasets.core", "zoo.core", "benchmarks.cell"}
    assert ("datasets.prepare", "datasets.folds") in found  # `from . import core, folds, near`
    assert ("benchmarks.engines.local", "benchmarks.worker") in found  # `from ..worker import …`
    assert ("leaderboard", "leaderboard.frame") in found  # inside a function of a package's __init__


def test_imports_go_one_way() -> None:
    height = ROOMS.index
    assert not [
        f"{who} imports {whom}" for who, whom in arrows() if height(who.split(".")[0]) < height(whom.split(".")[0])
    ]


# `Images` is what a model of images is handed, as `Texts` in the support is.
HANDED = {"datasets.core", "datasets.images"}


def test_zoo_sees_only_the_core_and_the_support_of_datasets() -> None:
    seen = {whom for who, whom in arrows() if who.startswith("zoo") and whom.startswith("datasets")}
    assert seen
    assert not {whom for whom in seen if whom not in HANDED and not whom.startswith("datasets.support")}


def test_entries_are_looked_up_in_few_places() -> None:
    assert registries_seen() == SEES


def test_the_leaderboard_imports_no_framework() -> None:
    known = modules()
    board = {who: path for who, path in known.items() if room(who) == "leaderboard"}
    taken = {(who, whom.partition(".")[0]) for who, path in board.items() for whom, _ in imports(who, path, known)}
    assert not {f"{who} imports {whom}" for who, whom in taken if whom in FRAMEWORKS}


LISTING = """
import json, sys
from zoobench.zoo.core import MODELS
from zoobench.datasets.core import TASKS
names = [*MODELS.entries(), *TASKS.entries()]
print(json.dumps([names, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def test_listing_imports_no_framework(tmp_path: Path) -> None:
    names, loaded = json.loads(python("-c", LISTING, cwd=tmp_path))
    assert {"tfidf-logreg", "openi-reports"} <= set(names)
    assert not HEAVY & set(loaded)


FINGERPRINTS = """
import json, sys
from zoobench.benchmarks.cell import source_fingerprint
from zoobench.zoo.core import MODELS
for model in MODELS.entries().values():
    source_fingerprint(model.module)
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def test_planning_a_cell_imports_no_framework(tmp_path: Path) -> None:
    assert not HEAVY & set(json.loads(python("-c", FINGERPRINTS, cwd=tmp_path)))


@pytest.mark.parametrize("how", ["-c", "-m"])
def test_the_repository_does_not_shadow_hugging_face_datasets(tmp_path: Path, how: str) -> None:
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "__init__.py").write_text("OWNER = 'the library'\n")
    code = "import datasets, zoobench.datasets.core as core; print(datasets.OWNER, core.FOLDS)"
    (tmp_path / "asks_for_datasets.py").write_text(code)
    words = ("-c", code) if how == "-c" else ("-m", "asks_for_datasets")
    assert python(*words, cwd=ROOT, PYTHONPATH=str(tmp_path)).startswith("the library ('train'")
