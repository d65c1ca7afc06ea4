"""The site's pages without a browser: what stands in them, what is refused, and what no name can do."""

from __future__ import annotations

import base64
import itertools
import json
import re
from dataclasses import replace
from pathlib import Path
from string import Formatter

import numpy as np
import pytest
from zoobench.benchmarks.metrics import score
from zoobench.benchmarks.paired import differences
from zoobench.leaderboard.site import compare_page, core, method_page, overview, task_page
from zoobench.leaderboard.site.build import build_site
from zoobench.leaderboard.site.names import file_name
from zoobench.leaderboard.site.wording import Words, languages, say, words_of

from .sites import CLOSING, FAST, HOSTILE, LONG, SLOW, Seen

SITE = Path(__file__).parents[1] / "leaderboard" / "site"
NAMES = [
    "a-b",
    "a-b@c",
    "../x",
    "..",
    "",
    "con",
    "A-b",
    "a.b",
    LONG,
    HOSTILE,
    "ä",
    "a/b",
    "a\\b",
    "index",
    "a--b",
    "a\0b",
]


@pytest.fixture(scope="module")
def site(made_up: Path) -> core.Site:
    return core.read_site(made_up, "2025-02-01T00:00:00+00:00", "0.1.0")


def pages(root: Path) -> list[Path]:
    found = sorted(root.rglob("*.html"))
    assert len(found) > 10
    return found


def test_file_names_are_safe_and_distinct() -> None:
    found = [file_name(name) for name in NAMES]
    assert len({each.casefold() for each in found}) == len(NAMES)
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,80}", each) for each in found)
    assert not any(".." in each for each in found)
    assert file_name("litcoin-relations@random") == "litcoin-relations.random"


def test_both_languages_say_the_same_things() -> None:
    english, spanish = (words_of(language).texts for language in ("en", "es"))
    assert languages() == ["en", "es"]
    assert set(english) == set(spanish)
    for each, text in english.items():
        assert _places(text) == _places(spanish[each]), each
        assert isinstance(text, str) == isinstance(spanish[each], str), each


def _places(text: str | dict[str, str]) -> set[str]:
    parts = [text] if isinstance(text, str) else list(text.values())
    return {name for part in parts for _, name, *_ in Formatter().parse(part) if name}


SAID = re.compile(r"""\b(?:say|t|words|words_of\(each\))\(\s*["']([\w.-]+)["']\s*[,)]""")
BEGUN = re.compile(r"""\b(?:say|t|words)\(\s*(?:f["']|["']|`)([\w.]+[._])(?:["'] ?~|\$?\{)""")
"""A text whose id is put together: how it begins."""


def test_every_text_that_is_said_exists_and_every_text_is_said() -> None:
    sources = [path.read_text() for path in SITE.rglob("*") if path.suffix in {".py", ".jinja", ".js"}]
    said, begun = ({each for text in sources for each in form.findall(text)} for form in (SAID, BEGUN))
    there = set(words_of("en").texts)
    assert len(said) > 100
    assert "state." in begun
    assert not said - there
    assert not {start for start in begun if not any(each.startswith(start) for each in there)}
    quoted = {each for text in sources for each in re.findall(r"""["'`]((?:[a-z]+\.)+[\w.-]+)["'`]""", text)}
    assert not {each for each in there - said - quoted if not each.startswith(tuple(begun))}


def test_words_write_numbers_and_plurals_as_their_language_does() -> None:
    english, spanish = words_of("en"), words_of("es")
    assert [english.number(each) for each in (0.12345, 1.2345, 12.345, 1234.5, 12345)] == [
        "0.123", "1.23", "12.3", "1,234", "12,345",
    ]  # fmt: skip
    assert spanish.number(1234.5, 1) == "1234,5"
    assert spanish.number(12345) == "12.345"
    assert english.number(None) == english.number(float("nan")) == "\N{EN DASH}"
    words = Words("en", {"rows": {"one": "{count} row", "other": "{count} rows"}, "of": "{what}, {more}"})
    assert words("rows", count=1) == "1 row"
    assert words("of", what=say("rows", count=1200), more="{x}") == "1,200 rows, {x}"
    with pytest.raises(KeyError):
        words("nothing")


def test_every_link_of_every_page_is_there_and_none_leaves(built: Path) -> None:
    for path in pages(built):
        for address in Seen(path.read_text()).links():
            target = address.partition("#")[0]
            if target:
                assert not re.match(r"[a-z]+:|//", target), f"{path.name} asks for {target}"
                assert (path.parent / target).is_file(), f"{path} has a dead link: {target}"


