"""Boards inside of Markdown files: written anew between their marks, and nothing else touched."""

from __future__ import annotations

from pathlib import Path

import pytest
from zoobench.leaderboard import tables
from zoobench.leaderboard.frame import load_board

from .conftest import zoobench_here
from .records import STRONG, WEAK, Cell

TEXT = "# Mine\n\n<!-- board: {} -->\nold | stuff\n<!-- end board -->\n\nStays.\n"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for task in ("openi-reports", "ants"):
        Cell("strong", STRONG, task).store(tmp_path / "r")
        Cell("weak", WEAK, task).store(tmp_path / "r")
    return tmp_path / "r"


@pytest.mark.parametrize(("name", "tasks"), [("ants", ["ants"]), ("quick", ["openi-reports"]), ("all", [None])])
def test_what_stands_between_the_marks_is_the_board(name: str, tasks: list[str | None], results: Path) -> None:
    page = results.parent / "page.md"
    page.write_text(TEXT.format(name))
    done = zoobench_here("site", "tables", page, "--results", results)
    assert (done.returncode, done.stdout) == (0, f"{page}: written anew\n"), done.stderr
    expected = "\n".join(tables.render(load_board(results, task=task).frame, "md") for task in tasks)
    assert page.read_text() == f"# Mine\n\n<!-- board: {name} -->\n{expected}\n<!-- end board -->\n\nStays.\n"
    assert zoobench_here("site", "tables", page, "--results", results).stdout == f"{page}: as it was\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TEXT.format("bees"), "task 'bees' has no record"),
        ("# No marks\n", "has no board: mark its place"),
        (
            "<!-- board: ants -->\nnever ends\n",
            "line 1: <!-- board: ants --> has no end: put <!-- end board --> below it",
        ),
        ("<!-- board: ants -->\n" + TEXT.format("ants"), "line 1: <!-- board: ants --> has no end"),
        (TEXT.format("ants") + "<!-- bord: all -->\n<!-- end bord -->\n", "line 9: <!-- end bord --> ends no mark"),
        (TEXT.format("ants").replace("end board", "end tasks"), "line 5: <!-- end tasks --> ends no mark"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_is(text: str | None, message: str, results: Path) -> None:
    good, bad = results.parent / "good.md", results.parent / "bad.md"
    good.write_text(TEXT.format("ants"))
    if text is not None:
        bad.write_text(text)
    done = zoobench_here("site", "tables", good, bad, "--results", results)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert message in done.stderr
    assert good.read_text() == TEXT.format("ants")


def test_a_code_block_is_an_example_and_lines_end_as_they_did(results: Path) -> None:
    page = results.parent / "page.md"
    example = f"```html\n{TEXT.format('ants')}```\n"
    page.write_bytes((example + TEXT.format("ants")).replace("\n", "\r\n").encode())
    done = zoobench_here("site", "tables", page, "--results", results)
    assert done.stdout == f"{page}: written anew\n", done.stderr
    written = page.read_bytes().decode()
    assert written.startswith(example.replace("\n", "\r\n"))
    assert written.count("old | stuff") == 1
    assert written.count("\n") == written.count("\r\n")
