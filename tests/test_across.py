"""Models over tasks: ranks, intervals and tests against scipy, scikit-posthocs and cases worked by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from typer.testing import CliRunner
from zoobench.datasets.support.errors import UnavailableError, UserError
from zoobench.leaderboard import across, board, critical_difference
from zoobench.leaderboard.across import rank_across
from zoobench.leaderboard.across_cli import page
from zoobench.leaderboard.cli import app
from zoobench.leaderboard.sheets import as_markdown, as_text

from .records import Cell, outcome

SKILLS = {"good": 1.5, "fair": 0.9, "poor": 0.2}
BETTER = np.array([True, False, True])


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three models on three tasks, a fourth on one of them, and a protocol of one task."""
    root = tmp_path_factory.mktemp("results")
    for number, task in enumerate(("ants", "bees", "cows")):
        for name, skill in SKILLS.items():
            Cell(name, outcome(skill, seed=number), task).store(root)
    Cell("stray", outcome(0.5), "ants").store(root)
    Cell("good", outcome(0.1), "ants", "leaky").store(root)
    return root


def values(tasks: int = 3, entrants: int = 5) -> np.ndarray:
    return np.random.default_rng(tasks).integers(0, 8, (tasks, entrants)) / 8  # many ties


def ranked(found: np.ndarray, names: list[str] | None = None) -> across.Across:
    names = names or [f"m{number}" for number in range(found.shape[1])]
    return across._ranked([f"t{n}" for n in range(len(found))], ["f1_macro"] * len(found), names, found)


def test_ranks_are_those_of_scipy_and_add_up() -> None:
    found = values()
    ranks = across.mean_ranks(found, BETTER)
    for row, line, higher in zip(found, ranks, BETTER, strict=True):
        np.testing.assert_array_equal(line, stats.rankdata(-row if higher else row))
    assert ranks.sum(axis=1).tolist() == [15.0] * 3  # k (k + 1) / 2


def test_win_rates_by_hand() -> None:
    found = values()
    rates = across.win_rates(across.mean_ranks(found, np.ones(3, dtype=bool)))
    for mine, rate in enumerate(rates):
        others = [other for other in range(5) if other != mine]
        won = sum((row[mine] > row[other]) + (row[mine] == row[other]) / 2 for row in found for other in others)
        assert rate == pytest.approx(won / (3 * 4))
    assert rates.mean() == pytest.approx(0.5)


def test_intervals_are_those_of_scipy() -> None:
    ranks = across.mean_ranks(values(12), np.ones(12, dtype=bool))
    low, high = across.rank_intervals(ranks)
    for column, bounds in zip(ranks.T, zip(low, high, strict=True), strict=True):
        drawn = stats.bootstrap(
            (column,), np.mean, method="percentile", n_resamples=10_000, rng=np.random.default_rng(1)
        ).confidence_interval
        assert bounds == pytest.approx(tuple(drawn), abs=0.1)


def test_friedman_is_that_of_scipy_and_of_the_values_themselves() -> None:
    found = values(9)
    ranks = across.mean_ranks(found, np.ones(9, dtype=bool))
    assert across.friedman(ranks) == pytest.approx(stats.friedmanchisquare(*found.T).pvalue)
    assert across.friedman(ranks[:, :2]) is None
    assert across.friedman(np.full((4, 3), 2.0)) == 1


def test_the_critical_difference_is_that_of_the_published_table() -> None:
    """Demšar 2006, table 5(a): the 0.05 values for 2 to 10 classifiers."""
    table = [1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164]
    for entrants, quantile in enumerate(table, 2):
        expected = quantile * np.sqrt(entrants * (entrants + 1) / (6 * 14))
        assert critical_difference.critical_difference(entrants, 14) == pytest.approx(expected, abs=1e-3)


