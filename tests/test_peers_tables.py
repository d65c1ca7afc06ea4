"""Systems of others in the READMEs: their kept lines beside zoobench's records, and what is refused."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from zoobench.datasets.support.errors import UserError
from zoobench.leaderboard.peers import Line, Said, kept_lines
from zoobench.leaderboard.peers_tables import peers_markdown

from .conftest import zoobench_here
from .records import STRONG, WEAK, Cell, Outcome

PLACE = {"hardware": "Abacus, 2 cores, 3 GiB", "threads": 2}


def kept(results: Path, who: str, own: float, policy: float, **rows: str) -> Path:
    line = Line("ants", who, "f1_macro", Said(own, 0.1, 0.9, own, 0.2), Said(policy, None, None, policy, 0.3), 4, 8, 1)
    path = results / "peers" / "ants" / f"{who}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**PLACE, "load": 0.25, **rows, "line": asdict(line)}))
    return path


@pytest.fixture
def rows(tmp_path: Path) -> dict[str, str]:
    """Two records of a task, the better one on validation the worse on test; return the rows that they are of."""

    def cell(model: str, test: Outcome, validation: Outcome) -> Cell:
        return Cell(model, test, "ants", changes={"validation": {"fixed-0.5": {"values": validation.values}}})

    stored = cell("tfidf-logreg", WEAK, STRONG).store(tmp_path)
    cell("lucky", STRONG, WEAK).store(tmp_path)
    return {name: getattr(stored.record, name) for name in ("data_fingerprint", "split_sha256")}


def figures(text: str, who: str) -> list[str]:
    """Return the cells of a row of a Markdown table, without its first."""
    found = re.search(rf"^\| {re.escape(who)} \| (.+) \|$", text, re.MULTILINE)
    assert found, text
    return found[1].replace("\\", "").split(" | ")


def test_peers_stand_beside_what_is_best_on_validation(rows: dict[str, str], tmp_path: Path) -> None:
    kept(tmp_path, "abacus", 0.25, 0.5, **rows)
    kept(tmp_path, "slide rule", 0.75, 0.5, **rows)
    text = peers_markdown(tmp_path)
    names = re.findall(r"^\| (zoobench \S+|abacus|slide rule) \|", text, re.MULTILINE)
    assert names == ["zoobench tfidf-logreg", "slide rule", "abacus"]
    ours = WEAK.values["f1_macro"]
    own, policy, macro, *_ = figures(text, "zoobench tfidf-logreg")
    assert (own, policy.split()[0], macro) == ("-", f"{ours:.3f}", f"{ours:.3f}")
    assert figures(text, "abacus") == ["0.250 [0.100, 0.900]", "0.500", "0.500", "0.300", "4.00", "8.00", "1.00"]
    margin = f"zoobench tfidf-logreg: {ours:.3f}, {100 * (ours - 0.75):+.1f} points against slide rule's 0.750"
    assert f"- {margin}, the best of its 2 peers. On Abacus, 2 cores, 3 GiB; 2 threads; load at most 0.2" in text


def test_rows_that_are_others_are_not_held_against_each_other(rows: dict[str, str], tmp_path: Path) -> None:
    kept(tmp_path, "abacus", 0.25, 0.5, **{**rows, "split_sha256": "0" * 64})
    assert "No model of zoobench has a record of these rows; the best peer is abacus." in peers_markdown(tmp_path)
    kept(tmp_path, "slide rule", 0.75, 0.5, **rows)
    with pytest.raises(UserError, match="measured on other rows"):
        kept_lines(tmp_path)


def test_the_price_of_the_harness_is_the_median_turn(tmp_path: Path) -> None:
    turns = [{"plain": [2.0, 3.0], "cells": [4.0, 4.0], "whole": whole} for whole in (5.0, 6.0, 5.5)]
    (tmp_path / "peers").mkdir()
    told = {**PLACE, "threads": 1, "tasks": ["ants", "bees"], "turns": turns}
    (tmp_path / "peers" / "harness.json").write_text(json.dumps(told))
    assert "on 2 tasks takes 1.10 times" in peers_markdown(tmp_path)
    assert "(median of 3 turns of 1.00 to 1.20; one thread; Abacus, 2 cores, 3 GiB)" in peers_markdown(tmp_path)


@pytest.mark.parametrize("broken", ["", "{}", '{"line": 3}', "[]"])
def test_a_file_that_is_no_line_is_named_in_one_line(broken: str, rows: dict[str, str], tmp_path: Path) -> None:
    path = kept(tmp_path, "abacus", 0.25, 0.5, **rows)
    path.write_text(broken)
    page = tmp_path / "page.md"
    page.write_text("<!-- peers: all -->\n<!-- end peers -->\n")
    done = zoobench_here("site", "tables", page, "--results", tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert f"{path} is no peer's line" in done.stderr


def test_marks_write_them(rows: dict[str, str], tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- peers: all -->\nold\n<!-- end peers -->\n")

    def tables() -> Any:
        return zoobench_here("site", "tables", page, "--results", tmp_path)

    empty = tables()
    assert (empty.returncode, page.read_text().count("old")) == (2, 1)
    assert "holds no peer's line: run python tests/performance/peers.py" in empty.stderr
    kept(tmp_path, "abacus", 0.25, 0.5, **rows)
    assert tables().stdout == f"{page}: written anew\n"
    assert page.read_text() == f"<!-- peers: all -->\n{peers_markdown(tmp_path)}\n<!-- end peers -->\n"
