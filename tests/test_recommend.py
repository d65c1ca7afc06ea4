"""`zoobench recommend`: what a budget leaves, what is estimated and how wrong that is, and what is said of it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zoobench.datasets.support.errors import UserError
from zoobench.leaderboard import board, elsewhere, rank
from zoobench.leaderboard.recommend import COSTS, FRONT_COSTS, Budget, Candidate, Choice, choose
from zoobench.leaderboard.recommend_data import Question, ask
from zoobench.leaderboard.recommend_tables import Answer, as_json, as_page
from zoobench.leaderboard.resampled import APART, TIED, UNKNOWN, tied_pairs
from zoobench.leaderboard.sheets import as_text
from zoobench.leaderboard.site.core import read_site
from zoobench.leaderboard.site.recommend_form import form

from .conftest import zoobench_here
from .records import STRONG, WEAK, Cell, outcome

SLOW, FAST = "Test CPU, 2 cores", "fast-cpu-16c-64g"
CALIBRATIONS = {SLOW: (80.0, 5.0), FAST: (320.0, 20.0)}
CLOSE = outcome(1.45, seed=3)

cost = st.one_of(st.none(), st.integers(1, 5).map(float))
candidate = st.tuples(st.integers(1, 4), cost, cost, cost, cost, st.booleans())
limit = st.one_of(st.none(), st.integers(1, 5).map(float))


def candidates(drawn: list[tuple[Any, ...]]) -> list[Candidate]:
    ordered = sorted(drawn, key=lambda each: each[0])
    return [
        Candidate(place, each[0], tuple(each[1:5]), barred="seen" if each[5] and each[0] == 1 else "")
        for place, each in enumerate(ordered)
    ]


@settings(max_examples=200, deadline=None)
@given(st.lists(candidate, min_size=1, max_size=7), st.tuples(limit, limit, limit, limit), st.integers(0, 99))
def test_a_choice_is_what_its_words_say(drawn: list[Any], limits: tuple[float | None, ...], seed: int) -> None:
    """Against the definitions, read out one by one."""
    found = candidates(drawn)
    draw = np.random.default_rng(seed).integers(-1, 2, (len(found), len(found)))
    pairs = np.triu(draw, 1) + np.triu(draw, 1).T + np.eye(len(found), dtype=int)
    budget = Budget(*limits)
    choice = choose(found, pairs, budget)

    def affordable(each: Candidate) -> bool:
        sides = zip(each.costs, limits, strict=True)
        return all(most is None or (cost is not None and cost <= most) for cost, most in sides)

    free = [place for place, each in enumerate(found) if not each.barred]
    within = [place for place in free if affordable(found[place])]
    assert choice.best == (within[0] if within else None)
    assert all(found[place].rank >= found[within[0]].rank for place in within)
    tied = {place for place in within if place == choice.best or pairs[place, within[0]] == TIED}
    assert set(choice.recommended) == tied
    latencies = [found[place].cost("latency_ms") for place in choice.recommended]
    assert latencies == sorted(latencies)
    assert set(choice.untold) == {p for p in within if p != choice.best and pairs[p, within[0]] == UNKNOWN}
    assert {each.place for each in choice.excluded} == set(free) - set(within)
    for each in choice.excluded:
        assert [name for name, _ in each.over] == [
            name
            for name, most in budget.limits.items()
            if (known := found[each.place].costs[COSTS.index(name)]) is None or known > most
        ]
    assert set(choice.barred) == set(range(len(found))) - set(free)
    assert set(choice.front) == {p for p in within if not any(dominates(found[o], found[p]) for o in within)}
    relaxed(found, choice, budget)


def dominates(one: Candidate, other: Candidate) -> bool:
    costs = [(one.cost(name), other.cost(name)) for name in FRONT_COSTS] + [(one.rank, other.rank)]
    return all(a <= b for a, b in costs) and any(a < b for a, b in costs)


def relaxed(found: list[Candidate], choice: Choice, budget: Budget) -> None:
    """What is named as nearest comes in once its limits are relaxed as it needs, and no smaller factor lets one in."""
    if choice.nearest is None:
        return
    raised = {**budget.limits, **dict(choice.nearest.over)}
    again = choose(found, np.eye(len(found)), Budget(**raised))
    assert choice.nearest.place not in {each.place for each in again.excluded}
    factor = max(cost / budget.limits[name] for name, cost in choice.nearest.over)
    less = {name: most * factor * (1 - 1e-9) for name, most in budget.limits.items()}
    assert choose(found, np.eye(len(found)), Budget(**less)).best is None


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.nan, math.inf])
def test_a_limit_that_is_none_is_refused(wrong: float) -> None:
    with pytest.raises(UserError, match=r"--max-train-s .* must be more than 0"):
        Budget(train_s=wrong)


def test_pairs_are_those_of_the_interval_also_where_counting_signs_is_too_close() -> None:
    rng = np.random.default_rng(0)
    samples: list[np.ndarray | None] = [rng.normal(shift, 1, 200) for shift in (0, 0.1, 1.9, 2, 2.1, 4)]
    base = np.sort(rng.normal(size=200))
    for below in range(2, 9):  # around 2.5 % of 200
        samples.append(samples[0] + base - base[below] - 1e-9)
    samples += [None, np.where(rng.random(200) < 0.3, np.nan, samples[1]), rng.normal(size=150)]
    found = tied_pairs(samples)
    states = {TIED: 0, APART: 0, UNKNOWN: 0}
    for one, mine in enumerate(samples):
        for other, theirs in enumerate(samples):
            if one == other:
                expected = TIED
            elif mine is None or theirs is None or mine.shape != theirs.shape:
                expected = UNKNOWN
            else:
                low, high = rank.difference_interval(mine, theirs)
                expected = int(rank.tied_with_best(np.array([low]), np.array([high]))[0])
            assert found[one, other] == expected, (one, other)
            states[expected] += 1
    assert min(states.values()) > 10


def made(root: Path, name: str, found: Any, hardware: str = SLOW, times: float = 1.0, **changes: Any) -> None:
    matmul, memory = CALIBRATIONS[hardware]
    cell = Cell(name, found, hardware=hardware)
    cell.changes = {"hardware": {"matmul_gflops": matmul, "memory_gb_per_s": memory}, **changes}
    if found is not None:
        told = Cell(name, found)._scored()
        told["timings"] = {part: seconds * times for part, seconds in told["timings"].items()}
        told["speed"] = {**told["speed"], "latency_p50_ms": told["speed"]["latency_p50_ms"] * times}
        cell.changes = {**told, **cell.changes}
    cell.store(root)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Strong but slow, close to it and quick, weak and quickest, one that failed."""
    root = tmp_path / "r"
    made(root, "strong", STRONG, times=10)
    made(root, "close", CLOSE, times=2)
    made(root, "weak", WEAK)
    made(root, "broken", None)
    return root


