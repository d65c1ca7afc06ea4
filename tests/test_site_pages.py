"""The site in a browser: tables, charts and comparisons by mouse and keyboard, in both themes, wide and narrow."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from zoobench.benchmarks.paired import differences
from zoobench.benchmarks.store import RESAMPLES, Results, read_record

from .browser import NARROW, Watched, findings, fits, watched
from .sites import HOSTILE, SLOW

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

KINDS = ("index.html", "tasks/ants.html", "tasks/dogs.html", "compare.html", "compare/ants.html", "method.html")
"""A page of each kind, and one of a task on which nothing finished."""


@pytest.fixture
def ants(browser: Browser, built: Path) -> Iterator[Page]:
    with watched(browser) as opened:
        yield opened.open(built / "tasks" / "ants.html")


def board(page: Page) -> Locator:
    return page.locator("table[data-table=board]")


def column(page: Page, key: str, table: str = "board") -> list[str]:
    """Return the sort values of a column, of the rows that are shown."""
    return page.evaluate(
        """([key, name]) => {
          const table = document.querySelector(`table[data-table=${name}]`);
          const place = [...table.tHead.rows[0].cells].findIndex((head) => head.dataset.key === key);
          return [...table.tBodies[0].rows].filter((row) => !row.hidden).map((row) => row.cells[place].dataset.value ?? row.cells[place].textContent);
        }""",
        [key, table],
    )


def head(page: Page, key: str) -> Locator:
    return page.locator(f"table[data-table=board] th[data-key={key}]")


def test_a_heading_sorts_one_way_and_the_other(ants: Page) -> None:
    assert head(ants, "rank").get_attribute("aria-sort") == "ascending"
    head(ants, "latency_p50_ms").locator("button").click()
    assert head(ants, "latency_p50_ms").get_attribute("aria-sort") == "ascending"
    assert head(ants, "rank").get_attribute("aria-sort") is None
    found = [float(each) for each in column(ants, "latency_p50_ms")]
    assert found == sorted(found)
    head(ants, "latency_p50_ms").locator("button").click()
    found = [float(each) for each in column(ants, "latency_p50_ms")]
    assert found == sorted(found, reverse=True)


def test_what_is_missing_stands_last_whichever_way_is_sorted(browser: Browser, built: Path) -> None:
    with watched(browser) as opened:
        page = opened.open(built / "index.html")
        ways = []
        for _ in range(2):
            page.locator("table[data-table=heat] th[data-key=bees] button").click()
            ways.append([each for each in column(page, "bees", "heat") if each])
            assert "" not in column(page, "bees", "heat")[: len(ways[-1])]
        assert ways[0] == ways[1][::-1]
        assert len(ways[0]) == 3


def test_filters_leave_the_rows_that_they_name(ants: Page) -> None:
    everything = column(ants, "model")
    ants.get_by_label("Search").fill("good tuned")
    assert column(ants, "model") == ["good, tuned"]
    ants.get_by_label("Search").fill("")
    ants.get_by_label("Latency, ms ≤").fill("9")
    assert all(float(each) <= 9 for each in column(ants, "latency_p50_ms"))
    assert len(column(ants, "model")) < len(everything)
    ants.locator(".toolbar select[aria-label=Hardware]").select_option("Fast CPU, 8 cores")
    assert column(ants, "model") == []
    assert f"0 of {len(everything)} rows" in ants.locator(".count").first.inner_text()
    ants.get_by_role("button", name="Reset").click()
    assert column(ants, "model") == everything


def test_columns_are_chosen(ants: Page) -> None:
    assert head(ants, "latency_p95_ms").is_hidden()
    ants.locator(".chooser summary").first.click()
    ants.locator(".chooser").first.get_by_label("Latency p95, ms").check()
    assert head(ants, "latency_p95_ms").is_visible()
    cells = board(ants).locator("tbody tr").first.locator("> *")
    shown = [cells.nth(place).is_visible() for place in range(cells.count())]
    assert shown[
        ants.evaluate(
            "[...document.querySelectorAll('table[data-table=board] thead th')].findIndex((each) => each.dataset.key === 'latency_p95_ms')"
        )
    ]
    ants.locator(".chooser").first.get_by_label("Fit, s").uncheck()
    assert head(ants, "fit_s").is_hidden()


def test_the_address_holds_the_state_and_restores_it(browser: Browser, built: Path, ants: Page) -> None:
    ants.get_by_label("Search").fill("o")
    ants.get_by_label("Latency, ms ≤").fill("50")
    head(ants, "fit_s").locator("button").click()
    ants.locator(".chooser summary").first.click()
    ants.locator(".chooser").first.get_by_label("Parameters").check()
    ants.locator("#pareto-cost").select_option("fit_s")
    address, names = ants.url, column(ants, "model")
    assert 0 < len(names) < 7
    with watched(browser) as again:
        page = again.open(address)
        assert column(page, "model") == names
        assert head(page, "fit_s").get_attribute("aria-sort") == "ascending"
        assert head(page, "parameters").is_visible()
        assert page.get_by_label("Search").input_value() == "o"
        assert page.locator("#pareto-cost").input_value() == "fit_s"
        page.locator("a[hreflang=es]").click()
        page.wait_for_load_state("load")
        assert "/es/tasks/ants.html#" in page.url
        assert column(page, "model") == names, "the other language shows the same rows"


def test_an_address_made_up_by_hand_breaks_nothing(browser: Browser, built: Path) -> None:
    with watched(browser) as opened:
        page = opened.open(
            f"{built}/tasks/ants.html#board.sort=-nothing&board.cols=x,,y&board.f.place=%3Cb%3E&pareto.cost=z&board.q="
        )
        assert len(column(page, "model")) > 5
        page = opened.open(f"{built}/compare/ants.html#models=zzz,&metric=%3Cimg%20src=x%3E")
        assert page.locator("#model-1").input_value()


def plotted(page: Page, name: str) -> list[dict[str, Any]]:
    """Return the traces of a chart, once it is drawn."""
    page.locator(f"figure[data-chart={name}]").scroll_into_view_if_needed()
    page.locator(f"figure[data-chart={name}] .main-svg").first.wait_for()
    return page.evaluate(
        f"document.querySelector('figure[data-chart={name}] .plot').data.map((each) => ({{mode: each.mode, x: [...each.x], y: [...each.y], name: each.name, text: each.text}}))"
    )


def test_the_pareto_front_is_what_none_beats_in_both(ants: Page) -> None:
    for cost, place in itertools.product(("latency_p50_ms", "fit_s", "memory_gb"), ("0", "1")):
        ants.locator("#pareto-cost").select_option(cost)
        ants.locator("#pareto-place").select_option(place)
        line, *points = plotted(ants, "pareto")
        rows = [row for each in points for row in zip(each["x"], each["y"], strict=True)]
        best = {(x, y) for x, y in rows if not any(a <= x and b >= y and (a, b) != (x, y) for a, b in rows)}
        assert set(zip(line["x"], line["y"], strict=True)) == best
        assert line["x"] == sorted(line["x"])
    ants.locator("#pareto-place").select_option("0")
    ants.locator("#pareto-cost").select_option("latency_p50_ms")
    assert (
        "good, tuned" in ants.locator("#pareto-front").inner_text()
        or "good" in ants.locator("#pareto-front").inner_text()
    )
    assert not re.search(r"\bpoor \(", ants.locator("#pareto-front").inner_text())


def test_the_chart_shows_the_rows_of_the_filtered_table(ants: Page) -> None:
    whole = sum(len(each["x"]) for each in plotted(ants, "pareto")[1:])
    ants.get_by_label("Search").fill("fair")
    assert sum(len(each["x"]) for each in plotted(ants, "pareto")[1:]) == 1 < whole


def test_pointing_at_a_mark_names_its_configuration(ants: Page) -> None:
    ants.get_by_label("Search").fill("fair")
    plotted(ants, "pareto")
    mark = ants.locator("figure[data-chart=pareto] .points path.point").first
    mark.scroll_into_view_if_needed()
    box = mark.bounding_box()
    assert box
    ants.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    hover = ants.locator("figure[data-chart=pareto] .hoverlayer .hovertext")
    hover.wait_for()
    assert "fair" in hover.text_content()
    assert "F1 macro" in hover.text_content()
    assert (
        ants.locator("table[data-table=heat], table[data-table=board]").locator("th[title='higher is better']").count()
    )


def test_learning_curves_are_drawn_and_listed(ants: Page) -> None:
    assert [each["mode"] for each in plotted(ants, "curves-scores")].count("markers") == 1
    assert plotted(ants, "curves-seconds")
    cells = ants.locator("table[data-table=curves] tbody td.number").all_inner_texts()
    assert {"400", "4,000", "~8,000", "~40,000"} <= set(cells)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_theme_follows_the_reader_and_the_button(browser: Browser, built: Path, theme: str) -> None:
    paper = {"light": "rgb(247, 248, 250)", "dark": "rgb(17, 21, 27)"}
    other = {"light": "dark", "dark": "light"}[theme]
    with watched(browser, theme=theme) as opened:
        page = opened.open(built / "tasks" / "ants.html")
        ground = "getComputedStyle(document.body).backgroundColor"
        plotted(page, "pareto")
        before = page.evaluate("document.querySelector('.plot').layout.font.color")
        assert page.evaluate(ground) == paper[theme]
        page.locator("#theme").click()
        assert page.evaluate(ground) == paper[other]
        assert page.evaluate("document.querySelector('.plot').layout.font.color") != before, "charts turn as well"
        opened.open(built / "index.html")
        assert page.evaluate(ground) == paper[other], "the choice stays on the next page"


@pytest.mark.parametrize("language", ["", "es"])
def test_no_page_scrolls_sideways_on_a_narrow_screen(browser: Browser, built: Path, language: str) -> None:
    with watched(browser, width=NARROW) as opened:
        for kind in KINDS:
            page = opened.open(built / language / kind)
            assert fits(page), kind
        page = opened.open(built / language / "tasks/ants.html")
        page.locator(".chooser summary").first.click()
        assert fits(page), "with the columns to choose from"
        plotted(page, "pareto")
        assert fits(page)


@pytest.mark.parametrize("language", ["", "es"])
def test_axe_finds_nothing_serious_in_either_theme(browser: Browser, built: Path, language: str) -> None:
    with watched(browser) as opened:
        for kind in KINDS:
            page = opened.open(built / language / kind)
            names = page.locator("figure[data-chart]").evaluate_all("all => all.map((each) => each.dataset.chart)")
            for name in names if not language else ():  # charts are the same in both
                plotted(page, name)
            for summary in page.locator(".chooser summary").all()[:1]:
                summary.click()
            assert not findings(page), f"{kind}, light"
            page.evaluate("document.documentElement.dataset.theme = 'dark'")
            assert not findings(page, "color-contrast"), f"{kind}, dark: the rest of a page has no theme"


def test_axe_would_find_what_is_wrong(browser: Browser, built: Path) -> None:
    with watched(browser) as opened:
        page = opened.open(built / "index.html")
        page.evaluate("document.querySelector('.lead').style.color = '#ddd'")
        assert any("color-contrast" in each for each in findings(page))


def test_everything_is_done_by_keyboard(ants: Page) -> None:
    ants.keyboard.press("Tab")
    assert ants.evaluate("document.activeElement.className") == "skip"
    ants.keyboard.press("Enter")
    assert ants.evaluate("document.activeElement.id") == "main"
    _tab_to(ants, "document.activeElement.type === 'search'")
    ants.keyboard.type("good")
    assert set(column(ants, "model")) == {"good", "good, tuned"}
    _tab_to(ants, "document.activeElement.tagName === 'SUMMARY'")
    ants.keyboard.press("Enter")
    _tab_to(ants, "document.activeElement.closest('label')?.textContent === 'Prediction, s'")
    ants.keyboard.press("Space")
    assert head(ants, "predict_s").is_visible()
    ants.keyboard.press("Escape")
    assert ants.evaluate("document.activeElement.tagName") == "SUMMARY"
    _tab_to(ants, "document.activeElement.closest('th')?.dataset.key === 'value'")
    ants.keyboard.press("Enter")
    assert head(ants, "value").get_attribute("aria-sort") == "descending"
    outline = ants.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid", "the focus is seen"


def _tab_to(page: Page, there: str) -> None:
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate(there):
            return
    pytest.fail(f"no way by Tab to {there}")


def _resamples(results: Path, model: str) -> np.ndarray:
    paths = list(Results(results).record_paths())
    stored = [(path, record) for path in paths if (record := read_record(path)).status == "ok" and record.fraction == 1]
    seeds = [
        pq.read_table(path.parent / record.attempt / RESAMPLES)["f1_macro"].to_numpy()
        for path, record in stored
        if (record.task, record.model, record.mode, record.hardware_class) == ("ants", model, "default", SLOW)
    ]
    return np.mean(seeds, axis=0, dtype=float)


def test_differences_are_those_of_the_command(browser: Browser, built: Path, made_up: Path) -> None:
    names = ("fair", "cheap", "poor")
    with watched(browser) as opened:
        page = opened.open(built / "compare" / "ants.html")
        rows = page.evaluate("zoobench.data.rows.map(({id, name, figures}) => ({id, name, value: figures.f1_macro}))")
        mine = {row["name"]: row for row in rows}
        found = page.evaluate("ids => zoobench.differences(ids, 'f1_macro')", [mine[name]["id"] for name in names])
        expected = differences(
            "f1_macro", [mine[name]["value"] for name in names], [_resamples(made_up, name) for name in names]
        )
        for here, there in zip(found, expected, strict=True):
            assert here["difference"] == pytest.approx(there.difference, abs=1e-9)
            assert here["low"] == pytest.approx(there.low, abs=5e-6)
            assert here["high"] == pytest.approx(there.high, abs=5e-6)
            assert (here["p"], here["holm"]) == (pytest.approx(there.p), pytest.approx(there.p_holm))
            better = None if there.better is None else names[there.better]
            assert (here["better"] and here["better"]["name"]) == better


def test_configurations_are_chosen_and_stay_in_the_address(browser: Browser, built: Path) -> None:
    with watched(browser) as opened:
        page = opened.open(built / "compare" / "ants.html")
        page.locator("#model-1").select_option(label="fair")
        page.locator("#model-2").select_option(label="poor")
        page.locator("#model-3").select_option(label="cheap")
        assert page.locator("#side thead th").all_inner_texts()[1:] == ["fair", "poor", "cheap"]
        assert page.locator("#pairs tbody tr").count() == 3
        assert "fair is better than poor by F1 macro." in page.locator("#verdict").inner_text()
        page.locator("#metric").select_option(label="Hamming loss")
        assert set(page.locator("#pairs tbody td:first-child").all_inner_texts()) == {"Hamming loss"}
        assert len(plotted(page, "differences")[0]["x"]) == 3
        page.locator("#metric").select_option(label="all of them")
        assert page.locator("#pairs tbody tr").count() > 6
        again = opened.open(page.url)
        assert again.locator("#side thead th").all_inner_texts()[1:] == ["fair", "poor", "cheap"]
        again.locator("#model-2").select_option(value="")
        again.locator("#model-3").select_option(value="")
        assert again.locator("#verdict").inner_text() == "Choose two configurations or more."


def test_of_several_machines_the_page_says_that_time_does_not_compare(browser: Browser, built: Path) -> None:
    with watched(browser) as opened:
        page = opened.open(built / "compare" / "ants.html")
        page.locator("#model-1").select_option(label="good, Fast CPU, 8 cores")
        page.locator("#model-2").select_option(label="good, Test CPU, 2 cores")
        assert page.locator("#machines").is_visible()
        page.locator("#model-1").select_option(label="fair")
        assert page.locator("#machines").is_hidden()


def test_hostile_names_do_nothing(browser: Browser, built: Path) -> None:
    with watched(browser) as opened:
        opened.page.on("dialog", lambda dialog: opened.errors.append(f"dialog: {dialog.message}"))
        page = opened.open(built / "tasks" / "ants.html")
        assert any(HOSTILE in each for each in column(page, "model"))
        plotted(page, "pareto")
        page = opened.open(built / "compare" / "ants.html")
        options = page.locator("#model-1 option").all_inner_texts()
        page.locator("#model-1").select_option(label=next(each for each in options if each.startswith(HOSTILE)))
        plotted(page, "differences")
        assert page.locator("main img").count() == 0
        opened.open(built / "index.html")


def test_what_a_page_lacks_is_noticed(browser: Browser, built: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.html"
    broken.write_text("<script>missing()</script><img src='http://127.0.0.1:9/x.png'>")
    with watched(browser) as opened:
        opened.open(broken)
        with pytest.raises(AssertionError):
            opened.check()
        assert opened.strays == ["http://127.0.0.1:9/x.png"]
        assert any("missing is not defined" in each for each in opened.errors)
        opened.errors.clear()
        opened.strays.clear()


def test_pages_are_read_without_scripts(browser: Browser, built: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    opened = Watched(context.new_page())
    opened.page.goto(f"file://{built}/tasks/ants.html")
    assert opened.page.locator("table[data-table=board] tbody tr").count() > 5
    opened.check()
    context.close()