def test_scripts_are_files_of_the_site_alone(built: Path) -> None:
    for path in pages(built):
        seen = Seen(path.read_text())
        scripts = [held for tag, held in seen.tags if tag == "script"]
        assert all(("src" in held) != (held.get("type") == "application/json") for held in scripts)
        assert not [name for _, held in seen.tags for name in held if name.startswith("on")]
        policy = next(held["content"] for _, held in seen.tags if held.get("http-equiv") == "Content-Security-Policy")
        assert "default-src 'none'; script-src 'self';" in str(policy)


def test_no_name_becomes_markup(built: Path) -> None:
    page = (built / "tasks" / "ants.html").read_text()
    assert HOSTILE not in page
    assert "<script>alert" not in page
    seen = Seen(page)
    assert not [tag for tag, _ in seen.tags if tag == "img"]
    assert HOSTILE in seen.text, "it is shown as what it is called"
    assert CLOSING in seen.text
    data = json.loads(re.findall(r'<script type="application/json" id="json-data">(.*?)</script>', page)[0])
    assert any(HOSTILE in row[1] for row in data["rows"])


def test_pages_exist_in_both_languages_and_point_at_each_other(built: Path) -> None:
    english = {path.relative_to(built).as_posix() for path in pages(built) if "es" not in path.parts}
    spanish = {path.relative_to(built / "es").as_posix() for path in (built / "es").rglob("*.html")}
    assert english == spanish >= {"index.html", "compare.html", "method.html", "tasks/ants.html", "compare/ants.html"}
    for name, other in (("tasks/ants.html", "../es/tasks/ants.html"), ("es/tasks/ants.html", "../../tasks/ants.html")):
        seen = Seen((built / name).read_text())
        assert other in [held["href"] for tag, held in seen.tags if tag == "a" and "hreflang" in held]
    assert '<html lang="es">' in (built / "es" / "index.html").read_text()


def test_one_language_alone_stands_at_the_root(made_up: Path, tmp_path: Path) -> None:
    build_site(made_up, tmp_path / "s", ["es"])
    assert '<html lang="es">' in (tmp_path / "s" / "index.html").read_text()
    assert not (tmp_path / "s" / "es").exists()


def test_cells_say_what_became_of_them(site: core.Site) -> None:
    lines = {line.name: {table.task: cell.state for table, cell in zip(site.newest, line.cells, strict=True)}
             for line in overview.heat_map(site.newest)}  # fmt: skip
    assert lines["good"] == {"ants": "", "bees": "", "cows": "", "dogs": "missing"}
    assert lines["cheap"] == {"ants": "", "bees": "missing", "cows": "missing", "dogs": "missing"}
    assert lines["broken"] == {"ants": "failed", "bees": "missing", "cows": "missing", "dogs": "failed"}
    assert lines["hungry"] == {"ants": "missing", "bees": "oom", "cows": "missing", "dogs": "missing"}


def test_the_overview_says_in_words_what_has_no_figure(built: Path) -> None:
    text = Seen((built / "index.html").read_text()).text
    for state in ("not run", "failed", "out of memory", "2/3 seeds"):
        assert state in text.partition("What is new")[0].partition("Configurations on tasks")[2]
    spanish = Seen((built / "es" / "index.html").read_text()).text
    assert "no ejecutado" in spanish
    assert "sin memoria" in spanish


def test_shades_go_from_the_worst_to_the_best_of_a_task(site: core.Site) -> None:
    table = site.newest[0]
    rows = overview._newest_rows(table)
    shades = overview._shades(rows)
    by_value = sorted(shades, key=lambda entrant: rows[entrant]["value"])
    assert (shades[by_value[0]], shades[by_value[-1]]) == (0, overview.SHADES - 1)
    assert [shades[each] for each in by_value] == sorted(shades.values())


def test_where_less_is_better_the_least_is_the_best_shade() -> None:
    rows = {("m", "", "", str(loss)): {"value": loss, "ranked_by": "hamming_loss"} for loss in (0.1, 0.2, 0.3)}
    best, middle, worst = overview._shades(rows).values()
    assert (best, worst) == (overview.SHADES - 1, 0)
    assert worst < middle < best


def test_ranks_are_of_tasks_that_share_models(site: core.Site) -> None:
    (found,) = overview.rank_tasks(site)
    assert found.tasks == ("ants", "bees", "cows")
    assert found.found is not None
    assert found.found.names == ("good", "fair", "poor")
    assert found.few


def test_names_on_the_chart_of_ranks_are_no_markup(site: core.Site) -> None:
    (found,) = overview.rank_tasks(site)
    assert found.found is not None
    drawn = overview._figure(replace(found.found, names=(HOSTILE, *found.found.names[1:])))
    assert not re.search(r"[<>]", "".join([*drawn["data"][0]["text"], *drawn["layout"]["yaxis"]["ticktext"]]))