def answer(results: Path, hardware: str | None = None, metric: str | None = None, **limits: float) -> Answer:
    question = ask(results, "made-up", metric, hardware)
    budget = Budget(**limits)
    return Answer(question, budget, choose(question.candidates, question.pairs, budget))


def names(found: Answer, places: tuple[int, ...]) -> list[str]:
    return [found.names[place] for place in places]


def test_the_cheapest_of_those_that_tie_is_taken(results: Path) -> None:
    shown = board("made-up", results=results).set_index("model")
    assert shown.loc["strong", "rank"] == 1
    assert shown.loc["close", "tied"]
    assert not shown.loc["weak", "tied"]
    found = answer(results)
    assert names(found, found.choice.recommended) == ["close", "strong"]
    text = as_text(as_page(found))
    assert "Best: strong, F1 macro" in text
    assert "Take close: 1 other cannot be told from it, and of these 2 it answers the fastest." in text
    assert "broken has no figure here: failed: ValueError: no rows left" in text


def test_what_never_looks_at_its_input_is_called_a_floor(results: Path) -> None:
    floor = "never looks at its input"
    assert floor not in as_text(as_page(answer(results)))
    made(results, "dummy-uniform", CLOSE, times=0.1)
    assert floor in as_text(as_page(answer(results)))
    site = read_site(results, "2025-01-01", "0")
    (place,) = form(site, site.tables[0])["blind"]
    assert site.tables[0].rows[place]["model"] == "dummy-uniform"


def test_ties_are_with_the_best_within_the_budget(results: Path) -> None:
    """The weak one does not tie with the best of all, nor is it left out where all better ones are too slow."""
    found = answer(results, latency_ms=2.0)
    assert names(found, found.choice.recommended) == ["weak"]
    assert [found.names[each.place] for each in found.choice.excluded] == ["strong", "close"]
    text = as_text(as_page(found))
    assert "Take weak: nothing else is within the budget." in text
    assert "latency 16.0 ms (8x)" in text
    found = answer(results, latency_ms=5.0)
    assert names(found, found.choice.recommended) == ["close"]
    assert names(found, found.choice.front) == ["close", "weak"]


