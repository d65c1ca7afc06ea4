"""What the READMEs show works: examples are extracted and run, claims are looked up in records."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from zoobench.leaderboard.families import BAGS, FROZEN, family_of_row
from zoobench.leaderboard.frame import load_board
from zoobench.leaderboard.tables import rows_of

from .conftest import zoobench, zoobench_here

ROOT = Path(__file__).parents[1]


def block(path: Path, marker: str) -> str:
    """Return the fenced block that follows an HTML comment."""
    found = re.search(rf"<!-- {re.escape(marker)} -->\n```\w+\n(.*?)```", path.read_text(), re.DOTALL)
    assert found, f"{path.name} has no block {marker!r}"
    return found[1]


@pytest.fixture
def example() -> str:
    return block(ROOT / "zoo" / "README.md", "example: plugin")


def test_the_example_model_is_short(example: str) -> None:
    lines = [line for line in example.splitlines() if line.strip()]
    assert len(lines) <= 15


def test_the_example_model_keeps_the_contract_and_runs(example: str, tiny: Path, tmp_path: Path) -> None:
    plugin = tmp_path / "char_logreg.py"
    plugin.write_text(example)
    checked = zoobench("check", plugin)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    ran = zoobench(
        "run", "--plugin", plugin, "--plugin", tiny, "--task", "tiny", "--model", "char-logreg", cwd=tmp_path
    )
    assert ran.returncode == 0, ran.stderr
    rows = json.loads(zoobench("board", "--format", "json", cwd=tmp_path).stdout)
    assert [row["model"] for row in rows] == ["char-logreg"]
    assert rows[0]["value"] > 0.8


def test_the_example_entry_point_adds_the_model(example: str, tmp_path: Path, tiny: Path) -> None:
    declared = block(ROOT / "zoo" / "README.md", "example: entry point")
    group = re.search(r'entry-points\."(.+?)"\]', declared)
    line = declared.splitlines()[1].replace('"', "")
    assert group
    package = tmp_path / "site" / "my_package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "char_logreg.py").write_text(example)
    (package / "tiny_task.py").write_text(tiny.read_text().replace('"tiny', '"tiny-from-package'))
    meta = tmp_path / "site" / "my_package-0.1.dist-info"
    meta.mkdir()
    (meta / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 0.1\n")
    (meta / "entry_points.txt").write_text(f"[{group[1]}]\n{line}\n[zoobench.tasks]\nt = my_package.tiny_task\n")
    path = {"PYTHONPATH": str(tmp_path / "site")}
    assert "char-logreg" in zoobench("models", **path).stdout
    words = ("run", "--task", "tiny-from-package", "--model", "char-logreg", "--results", tmp_path / "r")
    ran = zoobench(*words, **path)
    assert ran.returncode == 0, ran.stderr
    (package / "char_logreg.py").write_text("import nowhere_to_be_found\n")
    broken = zoobench("models", **path)
    assert broken.returncode == 2
    assert "entry point 'char-logreg'" in broken.stderr
    assert "nowhere_to_be_found" in broken.stderr


def test_ci_runs_the_test_command_of_the_readme() -> None:
    command = block(ROOT / "README.md", "command: tests").strip()
    assert command.count("\n") == 0
    assert command.endswith("python -m pytest -q")
    assert "command: tests" in (ROOT / ".ci" / "run").read_text()


MARKED = r"<!-- (board|tasks|reproduction|leaks): .*?<!-- end \1 -->"
"""What is written from records; `tests/test_marked_tables.py` and its like hold how."""
SETTLED = {
    "0.05": "levels and limits",
    "0.35": "an example of a threshold",
    "0.75": "the published threshold of confidence",
}
"""Figures of two digits or more that prose may hold: no record says them."""


@pytest.mark.parametrize("file", ["README.md", "leaderboard/README.md"])
def test_what_the_readmes_show_is_what_the_committed_records_say(file: str, tmp_path: Path) -> None:
    """All that stands between marks, and what the pictures show."""
    copy = tmp_path / "README.md"
    copy.write_text((ROOT / file).read_text())
    shutil.copytree(ROOT / "leaderboard" / "pictures", tmp_path / "leaderboard" / "pictures")
    done = zoobench_here("site", "tables", copy, "--results", ROOT / "leaderboard" / "results")
    assert (done.returncode, done.stdout) == (0, f"{copy}: as it was\n"), done.stderr


@pytest.mark.parametrize("file", ["README.md", "leaderboard/README.md"])
def test_prose_holds_no_figure_that_a_record_could_contradict(file: str) -> None:
    """What is measured stands between marks, or not at all: hand-written figures outlive their records."""
    text = re.sub(MARKED, "", (ROOT / file).read_text(), flags=re.DOTALL)
    prose = re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)
    found = set(re.findall(r"(?<![\d.])0\.\d{2,}\b", prose))
    found |= set(re.findall(r"\d+ points\b|\b\d+(?:\.\d+)? times as\b", prose))
    assert found <= set(SETTLED), "write it by a mark (leaderboard/README.md), or say here why no record has it"


def test_what_the_readme_says_of_words_and_encoders_is_so() -> None:
    """That a frozen sentence encoder loses what single words tell, on radiology reports."""
    rows = load_board(ROOT / "leaderboard" / "results", task="openi-reports").frame
    best = {
        family: value
        for value, family in sorted(
            (row["value"], family_of_row(row)) for row in rows_of(rows) if row["rank"] is not None
        )
    }
    assert best[BAGS] > best[FROZEN]