def test_the_order_of_tasks_and_of_models_does_not_matter() -> None:
    found, names = values(6), list("abcde")
    one, two = ranked(found, names), ranked(found[::-1, [3, 1, 4, 0, 2]], [names[n] for n in (3, 1, 4, 0, 2)])
    assert one.names == two.names
    np.testing.assert_allclose(one.mean_rank, two.mean_rank)
    np.testing.assert_allclose(one.win_rate, two.win_rate)
    assert one.friedman_p == pytest.approx(two.friedman_p)
    assert (np.diff(one.mean_rank) >= 0).all()


def test_only_what_all_tasks_have_is_ranked(results: Path) -> None:
    found = rank_across(board(results=results))
    assert found.tasks == ("ants", "bees", "cows")
    assert found.names == ("good", "fair", "poor")
    assert found.mean_rank.tolist() == [1, 2, 3]
    assert found.win_rate.tolist() == [1, 0.5, 0]
    assert found.lacking == {"stray": ("bees", "cows")}
    assert found.left_out == ("ants@leaky is left out, being made of the data of ants: choose tasks by --task",)
    shown = board("bees", results=results).set_index("model")["value"]
    assert found.values[1].tolist() == shown[list(found.names)].tolist()
    text = as_text(page(found), width=100)
    assert "good   1.00 [1.00, 1.00]      1.00      3   1   1   1" in text
    assert "stray       bees, cows" in text
    assert "3 tasks are few" in text
    assert "| good | 1.00 \\[1.00, 1.00\\] | 1.00 |" in as_markdown(page(found))


def test_a_metric_of_which_less_is_better(results: Path) -> None:
    found = rank_across(board(results=results, sort="hamming_loss"), ["bees", "cows"])
    assert found.names[0] == "good"
    assert found.metrics == ("hamming_loss", "hamming_loss")
    assert found.lacking == {}


def test_modes_presets_and_settings_are_entrants_of_their_own(tmp_path: Path) -> None:
    for task in ("ants", "bees"):
        for number, changes in enumerate(({}, {"mode": "tuned"}, {"preset": "big"}, {"settings": {"C": 5.0}})):
            Cell("one", outcome(0.2 + number / 2), task, changes=changes).store(tmp_path)
        Cell("one", outcome(3.0), task, hardware="Other CPU", created="2025-02-01T00:00:00Z").store(tmp_path)
    found = rank_across(board(results=tmp_path))
    assert set(found.names) == {"one", "one, tuned", "one@big", "one (C=5.0)"}
    assert found.names[0] == "one"  # the newest measurement, on the other machine


def test_of_several_data_of_a_task_the_newest_counts(tmp_path: Path) -> None:
    for task in ("ants", "bees"):
        for name, skill in SKILLS.items():
            Cell(name, outcome(skill), task).store(tmp_path)
    new = {"data_fingerprint": "9" * 64}
    for name, skill in (("good", 0.1), ("fair", 0.9)):
        Cell(name, outcome(skill), "ants", created="2026-01-01T00:00:00Z", changes=new).store(tmp_path)
    found = rank_across(board(results=tmp_path))
    assert found.lacking == {"poor": ("ants",)}
    assert "3 rows of ants are of other data or folds than the newest" in found.left_out[0]


def test_formats(results: Path) -> None:
    common = ["board", "--across", "--results", str(results)]
    rows = json.loads(CliRunner().invoke(app, [*common, "--format", "json"]).stdout)
    assert [row["model"] for row in rows] == ["good", "fair", "poor", "stray"]
    assert (rows[0]["tasks"], rows[3]["tasks"], rows[3]["mean_rank"], rows[3]["lacks"]) == (3, 1, None, "bees;cows")
    done = CliRunner().invoke(app, [*common, "--format", "csv", "--task", "ants", "--task", "bees"])
    assert (
        done.stdout.splitlines()[0]
        == "model,mean_rank,low,high,win_rate,tasks,lacks,rank:ants,rank:bees,f1_macro:ants,f1_macro:bees"
    )
    both = CliRunner().invoke(app, ["board", "--results", str(results), "--task", "ants", "--task", "bees"])
    assert "ants (multilabel" in both.stdout
    assert "bees (multilabel" in both.stdout
    assert "cows" not in both.stdout