def test_where_nothing_fits_the_nearest_limit_is_named_and_enough(results: Path) -> None:
    words = ("recommend", "--task", "made-up", "--results", results)
    done = zoobench_here(*words, "--max-latency-ms", "1", "--max-train-s", "100")
    assert done.returncode == 1
    assert "Nothing is within latency 1 ms, training 100 s." in done.stdout
    assert "The nearest is weak: it needs --max-latency-ms 1.40 (1.4 times the limit)." in done.stdout
    done = zoobench_here(*words, "--max-latency-ms", "1.40", "--max-train-s", "100")
    assert done.returncode == 0
    told = json.loads(zoobench_here(*words, "--max-latency-ms", "1", "--json").stdout)
    assert told["best"] is None
    assert told["recommended"] == []
    assert told["nearest"]["name"] == "weak"
    assert told["nearest"]["over"] == [{"limit": "latency_ms", "at_most": 1.0, "needs": 1.4, "times": 1.4}]


def test_a_cost_that_nobody_measured_is_within_no_limit(results: Path) -> None:
    made(results, "countless", STRONG, parameters=None)
    found = answer(results, parameters=1e9)
    assert "countless" not in names(found, found.choice.recommended)
    assert "parameters not measured" in as_text(as_page(found))
    assert "countless" in names(answer(results), answer(results).choice.recommended)


def test_weights_that_saw_the_test_rows_are_never_recommended(results: Path) -> None:
    made(results, "cheat", outcome(3.0), times=0.1, overlap="encoder=x")
    found = answer(results)
    assert found.question.rows[0]["model"] == "cheat"
    assert names(found, found.choice.barred) == ["cheat"]
    assert names(found, found.choice.recommended) == ["close", "strong"]
    assert "cheat is not recommended whatever the budget: its weights were trained before" in as_text(as_page(found))


def test_a_metric_without_resamples_leaves_ties_unknown(results: Path) -> None:
    found = answer(results, metric="roc_auc_macro")
    assert len(found.choice.recommended) == 1
    assert len(found.choice.untold) == 2
    text = as_text(as_page(found))
    assert "whether 2 of the 2 others are worse beyond chance, nobody can say" in text
    assert "No resamples say whether these can be told from the best" in text


def test_lower_is_better_where_the_metric_says_so(results: Path) -> None:
    found = answer(results, metric="hamming_loss")
    assert found.question.rows[0]["model"] == "strong"
    assert "lower is better" in as_page(found).title


def test_the_schema_of_the_json_is_that_of_the_readme(results: Path) -> None:
    told = as_json(answer(results, latency_ms=5.0))
    text = (Path(__file__).parents[1] / "leaderboard" / "README.md").read_text()
    section = text[text.index("## What to take") :].split("\n## ")[0]
    fields = {*told, *told["best"], *told["excluded"][0], *told["excluded"][0]["over"][0]}
    assert [name for name in sorted(fields) if f"`{name}`" not in section] == []
    assert told["schema"] == 1
    json.dumps(told, allow_nan=False)


# Hardware that never ran a model.


@pytest.fixture
def two(results: Path) -> Path:
    """A class four times as fast by its calibrations, on which one model ran five times as fast."""
    made(results, "weak", WEAK, FAST, times=0.2)
    return results


def test_what_never_ran_there_is_estimated_and_says_how_wrong_that_is(two: Path) -> None:
    found = answer(two, FAST)
    by_name = {found.names[place]: each for place, each in enumerate(found.question.candidates)}
    assert by_name["weak"].estimated == (False,) * 4
    assert by_name["weak"].costs[0] == pytest.approx(1.4 * 0.2)
    assert by_name["strong"].estimated == (True, True, True, False)
    assert by_name["strong"].costs[0] == pytest.approx(16 / 4)  # both calibrations are four times those of the slow one
    assert by_name["strong"].costs[1:] == pytest.approx((0.016, (16 + 5) / 4, 1000))
    latency = found.question.elsewhere.conversions["latency_ms"]
    assert (latency.pairs, latency.middle, latency.worst) == (1, pytest.approx(1.25), pytest.approx(1.25))
    text = as_text(as_page(found))
    assert f"~ estimate: 2 models never ran on {FAST}; measured elsewhere, and converted" in text
    assert "wrong by a factor 1.25 (median), 1.25 at worst, on 1 pair of measurements" in " ".join(text.split())
    assert "~4.00" in text
    assert f"By an estimate: it never ran on {FAST}." in text
    told = as_json(found)
    assert told["estimates"]["latency_ms"]["pairs"] == 1
    assert {each["name"]: each["estimated"] for each in told["recommended"]}["strong"] == [
        "latency_ms",
        "memory_gb",
        "train_s",
    ]


def test_the_slow_class_is_asked_by_default_and_keeps_its_measurements(two: Path) -> None:
    found = answer(two)
    assert found.question.hardware == SLOW
    assert not any(any(each.estimated) for each in found.question.candidates)
    assert f"other hardware too: {FAST}" in " ".join(as_text(as_page(found)).split())


