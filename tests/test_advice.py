"""A task in a README: families, thinned boards, the picture of quality against cost, and what to take."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from zoobench.leaderboard import advice, families, pareto
from zoobench.leaderboard.frame import load_board
from zoobench.leaderboard.marked_tables import write_tables
from zoobench.leaderboard.recommend import Budget, choose
from zoobench.leaderboard.recommend_data import ask
from zoobench.zoo.core import MODELS

from .conftest import zoobench_here
from .records import STRONG, WEAK, Cell, outcome

ROOT = Path(__file__).parents[1]
MODELS_STORED = ("tfidf-logreg", "tfidf-mlp", "embedding-logreg", "bilstm", "minilm", "dummy-uniform", "of-a-plugin")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for place, model in enumerate(MODELS_STORED):
        found = WEAK if model == "dummy-uniform" else outcome(1.6 - place / 4, seed=3)
        cost = 3000 / 4**place  # the better, the dearer
        speed = {"latency_p50_ms": cost / 5, "latency_p95_ms": cost, "rows_per_second": 1}
        costs = {"timings": {"fit": cost}, "speed": speed}
        Cell(model, found, "openi-reports", changes=costs).store(tmp_path / "r")
    Cell("bert", None, "openi-reports").store(tmp_path / "r")
    Cell("tfidf-logreg", STRONG, "litcoin-relations", "random").store(tmp_path / "r")
    return tmp_path / "r"


def test_families_are_those_of_the_readmes_table() -> None:
    text = (ROOT / "README.md").read_text()
    table = text[text.index("| family | models |") :].partition("\n\n")[0]
    told: dict[str, set[str]] = {}
    for line in table.splitlines()[2:]:
        family, models = line.strip("| ").split(" | ")
        for name in re.findall(r"`([\w-]+)`", models):
            told.setdefault(family, set()).add(name)
    known: dict[str, set[str]] = {}
    for name, model in MODELS.entries().items():
        family = families.family_of(model.card)
        heading = "chest X-rays" if family in {families.IMAGES, families.NUMBERS} else family
        known.setdefault(heading, set()).add(name)
    assert told == known


def test_a_thinned_board_has_the_best_of_each_family(results: Path) -> None:
    frame = load_board(results, task="openi-reports").frame
    thin = families.best_per(frame, "family")
    assert set(thin["model"]) == set(MODELS_STORED) - {"tfidf-mlp"}  # bert did not finish, and minilm did
    assert thin["value"].tolist() == sorted(thin["value"], reverse=True)
    by_framework = families.best_per(frame, "framework")
    assert by_framework["model"].tolist() == [frame["model"][0]]  # all are of scikit-learn here
    done = zoobench_here(
        "board", "--task", "openi-reports", "--best-per", "family", "--results", results, "--format", "csv"
    )
    assert [line.split(",")[2] for line in done.stdout.splitlines()[1:]] == thin["model"].tolist()
    assert "The best of each family: 6 of 8 rows" in done.stderr


def test_weights_that_saw_the_test_rows_stand_for_none_that_has_others(tmp_path: Path) -> None:
    seen = {"overlap": "weights=chest"}
    for model, found in (("resnet18", WEAK), ("resnet50", outcome(0.5, seed=3))):
        Cell(model, found, "honest").store(tmp_path)
        Cell(model, None, "failed").store(tmp_path)
    for task in ("honest", "failed"):
        Cell("xrv-densenet121", STRONG, task, changes=seen).store(tmp_path)
    thin = families.best_per(load_board(tmp_path).frame, "family")
    assert dict(zip(thin["task"], thin["model"], strict=True)) == {"honest": "resnet50", "failed": "xrv-densenet121"}


def test_what_did_not_finish_stands_for_its_family_where_nothing_did(tmp_path: Path) -> None:
    Cell("tfidf-logreg", STRONG, "openi-reports").store(tmp_path)
    Cell("bert", None, "openi-reports").store(tmp_path)
    assert set(families.best_per(load_board(tmp_path).frame, "family")["model"]) == {"tfidf-logreg", "bert"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--best-per", "color"), "unknown way to thin a board 'color'"),
        (("--best-per", "family", "--across"), "--best-per thins the board of tasks"),
        (("--picture", "x.svg"), "--picture draws one --task"),
        (("--task", "openi-reports", "--picture", "x.png"), "must end in .svg"),
    ],
)
def test_what_a_board_cannot_be_is_refused_in_a_line(words: tuple[str, ...], message: str, results: Path) -> None:
    done = zoobench_here("board", "--results", results, *words)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert message in done.stderr


@pytest.mark.parametrize("higher", [True, False])
def test_the_front_is_what_nothing_beats(higher: bool) -> None:
    rng = np.random.default_rng(5)
    rows: list[dict[str, Any]] = [{"value": float(v), "fit_s": float(c)} for v, c in rng.integers(1, 9, (40, 2))]

    def beaten(row: dict[str, Any]) -> bool:
        sign = 1 if higher else -1
        return any(
            sign * other["value"] >= sign * row["value"]
            and other["fit_s"] <= row["fit_s"]
            and (other["value"], other["fit_s"]) != (row["value"], row["fit_s"])
            for other in rows
        )

    found = pareto.front(rows, "fit_s", higher_is_better=higher)
    places = {(row["value"], row["fit_s"]) for row in found}
    assert places == {(row["value"], row["fit_s"]) for row in rows if not beaten(row)}


def crowd(models: int) -> pareto.Pareto:
    rng = np.random.default_rng(models)
    costs = np.exp(rng.normal(size=(models, 2)) / 2)
    points = [
        pareto.Point(
            f"model-of-a-long-name-{n}",
            v,
            v - 0.02,
            v + 0.02,
            dict(zip(pareto.COSTS, cost, strict=True)),
            n < pareto.NAMED,
        )
        for n, (v, cost) in enumerate(
            zip(sorted(rng.uniform(0.8, 0.9, models), reverse=True), costs.tolist(), strict=True)
        )
    ]
    return pareto.Pareto("crowded", "f1_macro", "cpu", tuple(points))


@pytest.mark.parametrize("models", [1, 4, 60])
def test_names_in_a_picture_touch_neither_one_another_nor_a_dot(models: int) -> None:
    from matplotlib.text import Annotation, Text

    found = crowd(models)
    figure = pareto.draw(found)
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    for axes, cost in zip(figure.axes, pareto.COSTS, strict=True):
        labels = [each for each in axes.texts if isinstance(each, Annotation)]
        boxes = [Text.get_window_extent(each, renderer) for each in labels]
        named = [each for each in found.points if each.named]
        assert len(labels) == len(named)
        assert not [1 for n, one in enumerate(boxes) for other in boxes[:n] if one.overlaps(other)]
        dots = [axes.transData.transform((each.costs[cost], each.value)) for each in named]
        assert not [1 for box in boxes for dot in dots if box.contains(*dot)]
        assert all(axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 for box in boxes)


def test_a_picture_is_drawn_anew_only_where_it_shows_something_else(tmp_path: Path) -> None:
    path = tmp_path / "pictures" / "a.svg"
    assert pareto.write_pareto(path, crowd(4))
    text = path.read_text()
    assert pareto.told(path) == crowd(4).words()
    assert not pareto.write_pareto(path, crowd(4))
    assert pareto.as_svg(crowd(4)) == text  # no date, no random names
    assert pareto.write_pareto(path, crowd(5))
    for name, (light, dark) in pareto._COLOURS.items():
        assert f"var(--{name})" in text
        assert (text.count(light), text.count(f"--{name}:{dark}")) == (
            1,
            1,
        )  # each but once, where both themes are told
    assert "prefers-color-scheme:dark" in text
    assert not re.search(r"(href|src)=\"(?!#)", text)


def test_a_task_says_what_to_take_as_recommend_does(results: Path) -> None:
    question = ask(results, "openi-reports")
    text = advice.paragraph(question)
    free = choose(question.candidates, question.pairs, Budget())
    name = question.rows[question.candidates[free.recommended[0]].row]["model"]
    assert f"Take {name}: " in text
    for cost, (words, limits) in advice.LADDER.items():
        for limit in limits:
            choice = choose(question.candidates, question.pairs, Budget(**{cost: limit}))
            said = next(
                part for part in text.split("Within ")[1:] if re.search(rf"\b{limit}\b[^:]*{words}[^:]*:", part)
            )
            taken = None if choice.best is None else question.rows[question.candidates[choice.recommended[0]].row]
            expected = "nothing" if taken is None else "the same" if taken["model"] == name else taken["model"]
            expected = "nothing but the floor" if expected.startswith("dummy") else expected
            assert said.partition(": ")[2].startswith(expected)
    best, behind = question.rows[0], {row["model"]: row for row in question.rows}
    assert (
        f"bags of words {best['value'] - behind['tfidf-logreg']['value']:.3f} (tfidf-logreg)" in text
        or best["model"] == "tfidf-logreg"
    )
    assert "(minilm)" in text
    assert "floor" not in text.partition("Behind the best")[2]


def test_a_mark_writes_every_honest_task_with_its_picture(results: Path) -> None:
    for model in ("tfidf-logreg", "embedding-logreg"):
        Cell(model, STRONG, "ants").store(results)
    Cell("kim-cnn", STRONG, "ants", hardware="Other CPU, 64 cores").store(results)  # its seconds are of another machine
    page = results.parent / "page.md"
    page.write_text("<!-- tasks: all pictures=pics -->\nold\n<!-- end tasks -->\n")
    changed = write_tables([page], results)
    assert changed == [results.parent / "pics" / f"{task}.svg" for task in ("openi-reports", "ants")] + [page]
    text = page.read_text()
    assert re.findall(r"^### (\S+)", text, re.MULTILINE) == [
        "openi-reports",
        "ants",
    ]  # the suite `quick` first; no @random
    assert "](pics/ants.svg)" in text
    assert re.findall(r"^\| \d.*? \| (\S+) \|", text.partition("### ants")[2], re.MULTILINE) == [
        "embedding-logreg",
        "tfidf-logreg",
    ]
    assert text.count("Time and memory compare only within one hardware class.") == 1
    assert write_tables([page], results) == []
    page.write_text("<!-- tasks: all colour=red -->\nold\n<!-- end tasks -->\n")
    done = zoobench_here("site", "tables", page, "--results", results)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "stands pictures=…, not 'colour'" in done.stderr
