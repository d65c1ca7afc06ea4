"""Learning curves: power laws, what more rows would bring, their table and page, and what they must not touch."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from zoobench.benchmarks.predict import best_cell
from zoobench.benchmarks.store import Results, read_record
from zoobench.datasets.support.errors import UserError
from zoobench.leaderboard import board
from zoobench.leaderboard.curves import load_curves
from zoobench.leaderboard.curves_page import check_picture, write_curves
from zoobench.leaderboard.curves_tables import COLUMNS, as_frame, render_curves
from zoobench.leaderboard.power_law import fit_replicates, fit_score, fit_seconds, resample_seeds
from zoobench.leaderboard.tables import FORMATS

from .conftest import zoobench, zoobench_here
from .records import STRONG, Cell

COMMITTED = Path(__file__).parents[1] / "leaderboard" / "results"
ROWS = np.array([500.0, 1250.0, 2500.0, 5000.0])


def test_a_known_law_is_recovered() -> None:
    ahead = np.array([10_000.0, 50_000.0])
    law = fit_score(ROWS, 0.62 - 3 * ROWS**-0.4, higher_is_better=True)
    assert law is not None
    assert (law.ceiling, law.scale * law.unit**law.exponent, law.exponent) == pytest.approx((0.62, 3, 0.4), rel=1e-3)
    assert law(ahead) == pytest.approx(0.62 - 3 * ahead**-0.4, abs=1e-5)
    assert str(law) == "0.620 - 3 n^-0.4"
    down = fit_score(ROWS, 0.1 + 3 * ROWS**-0.4, higher_is_better=False)
    assert down is not None
    assert down(ahead) == pytest.approx(0.1 + 3 * ahead**-0.4, abs=1e-5)
    assert str(down) == "0.100 + 3 n^-0.4"
    steep = fit_score(ROWS, np.log(ROWS) / 9, higher_is_better=True)
    assert steep is not None
    assert steep(np.array([1e12]))[0] <= 1, "no score passes 1"
    cost = fit_seconds(ROWS, 2e-4 * ROWS**1.2)
    assert cost is not None
    assert (cost.scale, cost.exponent) == pytest.approx((2e-4, 1.2))


def test_resamples_are_fitted_as_one_curve_is() -> None:
    scores = 0.62 - 3 * ROWS**-0.4 + np.random.default_rng(0).normal(0, 0.01, (40, 4))
    ahead = np.array([10_000.0, 50_000.0])
    one_by_one = np.array([fit_score(ROWS, each, higher_is_better=True)(ahead) for each in scores])  # type: ignore[misc]
    assert fit_replicates(ROWS, scores, ahead, higher_is_better=True) == pytest.approx(one_by_one, abs=3e-3)
    upside = fit_replicates(ROWS, 1 - scores, ahead, higher_is_better=False)
    assert upside == pytest.approx(1 - one_by_one, abs=3e-3)
    scores[3, 1] = np.nan
    assert np.isnan(fit_replicates(ROWS, scores, ahead, higher_is_better=True)).all(axis=1).tolist() == [
        place == 3 for place in range(40)
    ]


def test_intervals_cover_what_they_are_of() -> None:
    rng, truth = np.random.default_rng(2), 0.62 - 3 * ROWS**-0.4
    ahead = np.array([10_000.0])
    hits = 0
    for _ in range(80):
        scores = truth + rng.normal(0, 0.006, 4)
        found = fit_replicates(ROWS, scores + rng.normal(0, 0.006, (200, 4)), ahead, higher_is_better=True)
        low, high = np.quantile(found, [0.025, 0.975])
        hits += low <= 0.62 - 3 * 10_000**-0.4 <= high
    assert 70 <= hits <= 80
    hits = 0
    for _ in range(400):
        law = fit_seconds(np.tile(ROWS, 2), 2e-4 * np.tile(ROWS, 2) ** 1.2 * np.exp(rng.normal(0, 0.2, 8)))
        assert law is not None
        low, high = law.interval(ahead)[0]
        hits += low <= 2e-4 * ahead[0] ** 1.2 * np.exp(rng.normal(0, 0.2)) <= high
    assert 0.92 <= hits / 400 <= 0.98, "Student's t is exact here"


def test_resamples_pair_over_points_and_seeds() -> None:
    """A resample takes the same test rows and the same seeds at every point."""
    noise = np.random.default_rng(3).normal(size=50)
    points = [{seed: level + 10 * seed + noise for seed in (0, 1)} for level in (1.0, 4.0)]
    drawn = resample_seeds(points, np.random.default_rng(0), 300)
    assert drawn is not None
    assert drawn[:, 1] - drawn[:, 0] == pytest.approx(np.full(300, 3.0))
    means = {int(np.argmin(np.abs(value - 1 - np.array([0.0, 5.0, 10.0])))) for value in drawn[:, 0]}
    assert means == {0, 1, 2}, "seeds are drawn too: one of the two alone, or both"
    assert resample_seeds([{0: noise}, {}], np.random.default_rng(0), 5) is None
    assert resample_seeds([{0: noise}, {0: noise[:-1]}], np.random.default_rng(0), 5) is None


def store_curve(root: Path, model: str, scores: dict[float, float], seeds: tuple[int, ...] = (0, 1), **changes) -> None:
    """Store records of a curve: 4,000 training rows, and the scores given with a little noise."""
    noise = np.random.default_rng(1).normal(0, 0.004, 200)
    for (part, score), seed in itertools.product(scores.items(), seeds):
        value = score + 0.002 * seed
        both = {"f1_macro": value, "f1_micro": value}
        found = dataclasses.replace(STRONG, values=STRONG.values | both, replicates={"f1_macro": value + noise})
        more = {"fraction": part, "rows": {"train": int(4000 * part), "validation": 60, "test": 120}}
        more["timings"] = {"fit": 0.001 * 4000 * part, "predict": 0.1}
        Cell(model, found, seed=seed, changes=more | changes).store(root)


LAW = {part: 0.7 - 5 * (4000 * part) ** -0.5 for part in (0.1, 0.25, 0.5, 1.0)}


def test_a_curve_of_records_says_what_more_rows_bring(tmp_path: Path) -> None:
    store_curve(tmp_path / "r", "grows", LAW)
    store_curve(tmp_path / "r", "stays", dict.fromkeys(LAW, 0.5))
    store_curve(tmp_path / "r", "short", {0.5: 0.4, 1.0: 0.45})
    store_curve(tmp_path / "r", "plain", {1.0: 0.9})
    Cell("grows", None, seed=2, changes={"fraction": 0.1}).store(tmp_path / "r")
    found = load_curves(tmp_path / "r")
    curves = {curve.name: curve for curve in found.curves}
    assert list(curves) == ["grows", "stays", "short"], "best first; a model without parts has no curve"
    grows = curves["grows"]
    assert [point.rows for point in grows.points] == [400, 1000, 2000, 4000]
    for each in grows.ahead:
        assert each.low < 0.701 - 5 * each.rows**-0.5 < each.high
        assert each.value == pytest.approx(0.701 - 5 * each.rows**-0.5, abs=1e-3)
        assert each.seconds == pytest.approx(0.001 * each.rows)
    assert [each.rows for each in grows.ahead] == [8000, 40000]
    assert grows.failures == ("fraction 0.1, seed 2 failed: ValueError: no rows left",)
    assert curves["stays"].law is None
    assert "more rows have not made it better" in curves["stays"].remark
    assert curves["short"].remark == "2 fractions measured: a curve takes 3 or more"
    assert curves["short"].ahead == ()
    text = render_curves(found, "table", 100)
    assert "~8,000" in text
    assert "extrapolated, not measured" in text
    assert "score = 0.701 - 5 n^-0.5; seconds = 0.001 n^1.00" in text
    assert "Did not finish: grows, fraction 0.1, seed 2 failed" in text
    assert max(map(len, text.splitlines())) <= 100
    assert "plain" not in text
    narrow = render_curves(found, "table", 76)
    assert "Not shown at this width: 0.25" in narrow
    assert max(map(len, narrow.splitlines())) <= 76


def test_the_order_of_records_does_not_matter(tmp_path: Path) -> None:
    store_curve(tmp_path / "one", "grows", LAW)
    store_curve(tmp_path / "one", "also", LAW)
    store_curve(tmp_path / "two", "also", dict(reversed(LAW.items())), seeds=(1, 0))
    store_curve(tmp_path / "two", "grows", dict(reversed(LAW.items())), seeds=(1, 0))
    one, two = (as_frame(load_curves(tmp_path / name)) for name in ("one", "two"))
    assert one.equals(two)
    assert list(one.columns) == COLUMNS


def test_a_curve_is_of_one_setup_and_of_the_metric_asked_for(tmp_path: Path) -> None:
    store_curve(tmp_path, "model", LAW)
    later = {"source_sha256": "e" * 64, "created": "2025-02-01T00:00:00Z"}
    for seed in (0, 1):
        Cell("model", STRONG, seed=seed, changes=later | {"fraction": 0.5}).store(tmp_path)
    found = load_curves(tmp_path)
    assert found.superseded == 8
    assert [point.fraction for point in found.curves[0].points] == [0.5]
    assert "8 records of earlier code or settings are not shown" in render_curves(found, "table")
    lower = load_curves(tmp_path, sort="hamming_loss").curves[0]
    assert lower.card["metric"] == "hamming_loss"
    with pytest.raises(UserError, match="unknown metric"):
        load_curves(tmp_path, sort="f1_mega")
    with pytest.raises(UserError, match="task 'elsewhere' has no record"):
        load_curves(tmp_path, task="elsewhere")


def test_boards_show_no_part(tmp_path: Path) -> None:
    store_curve(tmp_path, "grows", {1.0: 0.5}, seeds=(0,))
    Cell("strong", STRONG).store(tmp_path)
    before = board(results=tmp_path)
    store_curve(tmp_path, "grows", {0.1: 0.99, 0.5: 0.999}, seeds=(0, 1))
    assert board(results=tmp_path).equals(before)
    store_curve(tmp_path, "strong", {0.5: 1.0}, task="other")
    with pytest.raises(UserError, match="other has records of parts of the training rows alone: show them by --curves"):
        board("other", results=tmp_path)


@pytest.mark.parametrize("style", FORMATS)
def test_every_format_marks_what_is_extrapolated(tmp_path: Path, style: str) -> None:
    store_curve(tmp_path, "grows", LAW)
    text = render_curves(load_curves(tmp_path), style)
    if style == "json":
        rows = json.loads(text)
        assert [row["extrapolated"] for row in rows] == [False] * 4 + [True] * 2
        assert list(rows[0]) == COLUMNS
    else:
        assert ("True" if style == "csv" else "~0.6") in text.replace("\\", "")


def test_the_page_loads_nothing_and_dashes_what_is_extrapolated(tmp_path: Path) -> None:
    store_curve(tmp_path / "r", "grows", LAW)
    store_curve(tmp_path / "r", "stays", dict.fromkeys(LAW, 0.5))
    found = load_curves(tmp_path / "r")
    write_curves(tmp_path / "c.html", found)
    page = (tmp_path / "c.html").read_text()
    drawn = re.findall(r'"dash": ?"(dash|solid)"', page)
    assert drawn.count("dash") == drawn.count("solid") == 3, "scores of one model, seconds of two"
    assert "training rows (logarithmic)" in page
    assert "more rows have not made it better" in page
    assert "<script src" not in page
    for name, message in (("c.png", "ends in .html"), ("no/c.html", "not there"), ("r", "ends in .html")):
        with pytest.raises(UserError, match=message):
            check_picture(tmp_path / name)


def test_curves_from_the_command_line(tmp_path: Path, tiny: Path) -> None:
    results = tmp_path / "r"
    words = ("run", "--plugin", tiny, "--task", "tiny", "--model", "tfidf-logreg", "--results", results, "--jobs", "2")
    done = zoobench(*words, "--fractions", "0.1,0.4")
    assert done.returncode == 0, done.stderr
    assert "2 fractions measured: a curve takes 3 or more" in done.stdout
    with pytest.raises(UserError, match="run `zoobench run --task tiny --model tfidf-logreg` first"):
        best_cell("tiny", "tfidf-logreg", results, [tiny])
    with pytest.raises(UserError, match="records of parts of the training rows alone"):
        board(results=results)
    before = {path: path.read_text() for path in Results(results).record_paths()}
    lost = next(iter(before))
    shutil.rmtree(lost.parent)
    done = zoobench(*words, "--fractions", "0.1,0.2,0.4,1")
    assert done.returncode == 0, done.stderr
    assert "3 cells to run, 1 recorded already" in done.stderr
    assert all(path.read_text() == text for path, text in before.items() if path != lost)
    assert len({read_record(path).threads for path in Results(results).record_paths()}) == 1
    assert "are not shown" not in done.stdout, "what was resumed ran as what stood"
    assert "training rows" in done.stdout
    shown = zoobench("board", "--curves", "--format", "json", "--results", results, "--picture", tmp_path / "c.html")
    rows = json.loads(shown.stdout)
    assert [row["fraction"] for row in rows[:4]] == [0.1, 0.2, 0.4, 1]
    assert (tmp_path / "c.html").stat().st_size > 1_000_000
    full = board(results=results)
    assert full[["model", "seeds", "value"]].to_numpy().tolist() == [["tfidf-logreg", "1", rows[3]["value"]]]
    assert best_cell("tiny", "tfidf-logreg", results, [tiny]).record.fraction == 1
    again = zoobench(*words, "--fractions", "0.4", "--fresh")
    assert "1 cell to run" in again.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "--fractions", "0.5,2"), "--fractions 0.5,2: 2 is not a part of the training rows"),
        (("run", "--fractions", ""), "a number is missing"),
        (("run", "--fractions", "0.001", "--task", "tiny"), "fraction 0.001 of tiny is 0 of 168 training rows"),
        (("board", "--curves", "--results", "nowhere"), "results folder nowhere does not exist"),
        (("board", "--picture", "c.html", "--results", "nowhere"), "--picture draws one --task"),
        (("board", "--curves", "--picture", "c.png", "--results", "nowhere"), "name a file that ends in .html"),
        (("board", "--curves", "--results", "COMMITTED", "--task", "litcoin-novelty"), "no learning curve of litcoin"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_status_2(words: tuple[str, ...], message: str, tmp_path: Path, tiny: Path) -> None:
    if "COMMITTED" in words:
        shutil.copytree(COMMITTED / "cells" / "litcoin-novelty", tmp_path / "c" / "cells" / "litcoin-novelty")
    given = [str(tmp_path / "c") if word == "COMMITTED" else word for word in words]
    more = ("--plugin", tiny, "--results", tmp_path / "r") if words[0] == "run" else ()
    done = zoobench_here(*given, *more, cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not list((tmp_path / "r").rglob("record.json"))