def test_rows_of_a_table_come_best_first_with_what_failed_apart(built: Path, site: core.Site) -> None:
    table = next(each for each in site.newest if each.task == "ants")
    assert [row["rank"] for row in table.done] == sorted(row["rank"] for row in table.done)
    text = (built / "tasks" / "ants.html").read_text()
    assert text.index(">broken") > text.index('id="unfinished"')
    assert {FAST, SLOW} == set(table.hardware)
    assert {row["full"] for row in table.done if row["model"] == "good"} == {
        f"good, {FAST}", f"good, {SLOW}", "good, tuned",
    }  # fmt: skip


def test_a_task_on_which_nothing_finished_says_so(built: Path) -> None:
    text = Seen((built / "tasks" / "dogs.html").read_text()).text
    assert "No configuration finished on this task." in text
    assert "ValueError: no rows left" in text
    assert not (built / "compare" / "dogs.html").exists()


def test_intervals_are_drawn_on_the_scale_of_the_better_half() -> None:
    rows = [
        {"id": str(place), "value": value, "low": value - 0.02, "high": value + 0.02}
        for place, value in enumerate((0.9, 0.8, 0.7, 0.1))
    ]
    drawn = task_page.intervals([*rows, {"id": "bare", "value": 0.5, "low": None, "high": None}])
    assert set(drawn) == {"0", "1", "2", "3"}
    assert drawn["0"].at == drawn["0"].guide > drawn["1"].at > 0
    assert drawn["3"].at is None, "beyond the scale"
    start, end = map(float, re.fullmatch(r"M([\d.]+) 7H([\d.]+)", drawn["1"].line).groups())
    assert start < drawn["1"].at < end


def test_a_pair_by_its_packed_replicates_is_the_pair_of_the_command(site: core.Site) -> None:
    rng = np.random.default_rng(4)
    one, other = rng.normal(0.7, 0.02, 1000), rng.normal(0.69, 0.03, 1000)
    one[3] = np.nan
    back = [_unpacked(compare_page.packed(each)) for each in (one, other)]
    for values, again in zip((one, other), back, strict=True):
        np.testing.assert_allclose(again, values, atol=np.ptp(values[np.isfinite(values)]) / 131000)
    exact, packed = (differences("f1_macro", [0.7, 0.69], pair)[0] for pair in ([one, other], back))
    assert (packed.low, packed.high) == (pytest.approx(exact.low, abs=2e-6), pytest.approx(exact.high, abs=2e-6))
    assert packed.p == exact.p
    assert _unpacked(compare_page.packed(np.full(5, 0.25))).tolist() == [0.25] * 5


def _unpacked(held: dict[str, float | str]) -> np.ndarray:
    steps = np.frombuffer(base64.b64decode(str(held["steps"])), "<u2")
    return np.where(steps == 2**16 - 1, np.nan, held["low"] + steps * float(held["step"]))


def test_a_page_of_comparisons_keeps_to_its_budget(site: core.Site) -> None:
    table = next(each for each in site.newest if each.task == "ants")
    held = {name: np.zeros(1000) for name in ("f1_macro", "f1_micro", "hamming_loss", "exact_match")}
    for rows in (3, 30, 120, 600):
        metrics, count = compare_page.fitting(table, [held] * rows)
        assert metrics[0] == "f1_macro"
        assert len(metrics) * count * compare_page._characters(1000) <= compare_page.BUDGET
    assert compare_page.fitting(table, [held] * 3) == (["f1_macro", "f1_micro", "hamming_loss", "exact_match"], 3)
    assert compare_page.fitting(table, [held] * 600)[1] < 600
    assert compare_page.fitting(table, [None, None]) == ([], 2)


def test_metrics_of_one_formula_are_one_figure() -> None:
    rng = np.random.default_rng(0)
    truth = (rng.random((200, 5)) < 0.3).astype(np.uint8)
    answers = np.clip(rng.normal(0.3 + 0.3 * truth, 0.2), 0, 1).astype(np.float32)
    found = score("multilabel", truth, answers, (answers >= 0.5).astype(np.uint8)).values
    for (one, formula), (other, its) in itertools.combinations(method_page.FORMULAS.items(), 2):
        assert formula != its or found[one] == pytest.approx(found[other]), (one, other)
    assert found["accuracy"] == pytest.approx(1 - found["hamming_loss"])


def test_the_method_says_all_there_is_to_rank_by(built: Path) -> None:
    from zoobench.benchmarks.metrics import METRICS

    text = Seen((built / "method.html").read_text()).text
    for metric in METRICS.values():
        assert (metric.title in text) == (metric.higher_is_better is not None), metric.name
