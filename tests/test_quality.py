"""The rules of the house that a machine can check, on every file that git has or would take."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("datasets", "zoo", "benchmarks", "leaderboard")
FUNCTION_LINES, FILE_LINES = 50, 400

# Spelt in parts, so that this file keeps its own rule.
HOSTS = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("download", "pytorch", "org"),
        ("anaconda", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
    )
)
# A mirror has any name, but an index ends like this.
INDEX = re.compile(r"https?://[^\s\"'`)>]+/simple\b")
HOMES = re.compile(r"(?<![\w.~}/-])/(?:work|root|home|Users)/")
SCRATCH = re.compile(r"(?<![\w.~}/-])/tmp\b")
PICKLES = {"_pickle", "cloudpickle", "cPickle", "dill", "jsonpickle", "marshal", "pickle", "shelve"}
PICKLED_CALLS = {"joblib.dump", "joblib.load", "read_pickle", "to_pickle"}


@cache
def files() -> tuple[Path, ...]:
    """Return the files that git tracks or would add."""
    command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"git does not list this folder: {done.stderr.strip()}")
    return tuple(path for name in sorted(set(done.stdout.split("\0")) - {""}) if (path := ROOT / name).is_file())


def in_package(path: Path) -> bool:
    return path.relative_to(ROOT).parts[0] in ROOMS


def sources(*, package_only: bool = False) -> list[tuple[str, str]]:
    """Return (path, text) of every Python file."""
    chosen = [path for path in files() if path.suffix == ".py" and (in_package(path) or not package_only)]
    return [(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")) for path in chosen]


def long_functions(source: str) -> Iterator[str]:
    """Yield the functions of more than `FUNCTION_LINES` lines, from ``def`` to the last line, docstring included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES:
                yield f"{node.name}: {lines} lines"


def code_from_data(source: str) -> Iterator[str]:
    """Yield what could run code that a data file holds: pickle by any name, and loaders with their guard off."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        elif isinstance(node, ast.Call):
            yield from _unguarded(node)
            continue
        else:
            continue
        yield from (f"import {name}" for name in names if name.partition(".")[0] in PICKLES)


def _unguarded(call: ast.Call) -> Iterator[str]:
    name = ast.unparse(call.func)
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    if name in PICKLED_CALLS or name.rpartition(".")[2] in PICKLED_CALLS:
        yield name
    if name == "torch.load" and given.get("weights_only") != "True":
        yield "torch.load without weights_only=True"
    if given.get("allow_pickle", "False") != "False":
        yield f"{name} with allow_pickle"
    if given.get("safe_mode", "True") != "True":
        yield f"{name} without safe_mode"


def places(text: str, *, package: bool) -> set[str]:
    """Return the package-registry hosts and the paths of one machine that a text names."""
    found = {host for host in HOSTS if host in text} | set(INDEX.findall(text)) | set(HOMES.findall(text))
    return found | set(SCRATCH.findall(text)) if package else found


@pytest.mark.parametrize(
    "words",
    [
        ("ruff", "check", "--output-format=concise", "."),
        ("ruff", "format", "--check", "."),
        ("basedpyright", "--pythonpath", sys.executable),
    ],
    ids=["lint", "format", "types"],
)
def test_tool(words: tuple[str, ...]) -> None:
    done = subprocess.run([sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.fail(f"{' '.join(words)}\n{done.stdout}{done.stderr}", pytrace=False)


def test_the_package_is_among_the_files() -> None:
    names = {name for name, _ in sources(package_only=True)}
    assert {f"{room}/{name}.py" for room, name in zip(ROOMS, ("core", "core", "cell", "cli"), strict=True)} <= names


def test_functions_are_short() -> None:
    assert not [f"{name}: {long}" for name, source in sources() for long in long_functions(source)]


def test_files_are_short() -> None:
    lines = {name: source.count("\n") for name, source in sources()}
    assert not {name: count for name, count in lines.items() if count > FILE_LINES}


def test_no_file_names_a_registry_or_a_machine() -> None:
    texts = {path: path.read_bytes().decode("utf-8", errors="ignore") for path in files()}
    named = {str(path.relative_to(ROOT)): places(text, package=in_package(path)) for path, text in texts.items()}
    assert not {name: found for name, found in named.items() if found}


def test_no_data_file_runs_code() -> None:
    found = {name: list(code_from_data(source)) for name, source in sources(package_only=True)}
    assert not {name: what for name, what in found.items() if what}


# The checks above hold only as much as they see.


def test_the_rules_see_long_functions() -> None:
    body = "\n".join(["    x = 1"] * FUNCTION_LINES)
    assert list(long_functions(f"class A:\n  async def slow(self):\n{body}\n")) == [f"slow: {FUNCTION_LINES + 1} lines"]
    assert not list(long_functions("def quick():\n" + "\n".join(["    x = 1"] * (FUNCTION_LINES - 1))))


@pytest.mark.parametrize(
    "code",
    [
        "def f():\n    import pickle as p",
        "from _pickle import loads",
        "import torch\ntorch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)",
        "frame.to_pickle(path)",
        "joblib.load(path)",
        "keras.saving.load_model(path, safe_mode=False)",
    ],
)
def test_the_rules_see_code_in_data(code: str) -> None:
    assert list(code_from_data(code))


@pytest.mark.parametrize(
    "code", ["torch.load(path, weights_only=True)", "np.load(path, allow_pickle=False)", "import json\njson.load(f)"]
)
def test_the_rules_let_plain_data_pass(code: str) -> None:
    assert not list(code_from_data(code))


def test_the_rules_see_places() -> None:
    root = "/"
    for text in (
        f"cd {root}work/main",
        f'"{root}root/.cache"',
        f"{root}home/me/x",
        HOSTS[0],
        f"http{'s'}://m.example/a/simple/",
    ):
        assert places(f"see {text}.", package=False), text
    assert places(f'Path("{root}tmp/x")', package=True)
    assert not places(f'Path("{root}tmp/x")', package=False)
    for text in ("../work/main", "https://example.org/home/page", "out / 'work'", "~/work/x", "a simple/plain rule"):
        assert not places(text, package=True), text