@pytest.mark.parametrize("suffix", [".svg", ".png", ".html"])
def test_the_diagram_is_drawn_alike_each_time(tmp_path: Path, results: Path, suffix: str) -> None:
    pytest.importorskip("scikit_posthocs")
    found = rank_across(board(results=results))
    paths = [tmp_path / f"{number}{suffix}" for number in range(2)]
    for path in paths:
        critical_difference.check_picture(path)
        critical_difference.write_picture(path, found, ["a <note>"])
    one, two = (path.read_bytes() for path in paths)
    assert one == two
    if suffix == ".png":
        assert one.startswith(b"\x89PNG")
    else:
        assert all(name.encode() in one for name in found.names)
    assert (b"a &lt;note&gt;" in one) == (suffix == ".html")


def test_bars_join_what_nemenyi_cannot_tell_apart() -> None:
    posthocs = pytest.importorskip("scikit_posthocs")
    names = ["a", "b", "c", "d"]
    # Twenty tasks: a is before b on twelve of them, c before d on twelve, and the two pairs are far apart.
    found = ranked(np.array([[4, 3, 2, 1]] * 12 + [[3, 4, 1, 2]] * 8) / 4, names)
    apart = posthocs.posthoc_nemenyi_friedman(pd.DataFrame(found.ranks, columns=found.names))
    assert apart.loc["a", "b"] > 0.05 > apart.loc["b", "c"]
    lines = [line.get_xydata() for line in critical_difference.draw(found).axes[0].lines]
    level = {tuple(sorted(line[:, 0].round(6))) for line in lines if len(line) == 2 and line[0, 1] == line[1, 1]}
    assert {(1.4, 1.6), (3.4, 3.6)} <= level
    assert not [bar for bar in level if min(bar) in {1.4, 1.6} and max(bar) in {3.4, 3.6}]


def test_too_little_is_refused(results: Path, tmp_path: Path) -> None:
    frame = board(results=results)
    with pytest.raises(UserError, match="over two tasks or more, and there is 1: ants"):
        rank_across(frame, ["ants"])
    with pytest.raises(
        UserError, match="task 'dogs' has no record here; tasks that have: ants, ants@leaky, bees, cows"
    ):
        rank_across(frame, ["ants", "dogs"])
    alone = frame[(frame["model"] == "good") | (frame["task"] == "ants")]
    with pytest.raises(
        UserError, match="two models or more, and 1 of 4 have a figure on all of ants, bees, cows: fair lacks"
    ):
        rank_across(alone)
    two = rank_across(frame[frame["model"] != "poor"])
    with pytest.raises(UserError, match="needs 3 models on all tasks, and there are 2: good, fair"):
        critical_difference.write_picture(tmp_path / "p.svg", two, [])
    assert not list(tmp_path.iterdir())


def test_pictures_that_cannot_be_are_refused(tmp_path: Path, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path, message in (("p.gif", "must end in .html, .svg, .png"), ("no/p.svg", "its folder is not there")):
        with pytest.raises(UserError, match=message):
            critical_difference.check_picture(tmp_path / path)
    with pytest.raises(UserError, match="--picture draws one --task"):
        CliRunner().invoke(app, ["board", "--results", str(results), "--picture", "p.svg"], catch_exceptions=False)
    monkeypatch.setattr(critical_difference, "_NEEDS", ("scikit_posthocs_of_nobody",))
    with pytest.raises(UnavailableError, match=r"needs scikit_posthocs_of_nobody: pip install 'zoobench\[stats\]'"):
        critical_difference.check_picture(tmp_path / "p.svg")


def test_the_performance_script_runs_whole() -> None:
    """Its figures are for quiet machines, its lines for every suite."""
    script = Path(__file__).parent / "performance" / "comparison.py"
    done = subprocess.run([sys.executable, str(script), "--quick"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert lines[0] == "python tests/performance/comparison.py --quick"
    assert [line[:1] for line in lines[2:]] == ["a", "b"]
    assert "3 models x 1,000 resamples on 200 x 24, 22 metrics" in lines[2]