def test_without_a_pair_the_error_is_unknown(results: Path) -> None:
    made(results, "other", WEAK, FAST)
    found = answer(results, FAST)
    assert found.question.elsewhere.conversions["train_s"].middle is None
    assert "error unknown, for nothing ran on two classes" in " ".join(as_text(as_page(found)).split())


def test_what_failed_there_is_not_estimated(two: Path) -> None:
    made(two, "strong", None, FAST)
    found = answer(two, FAST)
    assert "strong" not in found.names
    assert "strong has no figure here: failed" in as_text(as_page(found))
    assert "strong" in answer(two).names


def test_a_time_on_a_gpu_is_not_converted(two: Path) -> None:
    made(two, "network", STRONG, SLOW, device="cuda")
    found = answer(two, FAST)
    assert "network" not in found.names
    assert f"Never measured on {FAST}, and not to be converted: network ({SLOW})" in " ".join(
        as_text(as_page(found)).split()
    )


def rows_on_two(times: dict[str, float]) -> list[dict[str, Any]]:
    """Rows of models that took 8 s on the slow class, and `times` on the fast one."""
    shared = dict.fromkeys(("task", "fingerprint", "split", "preset", "mode", "settings"), "") | {"status": "ok"}
    shared |= {"device": "cpu", "memory_gb": 1.0, "memory_gpu_gb": None, "parameters": 10, "latency_p50_ms": None}
    return [
        {**shared, "model": model, "hardware": hardware, "fit_s": seconds}
        for model, fast in times.items()
        for hardware, seconds in ((SLOW, 8.0), (FAST, fast))
    ]


def test_the_error_is_of_models_that_the_rule_was_not_chosen_by() -> None:
    """Three models keep their times, one follows the calibrations: the rule is none, and wrong for that one."""
    found = {name: elsewhere.Calibration(*each) for name, each in CALIBRATIONS.items()}
    times = {"a": 8.0, "b": 8.0, "c": 8.0, "d": 2.0}
    pairs = list(elsewhere._pairs(rows_on_two(times), found))
    told = elsewhere._conversion("train_s", pairs, found)
    assert (told.rule, told.pairs) == ("none", 4)
    assert (told.middle, told.worst) == (pytest.approx(1.0), pytest.approx(4.0))
    alone = elsewhere._conversion("train_s", pairs[:1], found)
    assert (alone.rule, alone.worst) == ("none", pytest.approx(4.0))  # left out, its rule is the first: wrong by 4
    assert elsewhere._conversion("latency_ms", pairs, found) == elsewhere.Conversion("arithmetic and memory")


def test_this_machine_may_be_one_that_no_record_is_of(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from zoobench.benchmarks import hardware

    mine = hardware.Hardware("New CPU", 8, 32, None, 160.0, 10.0)
    monkeypatch.setattr(hardware, "measure", lambda device: mine)
    done = zoobench_here("recommend", "--task", "made-up", "--results", results, "--hardware", "here", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["hardware"] == mine.class_id == "new-8c-32g"
    assert {each["name"]: each["latency_ms"] for each in told["recommended"]}["strong"] == pytest.approx(8.0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--task", "mad-up"), "task 'mad-up' has no record in"),
        (("--task", "made-up", "--max-memory-gb", "-1"), "--max-memory-gb -1 must be more than 0"),
        (("--task", "made-up", "--max-params", "nan"), "--max-params nan must be more than 0"),
        (
            ("--task", "made-up", "--hardware", "abacus"),
            f"hardware 'abacus' has no record here; classes that have: {SLOW}",
        ),
        (("--task", "made-up", "--metric", "f1"), "unknown metric 'f1'"),
        (("--task", "made-up", "--metric", "brier"), "metric 'brier' has no figure on made-up"),
        (("--max-params", "9"), "Missing option '--task'"),
    ],
)
def test_bad_input_is_one_line(results: Path, words: tuple[str, ...], message: str) -> None:
    done = zoobench_here("recommend", "--results", results, *words)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not done.stdout


def test_where_all_failed_there_is_nothing_to_choose_from(tmp_path: Path) -> None:
    made(tmp_path, "broken", None)
    with pytest.raises(UserError, match="has no finished record"):
        ask(tmp_path, "made-up")


def test_records_refuse_what_cannot_be(results: Path) -> None:
    with pytest.raises(ValueError, match="rank from 1"):
        Candidate(0, 0, (None,) * 4)
    with pytest.raises(ValueError, match="limits are relaxed only"):
        Choice(None, (1,), (), (), (), (), None)
    question = ask(results, "made-up")
    with pytest.raises(ValueError, match="pairs must be"):
        Question(**{**vars(question), "pairs": np.eye(2)})
