"""The wheel holds the whole package and nothing else, and works where the repository is out of reach."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("datasets", "zoo", "benchmarks", "leaderboard")
SHIPPED = {".py", ".toml", ".csv", ".masked", ".txt", ".md", ".typed"}

pytestmark = pytest.mark.slow


def execute(*words: str | Path, cwd: Path) -> str:
    # Neither the tests' own environment nor PYTHONPATH may lend the wheel what it lacks.
    kept = {
        name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}
    }
    command = [str(word) for word in words]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=300, env=kept)
    if done.returncode != 0:
        pytest.fail(f"{' '.join(command)}\n{done.stdout}{done.stderr}", pytrace=False)
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository: building in place would leave a build folder behind, or take up a stale one."""
    folder = tmp_path_factory.mktemp("source")
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copyfile(path, folder / path.name)
        elif path.name in {*ROOMS, "tests"}:
            shutil.copytree(path, folder / path.name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    if shutil.which("uv"):
        execute(
            "uv", "build", "--quiet", "--wheel", "--python", sys.executable, "--out-dir", folder, source, cwd=folder
        )
    else:
        execute(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, source, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that holds the wheel alone, and sees our installed dependencies.

    They come by a path file: no second copy of several GB, and the path files of our own environment, by which
    an editable zoobench would come along, are not followed from there.
    """
    folder = tmp_path_factory.mktemp("environment") / "venv"
    interpreter = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    if shutil.which("uv"):
        execute("uv", "venv", "--quiet", "--python", sys.executable, folder, cwd=folder.parent)
        install = ["uv", "pip", "install", "--quiet", "--python", interpreter]
    else:
        execute(sys.executable, "-m", "venv", folder, cwd=folder.parent)
        install = [interpreter, "-m", "pip", "install", "--quiet"]
    execute(*install, "--no-deps", "--no-index", wheel, cwd=folder.parent)
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(execute(interpreter, "-c", code, cwd=folder.parent).strip())
    outer = [entry for entry in sys.path if entry.endswith(("site-packages", "dist-packages"))]
    (packages / "dependencies.pth").write_text("\n".join(outer) + "\n")
    return interpreter


@pytest.fixture
def zoobench(python: Path, tmp_path: Path):
    return lambda *words: execute(python.with_name("zoobench"), *words, cwd=tmp_path)


def test_wheel_holds_the_package_and_nothing_else(source: Path, wheel: Path) -> None:
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    ours = [path for room in ROOMS for path in (source / room).rglob("*") if path.suffix in SHIPPED]
    names = {f"zoobench/{path.relative_to(source).as_posix()}" for path in ours}
    # The committed measurements (tens of MB) stay in the repository; of a study's, `trials.csv` has a shipped ending.
    records = "zoobench/leaderboard/results/"
    assert held >= {name for name in names if not name.startswith(records)}
    assert not {name for name in held if name.startswith(records)}
    assert {name.split("/")[1] for name in held if name.startswith("zoobench/")} == set(ROOMS)
    assert not {name for name in held if not name.startswith("zoobench/") or "test" in name.split("/")[-2]}
    for one in ("benchmarks/suites/quick.toml", "datasets/splits/openi-reports.csv", "zoo/templates/model.py.txt"):
        assert f"zoobench/{one}" in held


def test_wheel_says_what_it_is(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        texts = {
            name.split("/", 1)[1]: archive.read(name).decode() for name in archive.namelist() if ".dist-info/" in name
        }
    assert "License-Expression: Apache-2.0" in texts["METADATA"]
    assert "licenses/LICENSE" in texts
    assert "zoobench = zoobench.leaderboard.cli:main" in texts["entry_points.txt"]


def test_installed_package_is_the_wheel(python: Path, tmp_path: Path) -> None:
    code = "import zoobench, zoobench.zoo, sklearn; print(zoobench.zoo.__file__, list(zoobench.__path__), sep='\\n')"
    file, folders = execute(python, "-c", code, cwd=tmp_path).splitlines()
    assert Path(file).is_relative_to(python.parents[1])
    assert str(ROOT) not in folders


def test_command_line_works_from_an_empty_folder(zoobench, tmp_path: Path) -> None:
    assert "Usage: zoobench" in zoobench("--help")
    assert {"dummy-uniform", "tfidf-logreg", "embedding-mlp"} <= {
        card["name"] for card in json.loads(zoobench("models", "--json"))
    }
    assert "openi-reports" in zoobench("tasks")
    assert "zoobench run quick" in zoobench("show", "quick")
    assert not list(tmp_path.iterdir())


def test_new_model_can_be_listed(zoobench, tmp_path: Path) -> None:
    assert "my_model.py" in zoobench("new", "model", "my-model")
    assert [path.name for path in tmp_path.iterdir()] == ["my_model.py"]
    listed = json.loads(zoobench("models", "--json", "--plugin", "my_model.py"))
    assert "my-model" in {card["name"] for card in listed}
