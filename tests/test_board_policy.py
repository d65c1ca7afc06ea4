"""The board under another threshold policy than the records' own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from zoobench.benchmarks.store import Results, read_record
from zoobench.datasets.support.errors import UserError
from zoobench.leaderboard import board
from zoobench.leaderboard.tables import render

from .conftest import zoobench
from .records import STRONG, WEAK, Cell, outcome

COMMITTED = Path(__file__).parents[1] / "leaderboard" / "results"


def both(found: Any, f1: float, auc: float = 0.9) -> dict[str, Any]:
    """The scores of a record under `global`, its own, and under `youden`, with no interval."""
    own = {"values": found.values | {"roc_auc_macro": auc}, "intervals": found.intervals()}
    return {"policy": "global", "test": {"global": own, "youden": {"values": found.values | {"f1_macro": f1}}}}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Two models that change places under `youden`, one whose record is older than that policy, and one that failed."""
    Cell("strong", STRONG, changes=both(STRONG, 0.1)).store(tmp_path)
    Cell("weak", WEAK, changes=both(WEAK, 0.2)).store(tmp_path)
    Cell("older", WEAK, changes={"policy": "global", "test": {"global": both(WEAK, 0)["test"]["global"]}}).store(
        tmp_path
    )
    Cell("broken").store(tmp_path)
    return tmp_path


def rows(results: Path, **options: str) -> pd.DataFrame:
    return board(results=results, **options).set_index("model")


def test_another_policy_ranks_anew_and_claims_no_interval_and_no_tie(results: Path) -> None:
    own, found = rows(results), rows(results, policy="youden")
    assert own["rank"].dropna().to_dict() == {"strong": 1, "weak": 2, "older": 2}
    assert own.loc["strong", "low"] < own.loc["strong", "value"]
    assert found.index.tolist() == ["weak", "strong", "older", "broken"]
    assert found["rank"].dropna().to_dict() == {"weak": 1, "strong": 2}
    assert found["value"].dropna().tolist() == [0.2, 0.1]
    assert found[["low", "high"]].isna().all(axis=None)
    assert pd.isna(found.loc["strong", "tied"])
    assert set(found.loc[["weak", "strong", "older"], "policy"]) == {"youden"}
    pd.testing.assert_frame_equal(rows(results), own)


def test_what_needs_no_decision_is_known_under_every_policy(results: Path) -> None:
    found = rows(results, policy="youden", sort="roc_auc_macro")
    assert found.loc["older", "value"] == 0.9
    text = render(board(results=results, policy="youden"))
    assert "Decided by youden: no figure of records made before that policy" in text
    assert "older" in text
    assert "Decided by" not in render(board(results=results))


def test_seeds_pooled_under_another_policy_have_no_interval(tmp_path: Path) -> None:
    for seed in range(2):
        Cell("model", each := outcome(0.8, seed=seed), seed=seed, changes=both(each, 0.2 + seed / 10)).store(tmp_path)
    row = rows(tmp_path, policy="youden").loc["model"]
    assert row["value"] == pytest.approx(0.25)
    assert pd.isna(row["low"])
    assert rows(tmp_path).loc["model", "low"] < rows(tmp_path).loc["model", "value"]


def test_a_task_without_the_policy_keeps_its_own(tmp_path: Path) -> None:
    found = outcome(1.0, kind="multiclass")
    test = {"argmax": {"values": found.values, "intervals": found.intervals()}}
    Cell("topics", found, changes={"policy": "argmax", "test": test}).store(tmp_path)
    pd.testing.assert_frame_equal(rows(tmp_path, policy="youden"), rows(tmp_path))


def test_an_unknown_policy_is_named(results: Path) -> None:
    with pytest.raises(UserError, match=r"unknown threshold policy .yuden.*youden"):
        board(results=results, policy="yuden")
    done = zoobench("board", "--results", results, "--policy", "../x")
    assert done.returncode == 2
    assert "unknown threshold policy" in done.stderr


def test_the_committed_records_are_read_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "cells").mkdir()
    (tmp_path / "cells" / "openi-reports").symlink_to(COMMITTED / "cells" / "openi-reports")
    own, found = (
        rows(tmp_path, **asked).set_index(["hardware", "mode"], append=True).sort_index()
        for asked in ({}, {"policy": "dynamic"})
    )
    assert own["value"].notna().equals(own["status"] == "ok")
    own, found = own[own["status"] == "ok"], found[found["status"] == "ok"]
    assert set(found["policy"]) == {"dynamic"}
    thresholded = found["ranked_by"].iloc[0].startswith("f1")
    # A record of before the policy has no score under it; what needs no threshold has one all the same.
    kept = [read_record(path) for path in Results(tmp_path).record_paths()]
    kept = [record for record in kept if record.test and "dynamic" not in record.test]
    older = {(record.model, record.hardware_class, record.mode) for record in kept}
    assert set(found.index[found["value"].isna()]) == (older if thresholded else set())
    pd.testing.assert_series_equal(found["roc_auc_macro"], own["roc_auc_macro"])
