"""`zoobench compare` on records that were really made: who is meant, what is refused, what is said."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner
from zoobench.benchmarks.comparison import Comparison, Entrant
from zoobench.benchmarks.options import load_plugin
from zoobench.benchmarks.paired import metric_names
from zoobench.datasets.core import TASKS
from zoobench.datasets.support.errors import UserError
from zoobench.leaderboard import board
from zoobench.leaderboard.cli import app
from zoobench.leaderboard.compare_cli import compared
from zoobench.leaderboard.comparisons import COLUMNS, as_frame, as_page
from zoobench.leaderboard.entrants import read_selector
from zoobench.leaderboard.sheets import as_markdown, as_text

from .conftest import zoobench

ALL = (["all"], None, 200)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny: Path, cache: Path) -> Path:
    """Three models with two seeds on two tasks, one of them as if with another setting as well."""
    folder = tmp_path_factory.mktemp("results") / "r"
    models = [word for name in ("tfidf-logreg", "dummy-stratified", "dummy-constant") for word in ("--model", name)]
    common = ("run", "--plugin", tiny, "--task", "tiny", "--task", "tiny-classes", "--results", folder)
    done = zoobench(*common, *models, "--seed", "0", "--seed", "1")
    assert done.returncode == 0, done.stderr
    first = records(folder, "tiny", "tfidf-logreg")[0].parent
    shutil.copytree(first, first.with_name("c" * 20))
    change(first.with_name("c" * 20) / "record.json", key="c" * 20, settings={"C": 0.001})
    if "tiny" not in TASKS.entries():
        load_plugin(tiny)
    return folder


@pytest.fixture
def results(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return shutil.copytree(made, tmp_path / "r")


def records(folder: Path, task: str, model: str) -> list[Path]:
    return sorted(folder.glob(f"cells/{task}/{model}/*/record.json"))


def change(path: Path, **fields: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def compare(folder: Path, *words: str, task: str = "tiny", metrics: list[str] | None = None) -> Comparison:
    return compared(folder, task, words, (metrics or ["all"], None, 200))[0]


@pytest.mark.parametrize("task", ["tiny", "tiny-classes"])
def test_the_better_model_is_named_with_figures_of_the_board(made: Path, task: str) -> None:
    found = compare(made, "tfidf-logreg", "dummy-stratified", task=task)
    shown = board(task, results=made).set_index(["model", "settings"])
    assert found.metrics[0] == found.ranked_by == "f1_macro"
    assert set(found.metrics) == set(metric_names(found.kind)) | {"f1_macro"}
    for each in found.differences:
        expected = [shown.loc[(name, ""), each.metric] for name in ("tfidf-logreg", "dummy-stratified")]
        assert each.values == pytest.approx(expected)  # the board pools seeds alike
    (first,) = found.of("f1_macro")
    assert first.better == 0
    assert first.low > 0
    text = as_text(as_page(found))
    assert f"tfidf-logreg is better than dummy-stratified by F1 macro: {first.difference:.4f}" in text
    assert "Seeds, pooled: tfidf-logreg: 0, 1; dummy-stratified: 0, 1." in text
    (rows,) = found.disagreements
    assert f"{rows.only[0]}" in text
    assert rows.better == 0


def test_each_seed_is_pooled_and_a_key_is_one_record(made: Path) -> None:
    keys = [path.parent.name for path in records(made, "tiny", "dummy-stratified")]
    found = compare(made, keys[0][:6], f"key={keys[1]}", "dummy-stratified", metrics=["f1_micro"])
    assert [entrant.seeds for entrant in found.entrants][2] == [0, 1]
    assert {entrant.name for entrant in found.entrants} == {
        "dummy-stratified seed 0",
        "dummy-stratified seed 1",
        "dummy-stratified",
    }
    one, two, both = (
        found.of("f1_micro")[0].values[0],
        found.of("f1_micro")[0].values[1],
        found.of("f1_micro")[1].values[1],
    )
    assert both == pytest.approx((one + two) / 2)


def test_a_model_against_itself(made: Path) -> None:
    found = compare(made, "tfidf-logreg", "tfidf-logreg")
    assert all((each.difference, each.p, each.better) == (0, 1, None) for each in found.differences)
    assert "tfidf-logreg (1) and tfidf-logreg (2) cannot be told apart by F1 macro" in as_text(as_page(found))


def test_several_are_compared_pair_by_pair(made: Path) -> None:
    words = ("dummy-stratified", "tfidf-logreg", "dummy-constant")
    found = compare(made, *words, metrics=["f1_macro", "exact_match"])
    assert [each.pair for each in found.of("f1_macro")] == [(0, 1), (0, 2), (1, 2)]
    assert all(each.p <= each.p_holm for each in found.differences)
    text = as_text(as_page(found), width=100)
    assert "By F1 macro, best first:\n  tfidf-logreg 1.000: " in text
    assert "better than all others, than" in text
    assert "after Holm's correction for 3 pairs" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 100
    turned = compare(made, *reversed(words), metrics=["f1_macro"])
    assert sorted(each.p for each in turned.differences) == sorted(each.p for each in found.of("f1_macro"))
    assert "| dummy-stratified | loses to | tfidf-logreg |" in as_markdown(as_page(found))


def test_frames_and_formats(made: Path) -> None:
    found = compare(made, "tfidf-logreg", "dummy-stratified")
    frame = as_frame(found)
    assert list(frame.columns) == COLUMNS
    counted = frame.set_index("metric").loc["exact_match"]
    assert (counted["only_a"], counted["only_b"]) == found.disagreements[0].only
    assert frame["only_a"].notna().sum() == 1
    readme = (Path(__file__).parents[1] / "leaderboard" / "README.md").read_text(encoding="utf-8")
    assert [name for name in COLUMNS if f"`{name}`" not in readme] == []
    common = ["compare", "tfidf-logreg", "dummy-stratified", "--task", "tiny", "--results", str(made)]
    csv = CliRunner().invoke(app, [*common, "--resamples", "200", "--format", "csv"])
    pd.testing.assert_frame_equal(pd.read_csv(io.StringIO(csv.stdout))[COLUMNS[:12]], frame[COLUMNS[:12]])
    as_json = CliRunner().invoke(app, [*common, "--metric", "f1_micro", "--format", "json"])
    (row,) = json.loads(as_json.stdout)
    assert (row["metric"], row["only_a"], row["resamples"]) == ("f1_micro", None, 1000)


def test_thresholds_are_those_of_validation(made: Path) -> None:
    """Decided by another policy, the figures are those that the records hold of it."""
    found = compared(made, "tiny", ["tfidf-logreg", "dummy-stratified"], (["f1_micro"], "per-label", 200))[0]
    for entrant, value in zip(found.entrants, found.of("f1_micro")[0].values, strict=True):
        held = [stored.record.test["per-label"].values["f1_micro"] for stored in entrant.cells]
        assert value == pytest.approx(sum(held) / 2)


def test_a_model_and_itself_are_the_same_records(made: Path) -> None:
    found = compared(made, "tiny", ["tfidf-logreg", "tfidf-logreg"], (["f1_micro"], None, 200))[0]
    assert [each.difference for each in found.differences] == [0]
    assert "are the same records: they differ by nothing" in " ".join(as_page(found).notes)


@pytest.mark.parametrize(
    ("words", "options", "message"),
    [
        (("tfidf-logreg",), ALL, "compare takes two models or more"),
        (("tfidf-logreg", "tfidf-logref"), ALL, "model 'tfidf-logref' has no finished record on tiny: did you mean 'tfidf-logreg'?"),
        (("tfidf-logreg", "dummy-stratified:tuned"), ALL, "dummy-stratified:tuned has no finished record on tiny; of dummy-stratified there are"),
        (("tfidf-logreg", "dummy-stratified@x"), ALL, "dummy-stratified@x has no finished record on tiny"),
        (("tfidf-logreg", "tfidf-logreg:C=7"), ALL, "tfidf-logreg:C=0.001 (key="),
        (("tfidf-logreg", "key=abc"), ALL, "a key is 6 to 20 of the digits"),
        (("tfidf-logreg", "0000000"), ALL, "no record has a key that begins with 0000000"),
        (("tfidf-logreg", "dummy-stratified:best"), ALL, "after ':' stand default, tuned, ensemble, KEY=VALUE"),
        (("tfidf-logreg", "@x"), ALL, "'@x' names no model"),
        (("tfidf-logreg", "dummy-stratified"), (["f1"], None, 200), "unknown metric 'f1'"),
        (("tfidf-logreg", "dummy-stratified"), (["label_cardinality_true"], None, 200), "describes and does not rank"),
        (("tfidf-logreg", "dummy-stratified"), ([], "argmax", 200), "unknown threshold policy of multilabel tasks 'argmax'"),
        (("tfidf-logreg", "dummy-stratified"), ([], None, 0), "--resamples 0 must be from 100"),
    ],
)  # fmt: skip
def test_bad_input(made: Path, words: tuple[str, ...], options: tuple, message: str) -> None:
    with pytest.raises(UserError) as refused:
        compared(made, "tiny", words, options)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_bad_input_at_the_command_line(made: Path, tiny: Path) -> None:
    done = zoobench("compare", "tfidf-logreg", "nobody", "--task", "tiny", "--plugin", tiny, "--results", made)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"zoobench: model 'nobody' has no finished record on tiny: known: .*\n", done.stderr)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"split_sha256": "0" * 64}, "tfidf-logreg and dummy-stratified cannot be compared: they are of different folds"),
        ({"data_fingerprint": "1" * 64}, "they are of different data"),
        ({"metric_version": 2}, "they are of different metric versions (1 and 2)"),
        ({"task_version": 2}, "they are of different task versions (1 and 2)"),
        ({"labels": ["fever", "fracture", "other"]}, "they are of different labels (3: fever, fracture, nodule, … and 3"),
    ],
)  # fmt: skip
def test_what_does_not_compare_is_refused(results: Path, fields: dict[str, object], message: str) -> None:
    for path in records(results, "tiny", "dummy-stratified"):
        change(path, **fields)
    with pytest.raises(UserError) as refused:
        compare(results, "tfidf-logreg", "dummy-stratified")
    assert message in str(refused.value)
    assert "zoobench run --task tiny --model tfidf-logreg --model dummy-stratified" in str(refused.value)


def test_a_record_of_another_task_is_refused(made: Path) -> None:
    key = records(made, "tiny-classes", "tfidf-logreg")[0].parent.name
    with pytest.raises(UserError, match=f"{key} is a record of tiny-classes, not of tiny"):
        compare(made, "tfidf-logreg", key)


def test_other_data_on_this_machine_are_refused(results: Path) -> None:
    for path in results.glob("cells/tiny/*/*/record.json"):
        change(path, data_fingerprint="2" * 64)
    with pytest.raises(UserError, match=r"records of tiny are of other data than this machine has \(22222222…, here"):
        compare(results, "tfidf-logreg", "dummy-stratified")


def test_the_newest_folds_that_all_have_are_compared(results: Path) -> None:
    older = records(results, "tiny", "tfidf-logreg")[0]
    copy = older.parent.with_name("0" * 20)
    shutil.copytree(older.parent, copy)
    change(copy / "record.json", key="0" * 20, split_sha256="3" * 64, created="2030-01-01T00:00:00Z")
    found = compare(results, "tfidf-logreg", "dummy-stratified", metrics=["f1_macro"])
    assert {entrant.record.split_sha256[:3] for entrant in found.entrants} != {"333"}


def damaged(change_table: Callable[[pa.Table], pa.Table]) -> Callable[[Path], None]:
    return lambda path: pq.write_table(change_table(pq.read_table(path)), path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "probabilities.parquet is missing: `zoobench run --task tiny"),
        (lambda path: path.write_bytes(b"PAR1"), "probabilities.parquet cannot be read: no whole file"),
        (damaged(lambda table: table.slice(0, len(table) - 1)), "holds other rows than the folds of tiny"),
        (damaged(lambda table: table.drop_columns("p:fever")), "has other columns than fold, id and"),
        (damaged(lambda table: table.set_column(2, "p:fever", pa.array([2.0] * len(table)))), "outside [0, 1]"),
        (damaged(lambda table: table.set_column(2, "p:fever", pa.array([0.5] * len(table)))), "claims f1_macro 1.0, "),
    ],
    ids=["gone", "cut short", "a row less", "a label less", "no probabilities", "another model's"],
)
def test_damaged_probabilities_are_named(results: Path, damage: Callable[[Path], None], message: str) -> None:
    paths = list(results.glob("cells/tiny/tfidf-logreg/*/*/probabilities.parquet"))
    for path in paths:
        damage(path)
    if all(path.exists() for path in paths):
        with pytest.raises(UserError, match="is not the file that was recorded"):
            compare(results, "tfidf-logreg", "dummy-stratified")
    for path in paths:
        change(path.parents[1] / "record.json", files={})
    with pytest.raises(UserError) as refused:
        compare(results, "tfidf-logreg", "dummy-stratified")
    assert message in str(refused.value)


def test_rows_are_found_by_their_ids(results: Path) -> None:
    expected = compare(results, "tfidf-logreg", "dummy-stratified", metrics=["f1_macro"])
    for path in results.glob("cells/tiny/tfidf-logreg/*/*/probabilities.parquet"):
        pq.write_table(pq.read_table(path).sort_by([("p:fever", "ascending")]), path)
        change(path.parents[1] / "record.json", files={})
    assert (
        compare(results, "tfidf-logreg", "dummy-stratified", metrics=["f1_macro"]).differences == expected.differences
    )


def test_failed_records_are_named(results: Path) -> None:
    for path in records(results, "tiny", "dummy-stratified"):
        change(
            path,
            status="failed",
            reason="ValueError: no rows",
            test={},
            parts={},
            policy="",
            metric_version=0,
            temperature=None,
        )
    with pytest.raises(UserError, match="has no finished record on tiny: failed, ValueError: no rows"):
        compare(results, "tfidf-logreg", "dummy-stratified")


def test_several_rows_of_one_model_are_to_be_named(results: Path) -> None:
    for path in records(results, "tiny", "tfidf-logreg"):
        change(path, preset="one" if json.loads(path.read_text())["seed"] else "two")
    with pytest.raises(UserError, match=r"tfidf-logreg stands for several rows of the board: tfidf-logreg@one \(key="):
        compare(results, "tfidf-logreg", "dummy-stratified")


def test_selectors() -> None:
    models = ["tfidf-logreg", "facade"]
    found = read_selector("tfidf-logreg@published:tuned,C=5,hardware=cpu-2c", models)
    assert (found.model, found.preset, found.mode) == ("tfidf-logreg", "published", "tuned")
    assert (found.settings, found.hardware, found.key) == (("C=5",), "cpu-2c", "")
    assert read_selector("facade", models).model == "facade"
    assert read_selector("key=facade", models).key == "facade"
    assert read_selector("decade", models).key == "decade"
    with pytest.raises(ValueError, match="one finished cell or more"):
        Entrant("nobody", ())
