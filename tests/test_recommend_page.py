"""The recommendation of a task's page: what the page computes is what Python computes, and the form says it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from zoobench.leaderboard.recommend import COSTS, Budget, Candidate, Choice, choose
from zoobench.leaderboard.resampled import APART, TIED, UNKNOWN
from zoobench.leaderboard.site.build import build_site
from zoobench.leaderboard.site.recommend_form import packed

from .browser import NARROW, fits, watched
from .records import STRONG, WEAK, outcome
from .test_recommend import FAST, made

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROUNDS = 300


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A task with close and distant models, one that saw the test rows, one of another machine, and a hostile name."""
    root = tmp_path_factory.mktemp("recommended")
    made(root / "r", "strong", STRONG, times=10)
    made(root / "r", "close", outcome(1.45, seed=3), times=2)
    made(root / "r", "<b>weak", WEAK)
    made(root / "r", "cheat", outcome(3.0), times=0.1, overlap="encoder=x")
    made(root / "r", "afar", outcome(1.4, seed=5), FAST, times=0.5)
    made(root / "r", "broken", None)
    build_site(root / "r", root / "site")
    return root / "site"


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with watched(browser) as opened:
        yield opened.page


def address(site: Path, state: str = "", language: str = "") -> str:
    return (site / language / "tasks" / "made-up.html").as_uri() + (f"#{state}" if state else "")


