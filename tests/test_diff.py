"""`zoobench diff`: what moved beyond chance between two results folders, and what is no evidence of that."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from zoobench.benchmarks.store import RESAMPLES
from zoobench.datasets.support.errors import UserError
from zoobench.leaderboard.diff import Changed, Diff, _p, compare_folders
from zoobench.leaderboard.diff_tables import LISTED, as_json, as_page
from zoobench.leaderboard.sheets import as_markdown, as_text

from .conftest import zoobench_here
from .records import STRONG, WEAK, Cell, Outcome, outcome

LATER = "2025-02-02T00:00:00Z"
NEAR = outcome(1.48, seed=9)


def again(name: str, found: Outcome | None = STRONG, times: float = 1.0, **changes: Any) -> Cell:
    """The cell measured once more, with other code and at another speed."""
    cell = Cell(name, found, created=LATER, hardware=changes.pop("hardware", "Test CPU, 2 cores"))
    told = Cell(name, found)._scored() if found else {}
    if found:
        told["timings"] = {part: seconds * times for part, seconds in told["timings"].items()}
        told["speed"] = {**told["speed"], "latency_p50_ms": told["speed"]["latency_p50_ms"] * times}
    return dataclasses.replace(cell, changes={"source_sha256": "ab" * 32, **told, **changes})


@pytest.fixture
def old(tmp_path: Path) -> Path:
    for name, found in (("strong", STRONG), ("steady", STRONG), ("weak", WEAK), ("broken", None)):
        Cell(name, found).store(tmp_path / "old")
    return tmp_path / "old"


@pytest.fixture
def new(old: Path) -> Path:
    """As a run leaves it: the old records, and what is stored by a test beside them."""
    return shutil.copytree(old, old.with_name("new"))


def verdicts(found: Diff) -> dict[str, str]:
    return {each.name: each.verdict for each in found.changed}


def text(found: Diff) -> str:
    return " ".join(as_text(as_page(found, "old", "new", 1.5)).split())


def test_the_same_records_changed_nothing(old: Path, new: Path) -> None:
    found = compare_folders(old, new)
    assert (found.unchanged, found.regressions, found.changed) == (4, 0, ())
    assert "Nothing changed: 4 rows with the same records." in text(found)


def test_worse_and_better_beyond_chance_and_what_cannot_be_told(old: Path, new: Path) -> None:
    again("strong", outcome(0.9, seed=1)).store(new)
    again("weak", outcome(0.8, seed=2)).store(new)
    again("steady", NEAR).store(new)
    found = compare_folders(old, new)
    assert verdicts(found) == {"strong": "worse", "weak": "better", "steady": ""}
    assert list(verdicts(found)) == ["strong", "weak", "steady"]
    worse = found.changed[0]
    assert worse.difference is not None
    assert worse.difference.difference == pytest.approx(worse.new - worse.old)
    low, high = np.quantile(
        outcome(0.9, seed=1).replicates["f1_macro"].astype(np.float32)
        - STRONG.replicates["f1_macro"].astype(np.float32),
        [0.025, 0.975],
    )
    assert (worse.difference.low, worse.difference.high) == pytest.approx((low, high), abs=1e-6)
    assert (found.regressions, found.unchanged) == (1, 1)
    said = text(found)
    assert "Regression: of 3 rows measured again, 1 worse and 1 better beyond chance; 0 newly failing." in said
    assert "0 new, 1 unchanged." in said
    assert "one seed does not say what another would" in said


def test_the_correction_is_over_all_rows_and_the_resamples_do_not_cut_it_off(tmp_path: Path) -> None:
    """Forty rows that did not change, measured again, and one that fell: it alone is named."""
    old, new = tmp_path / "old", tmp_path / "new"
    for number in range(40):
        Cell(f"m{number}", STRONG).store(old)
        again(f"m{number}", outcome(1.5, seed=1 if number % 2 else 40 + number)).store(new)
    Cell("fell", STRONG).store(old)
    again("fell", outcome(0.3, seed=1)).store(new)
    found = compare_folders(old, new)
    assert {name for name, verdict in verdicts(found).items() if verdict} == {"fell"}
    told = {each.name: each.difference for each in found.changed}
    assert told["fell"] is not None
    assert told["fell"].p_holm == pytest.approx(41 * told["fell"].p)  # the smallest of 41
    assert told["fell"].p < 2 / 201
    assert told["m1"] is not None
    assert told["m1"].p == 1  # the same answers


def test_a_p_at_the_floor_is_the_tail_of_the_resamples() -> None:
    rng = np.random.default_rng(0)
    assert _p(0.5, rng.normal(0, 1, 1000)) == 0.5
    drawn = rng.normal(5, 1, 1000)
    assert _p(2 / 1001, drawn) == pytest.approx(math.erfc(drawn.mean() / drawn.std() / math.sqrt(2)))
    assert _p(2 / 1001, np.full(1000, 0.1)) == 2 / 1001  # no spread: no tail to speak of


def test_lower_is_better_where_the_metric_says_so(old: Path, new: Path) -> None:
    again("weak", outcome(0.8, seed=2)).store(new)
    found = compare_folders(old, new, "hamming_loss")
    assert verdicts(found) == {"weak": "better"}
    assert found.changed[0].new < found.changed[0].old
    assert "Lower is better: Hamming loss." in text(found)


def test_what_fails_now_is_a_regression_and_what_finishes_again_is_none(old: Path, new: Path) -> None:
    again("strong", None).store(new)
    again("broken", WEAK).store(new)
    found = compare_folders(old, new)
    assert [each.name for each in found.failing] == ["strong"]
    assert [each.name for each in found.recovered] == ["broken"]
    assert found.regressions == 1
    assert "Fails now" in text(found)
    assert "ValueError: no rows left" in text(found)
    back = compare_folders(new, old)
    assert [each.name for each in back.failing] == ["broken"]


def test_a_seed_that_fails_now_is_named_though_the_row_has_a_figure(old: Path, new: Path) -> None:
    for folder, found in ((old, STRONG), (new, None)):
        Cell("strong", found, seed=1, created=LATER, changes={"software": {"python": folder.name}}).store(folder)
    found = compare_folders(old, new)
    [failing] = found.failing
    assert (failing.name, failing.why) == ("strong", "seed 1 failed: ValueError: no rows left")
    assert failing.value == STRONG.values["f1_macro"]
    assert found.regressions == 1


def test_new_gone_and_the_first_results_of_all(old: Path, new: Path, tmp_path: Path) -> None:
    Cell("fresh", WEAK).store(new)
    Cell("stillborn", None).store(new)
    shutil.rmtree(new / "cells" / "made-up" / "weak")
    found = compare_folders(old, new)
    assert ([each.name for each in found.new], [each.name for each in found.gone]) == (["fresh", "stillborn"], ["weak"])
    assert "2 new (1 of them without a figure), 1 gone, 3 unchanged." in text(found)
    assert found.regressions == 0
    (tmp_path / "nothing").mkdir()
    first = compare_folders(tmp_path / "nothing", old)
    assert (len(first.new), first.unchanged) == (4, 0)
    with pytest.raises(UserError, match="has no record yet"):
        compare_folders(old, tmp_path / "nothing")
    (tmp_path / "nothing" / "README.md").touch()
    with pytest.raises(UserError, match=r"nothing holds README.md and no record: name a results folder, or an empty"):
        compare_folders(tmp_path / "nothing", old)


def test_a_record_that_cannot_be_read_any_more_is_a_regression(old: Path, new: Path) -> None:
    [path] = new.glob("cells/*/strong/*/record.json")
    path.write_text(path.read_text()[:100])
    found = compare_folders(old, new)
    assert [(each.name, each.why) for each in found.failing] == [("strong", "its record cannot be read")]
    assert (found.gone, found.regressions) == ((), 1)


def test_other_data_or_folds_are_other_rows(old: Path, new: Path) -> None:
    again("strong", WEAK, split_sha256="cd" * 32).store(new)
    found = compare_folders(old, new)
    assert not found.changed
    assert [each.name for each in found.new] == ["strong"]


def test_costs_move_on_one_class_of_hardware_from_the_tolerance_on(old: Path, new: Path) -> None:
    again("strong", STRONG, times=2).store(new)
    again("weak", WEAK, times=1.2).store(new)
    found = compare_folders(old, new)
    assert [(each.name, each.cost, each.times) for each in found.costs] == [
        ("strong", "latency_ms", pytest.approx(2)),
        ("strong", "train_s", pytest.approx(2)),
    ]
    assert found.regressions == 0
    assert "One timing has no interval: they are no regression." in text(found)
    assert {each.name for each in compare_folders(old, new, tolerance=1.1).costs} == {
        "strong"
    }  # 0.3 s, 0.3 ms are too few
    with pytest.raises(UserError, match="--tolerance 1 must be more than 1"):
        compare_folders(old, new, tolerance=1)


@pytest.mark.parametrize("change", [{"threads": 1}, {"beside": 3}])
def test_times_of_other_company_do_not_compare(old: Path, new: Path, change: dict[str, int]) -> None:
    again("strong", STRONG, times=2, **change).store(new)
    found = compare_folders(old, new)
    assert not found.costs
    assert found.untimed == 1
    assert "1 row ran with other threads or other company" in text(found)


def test_on_other_hardware_quality_compares_and_costs_do_not(old: Path, tmp_path: Path) -> None:
    new = tmp_path / "elsewhere"
    again("strong", outcome(0.9, seed=1), times=9, hardware="fast").store(new)
    found = compare_folders(old, new)
    assert verdicts(found) == {"strong": "worse"}
    assert found.changed[0].place == "Test CPU, 2 cores, now fast"
    assert not found.costs
    assert len(found.gone) == 3


def test_what_cannot_be_tested_says_why(old: Path, new: Path) -> None:
    again("strong", WEAK, metric_version=2).store(new)
    stored = again("weak", STRONG).store(new)
    (stored.attempt / RESAMPLES).unlink()
    again("steady", outcome(0.2, resamples=150)).store(new)
    found = compare_folders(old, new)
    assert verdicts(found) == dict.fromkeys(("strong", "weak", "steady"), "")
    assert {each.name: each.why for each in found.changed} == {
        "strong": "scored by other versions of the metrics: 1, now 2",
        "weak": "no resamples on both sides",
        "steady": "200 resamples, now 150: they do not pair",
    }
    assert found.regressions == 0
    assert "Changed, and not compared" in text(found)
    found = compare_folders(old, new, "roc_auc_macro")
    assert "no resamples" in {each.name: each.why for each in found.changed}["steady"]


def test_the_command_and_its_status(old: Path, new: Path) -> None:
    assert zoobench_here("diff", old, new, "--fail-on-regression").returncode == 0
    again("strong", outcome(0.9, seed=1)).store(new)
    assert zoobench_here("diff", old, new).returncode == 0
    done = zoobench_here("diff", old, new, "--fail-on-regression", "--format", "md")
    assert done.returncode == 1
    assert done.stdout.startswith("### What changed from ")
    assert "| made-up | strong | F1 macro | 0.8" in done.stdout
    told = json.loads(zoobench_here("diff", old, new, "--format", "json").stdout)
    assert (told["regressions"], told["changed"][0]["verdict"]) == (1, "worse")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nowhere", "old"), "results folder nowhere does not exist"),
        (("old", "old", "--metric", "f1"), "unknown metric 'f1'"),
        (("old", "old", "--format", "csv"), "unknown format 'csv'"),
        (("old", "old", "--tolerance", "0"), "--tolerance 0 must be more than 1"),
        (("old",), "Missing argument 'NEW'"),
    ],
)
def test_bad_input_is_one_line(old: Path, words: tuple[str, ...], message: str) -> None:
    done = zoobench_here("diff", *words, cwd=old.parent)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_body_of_a_pull_request_is_short_and_its_names_are_no_marks(tmp_path: Path) -> None:
    changed = [
        Changed("t", f"<b>|m{n}|", "here", "f1_macro", 0.5, 0.5, None, "no resamples") for n in range(LISTED + 900)
    ]
    found = Diff(tuple(changed), (), (), (), (), (), 0, 0, ())
    body = as_markdown(as_page(found, "old", "new", 1.5))
    assert f"the first {LISTED} of {LISTED + 900}" in body
    assert len(body) < 60_000
    assert "<b>" not in body
    assert len(as_json(found, "old", "new")["changed"]) == LISTED + 900
    with pytest.raises(ValueError, match="tested, or it is said why not"):
        Changed("t", "m", "here", "f1_macro", 0.5, 0.5, None)


def test_what_a_record_says_is_a_line_of_a_table_and_moves_no_cursor(old: Path, new: Path) -> None:
    changes = {"reason": f"ValueError: \x1b[2Jgone\nmore {300 * 'a'}", "hardware_class": "a\x1b[2Jcpu"}
    Cell("strong", None, created=LATER, changes=changes).store(new)
    told = as_text(as_page(compare_folders(old, new), "old", "new", 1.5), 300)
    assert "a [2Jcpu" in told
    assert "ValueError: [2Jgone more aaa" in told
    assert "\x1b" not in told
    assert 200 * "a" not in told


def test_the_json_is_described(old: Path, new: Path) -> None:
    again("strong", outcome(0.9, seed=1), times=3).store(new)
    again("steady", None).store(new)
    Cell("fresh", WEAK).store(new)
    told = as_json(compare_folders(old, new), "old", "new")
    readme = (Path(__file__).parents[1] / "leaderboard" / "README.md").read_text()
    section = readme[readme.index("## What moved") :].split("\n## ")[0]
    fields = {*told, *told["changed"][0], *told["costs"][0], *told["failing"][0], *told["added"][0]}
    assert [name for name in sorted(fields) if f"`{name}`" not in section] == []
