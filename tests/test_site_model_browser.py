"""The model pages in Chromium, opened from disk: tooltips, charts, labels, narrow and dark, with the keyboard alone."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from zoobench.benchmarks import run
from zoobench.benchmarks.store import PROBABILITIES, read_record
from zoobench.datasets.support.files import sha256_file
from zoobench.leaderboard.site.build import build_site

from .browser import NARROW, findings, fits, watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, tunable: Path, cache: Path) -> Path:
    folder = tmp_path_factory.mktemp("results") / "r"
    options: dict[str, Any] = {"plugin": tunable, "results": folder, "quiet": True, "set": {"skill": "0.4"}}
    run(task=["searched", "searched-classes"], model="knows", **options)
    return folder


@pytest.fixture(scope="module")
def site(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site") / "out"
    build_site(results, out)
    return out


@contextmanager
def looking(browser: Browser, page: Path, at: str = "", **how: Any) -> Iterator[Page]:
    with watched(browser, **how) as opened:
        yield opened.open(page.as_uri() + at)


def knows(site: Path, language: str = "") -> Path:
    return site / language / "models" / "knows.html"


def record_of(results: Path, task: str) -> Any:
    (path,) = results.glob(f"cells/{task}/knows/*/record.json")
    return read_record(path)


def tip(page: Page) -> str:
    return page.locator("#tip:visible").inner_text()


def test_a_count_tells_precision_and_recall_by_pointer_and_by_keyboard(
    browser: Browser, site: Path, results: Path
) -> None:
    record = record_of(results, "searched")
    scores, (tn, fp, fn, tp) = record.test[record.policy].per_label, record.test[record.policy].confusion[0]
    with looking(browser, knows(site)) as page:
        matrix = page.locator("#task-searched .matrix").first
        counts = matrix.locator("button")
        assert [int(count) for count in counts.all_inner_texts()] == [tp, fn, fp, tn]
        counts.first.hover()
        assert tip(page) == (
            f"{tp} rows have fever and were given it. Precision of fever {scores['precision'][0]:.3f}, "
            f"recall {scores['recall'][0]:.3f}."
        )
        page.mouse.move(0, 0)
        assert not page.locator("#tip:visible").count()
        counts.first.focus()
        assert counts.first.get_attribute("aria-describedby") == "tip"
        page.keyboard.press("ArrowDown")
        assert tip(page).startswith(f"{fp} row")
        page.keyboard.press("ArrowRight")
        assert tip(page).startswith(f"{tn} rows have not fever")
        page.keyboard.press("ArrowRight")
        assert tip(page).startswith(f"{tn} rows"), "at the edge it stays"
        page.keyboard.press("Escape")
        assert not page.locator("#tip:visible").count()
        page.keyboard.press("Tab")
        assert tip(page).split(". ")[0].endswith("fracture and were given it"), "one stop of Tab a matrix"


def test_classes_have_one_matrix_whose_rows_are_the_truth(browser: Browser, site: Path, results: Path) -> None:
    record = record_of(results, "searched-classes")
    confusion = record.test[record.policy].confusion
    with looking(browser, knows(site), "#task-searched-classes") as page:
        part = page.locator("#task-searched-classes")
        assert part.get_attribute("open") is not None, "the address opens the part that it names"
        rows = [
            list(map(int, row.locator("button").all_inner_texts())) for row in part.locator(".matrix tbody tr").all()
        ]
        assert rows == confusion
        wrong = part.locator(".matrix tbody tr").nth(0).locator("button").nth(1)
        wrong.hover()
        assert "of fever" in tip(page)
        assert f"{confusion[0][1] / sum(confusion[0]):.3f} of its {sum(confusion[0])} rows" in tip(page)


def traces(page: Page, chart: str) -> list[dict[str, Any]]:
    page.locator(f"#chart-{chart}").scroll_into_view_if_needed()
    page.wait_for_selector(f"#chart-{chart} .main-svg")
    told = page.evaluate(
        "name => JSON.stringify(document.querySelector(`#chart-${name} .plot`).data.map("
        "each => ({name: each.name ?? '', x: [...each.x], y: [...each.y], mode: each.mode})))",
        chart,
    )
    return json.loads(told)


def test_charts_are_drawn_and_follow_the_chosen_label(browser: Browser, site: Path, results: Path) -> None:
    record = record_of(results, "searched")
    scores, (tn, fp, fn, tp) = record.test[record.policy].per_label, record.test[record.policy].confusion[0]
    with looking(browser, knows(site)) as page:
        names = [each["name"] for each in traces(page, "roc-0")]
        assert [f"{label} {area:.3f}" for label, area in zip(record.labels, scores["roc_auc"], strict=True)] == names[
            :3
        ]
        assert "all labels pooled" in names
        page.locator("#task-searched .picks select").select_option("0")
        for chart in ("roc-0", "recall-0"):
            page.wait_for_function(
                "name => document.querySelector(`#chart-${name} .plot`).data?.some((each) => each.mode === 'markers')",
                arg=chart,
            )
        chosen = traces(page, "roc-0")
        assert chosen[0]["name"] == f"fever {scores['roc_auc'][0]:.3f}"
        star = next(each for each in chosen if each["mode"] == "markers")
        assert star["x"] + star["y"] == pytest.approx([fp / (fp + tn), tp / (tp + fn)])
        recall = traces(page, "recall-0")
        assert recall[0]["name"] == f"fever {scores['average_precision'][0]:.3f}"
        assert len(traces(page, "sweep-0")) == 4
        threshold = record.test[record.policy].thresholds[0]
        shapes = page.evaluate("JSON.stringify(document.querySelector('#chart-sweep-0 .plot').layout.shapes)")
        assert json.loads(shapes)[0]["x0"] == pytest.approx(threshold, abs=1e-4)
        assert len(traces(page, "reliability-0")) == 3
        assert traces(page, "scores-0")[0]["y"] == pytest.approx([0.4 * epoch / 5 for epoch in range(1, 6)])


def test_labels_sort_by_any_column(browser: Browser, site: Path, results: Path) -> None:
    record = record_of(results, "searched")
    f1 = dict(zip(record.labels, record.test[record.policy].per_label["f1"], strict=True))
    with looking(browser, knows(site)) as page:
        table = page.locator("table[data-table='labels-0']")
        table.get_by_role("button", name="F1").click()
        names = table.locator("tbody th").all_inner_texts()
        assert names == sorted(f1, key=lambda name: -f1[name])
        assert table.locator("thead th[aria-sort='descending']").count() == 1


def test_sureness_stands_in_a_table(browser: Browser, site: Path, results: Path) -> None:
    record = record_of(results, "searched")
    with looking(browser, knows(site)) as page:
        rows = page.locator("table[data-table='sure-0'] tbody tr")
        assert rows.locator("th").all_inner_texts() == record.labels
        support = record.test[record.policy].per_label["support"]
        for text, positives in zip(rows.all_inner_texts(), support, strict=True):
            told = [(int(part), int(whole)) for part, whole in re.findall(r"\((\d+) / (\d+)\)", text)]
            assert [whole for _, whole in told] == [positives, record.rows["test"] - positives]
            assert re.search(r"[\d.]+ %", text)


@pytest.mark.parametrize(("scheme", "language"), [("light", ""), ("dark", "es")])
def test_no_accessibility_finding_of_weight(browser: Browser, site: Path, scheme: str, language: str) -> None:
    with looking(browser, knows(site, language), theme=scheme) as page:
        for part in page.locator("details.part").all():
            part.evaluate("each => { each.open = true; }")
        traces(page, "roc-1")
        assert findings(page) == []


def test_a_narrow_page_does_not_scroll_sideways(browser: Browser, site: Path) -> None:
    with looking(browser, knows(site), width=NARROW) as page:
        for part in page.locator("details.part").all():
            part.evaluate("each => { each.open = true; }")
        traces(page, "roc-0")
        assert fits(page)
        button = page.locator("#task-searched .matrix button").first
        button.scroll_into_view_if_needed()
        button.click()
        box = page.locator("#tip").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= NARROW


HOSTILE = ("<img src=x onerror=alert(1)>", "</script><script>alert(2)</script>", "<b>a</b> %{y} & 'b'")


def test_labels_are_texts_whatever_they_look_like(browser: Browser, results: Path, tmp_path: Path) -> None:
    copy = tmp_path / "r"
    shutil.copytree(results, copy, ignore=shutil.ignore_patterns(".index"))
    (path,) = copy.glob("cells/searched/knows/*/record.json")
    told = json.loads(path.read_text())
    kept = path.parent / told["attempt"] / PROBABILITIES
    table = pq.read_table(kept)
    pq.write_table(table.rename_columns(["fold", "id", *(f"p:{name}" for name in HOSTILE)]), kept)
    told["labels"], told["files"][PROBABILITIES] = HOSTILE, sha256_file(kept)
    path.write_text(json.dumps(told))
    build_site(copy, tmp_path / "out", ["en"])
    with looking(browser, knows(tmp_path / "out")) as page:
        assert page.locator("table[data-table='labels-0'] tbody th").all_inner_texts() == list(HOSTILE)
        assert page.locator("#task-searched .matrix caption b").all_inner_texts() == list(HOSTILE)
        page.locator("#task-searched .matrix button").nth(4).hover()
        assert HOSTILE[1] in tip(page)
        traces(page, "roc-0")
        legend = page.locator("#chart-roc-0 .legendtext").all_text_contents()
        assert all(any(text.startswith(name) for text in legend) for name in HOSTILE)
        assert not page.locator("main img").count()


def test_the_spanish_page_says_all_in_spanish(browser: Browser, site: Path) -> None:
    with looking(browser, knows(site, "es")) as page:
        page.locator("#task-searched .matrix button").first.hover()
        assert "filas tienen fever y la recibieron" in tip(page)
        assert re.search(r"Precisión de fever [01],\d{3}", tip(page))
        assert page.locator("html").get_attribute("lang") == "es"
        assert "Valores por etiqueta" in page.locator("main").inner_text()