def drawn(seed: int) -> tuple[list[Candidate], np.ndarray, Budget]:
    """Candidates, ties and a budget at random, with equal values, equal costs and costs that nobody measured."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 12))
    ranks = np.sort(rng.integers(1, 8, count))
    costs = rng.choice([0.25, 1.0, 2.5, 4.0, np.nan], (count, len(COSTS)))
    found = [
        Candidate(
            place,
            int(rank),
            tuple(None if np.isnan(cost) else float(cost) for cost in row),
            tuple((rng.random(len(COSTS)) < 0.3).tolist()),
            "seen" if rng.random() < 0.1 else "",
        )
        for place, (rank, row) in enumerate(zip(ranks, costs, strict=True))
    ]
    pairs = np.tril(rng.choice([TIED, APART, UNKNOWN], (count, count)), -1)
    pairs = pairs + pairs.T + TIED * np.eye(count, dtype=int)
    limits = [None if rng.random() < 0.5 else float(rng.choice([0.2, 1.0, 2.0, 4.0])) for _ in COSTS]
    return found, pairs, Budget(*limits)


def as_javascript(each: Candidate) -> list[Any]:
    return [each.row, each.rank, list(each.costs), 0, int(bool(each.barred))]


def plain(choice: Choice) -> dict[str, Any]:
    """A choice as JSON has it: no infinity, lists for tuples."""

    def over(each: Any) -> dict[str, Any]:
        return {"place": each.place, "over": [[name, None if np.isinf(cost) else cost] for name, cost in each.over]}

    told = {name: list(getattr(choice, name)) for name in ("recommended", "untold", "front", "barred")}
    nearest = choice.nearest and over(choice.nearest)
    return {"best": choice.best, **told, "excluded": list(map(over, choice.excluded)), "nearest": nearest}


ANSWERS = """cases => cases.map(({candidates, ties, budget}) =>
    JSON.parse(JSON.stringify(zoobench.recommend({candidates, ties: zoobench.recommend.unpack(ties)}, budget))))"""


def test_python_and_the_page_agree_on_many_budgets(site: Path, page: Page) -> None:
    page.goto(address(site))
    cases = [drawn(seed) for seed in range(ROUNDS)]
    asked = [
        {
            "candidates": list(map(as_javascript, candidates)),
            "ties": packed(pairs),
            "budget": {name: getattr(budget, name) for name in COSTS},
        }
        for candidates, pairs, budget in cases
    ]
    answers = page.evaluate(ANSWERS, asked)
    expected = [plain(choose(*case)) for case in cases]
    assert answers == expected
    assert sum(each["best"] is None for each in expected) > ROUNDS / 10
    assert sum(len(each["recommended"]) > 1 for each in expected) > ROUNDS / 10
    assert sum(bool(each["nearest"]) for each in expected) > ROUNDS / 20


def test_the_page_recommends_what_the_command_does(site: Path, page: Page) -> None:
    from zoobench.leaderboard.recommend_data import ask

    page.goto(address(site))
    known = page.evaluate("zoobench.data.recommend")
    for here in known["places"]:
        question = ask(site.parent / "r", "made-up", hardware=here["hardware"])
        assert here["candidates"] == [
            [
                each.row,
                each.rank,
                list(each.costs),
                sum(b << n for n, b in enumerate(each.estimated)),
                int(bool(each.barred)),
            ]
            for each in question.candidates
        ]
        count = len(known["names"])
        told = page.evaluate(
            f"(() => {{ const t = zoobench.recommend.unpack(zoobench.data.recommend.ties); const n = [...Array({count}).keys()];"
            " return n.map((a) => n.map((b) => t(a, b))); })()"
        )
        ties = question.pairs[:count, :count]
        assert np.array_equal(np.where(ties == UNKNOWN, 2, ties), told)


def verdict(page: Page) -> str:
    return " ".join(page.locator("#recommend-verdict").inner_text().split())


def test_the_form_answers_as_it_is_typed_and_keeps_it_in_the_address(site: Path, page: Page) -> None:
    page.goto(address(site))
    assert verdict(page).startswith("Best within the limits: strong,")
    assert "Take afar: 2 others cannot be told" in verdict(page)
    assert "By an estimate: it never ran on " in verdict(page)
    assert "Never recommended" in page.locator("#recommend-answer").inner_text()
    page.get_by_label("Latency ≤ ms").fill("2")
    assert "<b>weak" in verdict(page)
    assert page.locator("#recommend b:has-text('weak') b").count() == 0
    assert "rec.latency_ms=2" in page.url
    page.get_by_label("Latency ≤ ms").fill("0.05")
    assert "Nothing is within these limits." in verdict(page)
    assert "The nearest is <b>weak: it needs latency " in verdict(page)
    page.get_by_text("configurations outside the limits").click()
    assert "strong" in page.locator("#recommend details").inner_text()
    page.evaluate("zoobench.data.recommend.blind.push(zoobench.data.recommend.names.indexOf('<b>weak'))")
    page.get_by_label("Latency ≤ ms").fill("2")
    assert "It never looks at its input" in verdict(page)
    page.get_by_label("Latency ≤ ms").fill("-1")
    assert verdict(page) == "A limit is a number above 0."
    page.get_by_label("Latency ≤ ms").fill("")
    assert verdict(page).startswith("Best within the limits: strong,")
    assert "rec." not in page.url


def test_another_machine_is_estimated_and_says_so_in_both_languages(site: Path, page: Page) -> None:
    page.goto(address(site, f"rec.on={FAST}&rec.train_s=100", "es"))
    assert page.get_by_label("Entrenamiento ≤ s").input_value() == "100"
    assert page.locator("#recommend-place").input_value() == FAST
    text = page.locator("#recommend-answer").inner_text()
    assert "~" in text
    assert "error desconocido" in text
    page.locator("#recommend-place").select_option(index=0)
    assert page.locator("#recommend-answer table").first.inner_text().count("~") == 3  # of one model that ran elsewhere
    assert "rec.on" not in page.url


def test_the_form_is_reached_by_keyboard_and_accessible(site: Path, page: Page) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page.set_viewport_size({"width": NARROW, "height": 800})
    page.goto(address(site, "rec.latency_ms=2"))
    page.get_by_label("Latency ≤ ms").focus()
    for label in ("Memory ≤ GB", "Training ≤ s", "Parameters ≤"):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.labels[0].innerText.trim()") == label
    page.keyboard.type("500")
    assert "Nothing is within these limits." in verdict(page)
    assert fits(page)
    for theme in ("light", "dark"):
        page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
        found = axe.Axe().run(page, context="#recommend", options={"preload": False}).response["violations"]
        assert not [each["id"] for each in found if each["impact"] in {"serious", "critical"}]


def test_ties_are_packed_in_two_bits_a_pair() -> None:
    pairs = np.full((200, 200), TIED)
    assert len(packed(pairs)) < 7_000
    assert packed(np.eye(1)) == ""
    assert json.dumps(packed(np.array([[1, -1], [-1, 1]]))) == '"Ag=="'
