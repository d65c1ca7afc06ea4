"""The temperature of real runs, `zoobench confidence` and what `zoobench predict` calls uncertain."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pyarrow.parquet as pq
import pytest
from zoobench.benchmarks import run
from zoobench.benchmarks.calibration import fit_temperature
from zoobench.benchmarks.confidence import examine, temperature_of
from zoobench.benchmarks.metrics import score
from zoobench.benchmarks.predict import recorded_cell
from zoobench.benchmarks.record import Record
from zoobench.benchmarks.store import PROBABILITIES, Stored, read_record
from zoobench.datasets.layout import load_training
from zoobench.datasets.prepare import prepare
from zoobench.datasets.report.blocks import Section, Table
from zoobench.datasets.support.errors import UserError
from zoobench.leaderboard.answers import Trust, answer
from zoobench.leaderboard.confidence_cli import confidence
from zoobench.leaderboard.pages import as_plot, check_folder, write_page

from .conftest import zoobench

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

# Six tasks of the same texts: of each kind one as it is, and one each where other test or validation rows have the labels.
# The model reads the labels in the text and misreads some, by a hash of the text, and is much too sure.
PLUGIN = """
import zlib
import numpy as np
from zoobench.datasets.core import Examples, TaskCard, task
from zoobench.zoo.core import ModelCard, model

LABELS = ("fever", "fracture", "nodule")


def card(name, kind):
    return TaskCard(
        name=name, title="Dealt", description="d", version=1, kind=kind, modality="text", labels=LABELS,
        primary_metric="f1_macro", group="none", licence="CC0-1.0", source="generated", citation="none",
    )


def examples(kind, turned, rows=900):
    rng = np.random.default_rng(4)
    held = rng.random((rows, 3)) < 0.4 if kind == "multilabel" else np.eye(3, dtype=bool)[rng.integers(3, size=rows)]
    texts = [" ".join([f"row{index}", *np.array(LABELS)[row]]) for index, row in enumerate(held)]
    targets = held.astype(np.uint8) if kind == "multilabel" else held.argmax(axis=1)
    folds = np.arange(rows) % 3
    if turned:
        mine = np.flatnonzero(folds == turned)
        targets = targets.copy()
        targets[mine] = targets[np.roll(mine, 1)]
    ids = np.array([f"r{index}" for index in range(rows)], dtype=object)
    return Examples(ids, np.array(texts, dtype=object), targets, np.arange(rows), folds=folds)


for kind in ("multilabel", "multiclass"):
    for turned, name in enumerate(("dealt", "dealt-validation", "dealt-test")):
        task(card(f"{name}-{kind}", kind))(lambda kind=kind, turned=turned: examples(kind, turned))


class Sure:
    def __init__(self, kind):
        self.kind = kind
    def fit(self, X, y):
        return self
    def predict_proba(self, X):
        told = np.array([[word in text.split() for word in LABELS] for text in X])
        draws = np.array([[zlib.crc32(f"{text} {word}".encode()) for word in LABELS] for text in X]) / 2**32
        if self.kind == "multilabel":
            return np.where(told ^ (draws < 0.2), 0.98, 0.02)
        told = np.where(draws[:, [0]] < 0.3, np.roll(told, 1, axis=1), told)
        odds = np.where(told, 10.0, 1.0) * (1 + draws[:, [1]] * told)
        return odds / odds.sum(axis=1, keepdims=True)
    def save(self, folder):
        (folder / "kind").write_text(self.kind)
    def load(self, folder):
        self.kind = (folder / "kind").read_text()
        return self


CARD = ModelCard(name="sure", title="t", description="d", modality="text", framework="scikit-learn", citation="c")
sure = model(CARD)(lambda config, context: Sure(context.task.kind))
"""
KINDS = ["multilabel", "multiclass"]
TASKS = [f"{name}-{kind}" for name in ("dealt", "dealt-validation", "dealt-test") for kind in KINDS]


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plugins") / "sure_model.py"
    path.write_text(PLUGIN)
    return path


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, plugin: Path, cache: Path) -> Path:
    folder = tmp_path_factory.mktemp("results") / "r"
    run(task=TASKS, model="sure", plugin=plugin, results=folder, quiet=True)
    return folder


def stored(results: Path, task: str) -> Stored:
    (path,) = results.glob(f"cells/{task}/sure/*/record.json")
    return Stored(read_record(path), path)


def nothing(name: str) -> None:
    """Tell nobody that a task is prepared."""


@pytest.mark.parametrize("kind", KINDS)
def test_no_test_label_reaches_the_temperature(results: Path, kind: str) -> None:
    plain, test, validation = (
        stored(results, f"{name}-{kind}").record for name in ("dealt", "dealt-test", "dealt-validation")
    )
    assert plain.temperature == test.temperature != validation.temperature
    assert plain.temperature is not None
    assert plain.temperature > 1.3
    losses = [each.test[each.policy].values["log_loss"] for each in (plain, test, validation)]
    assert losses[0] == losses[2] != losses[1], "what the test labels do move is the score"


@pytest.mark.parametrize("kind", KINDS)
def test_the_stored_temperature_is_that_of_the_stored_validation_rows(results: Path, kind: str) -> None:
    found, task = recorded_cell(f"dealt-{kind}", "sure", results)
    table = pq.read_table(found.attempt / PROBABILITIES).to_pandas()
    rows = table[table["fold"] == "validation"]
    targets = load_training(prepare(task).folder / "public", "validation")[1]
    probabilities = rows[[f"p:{label}" for label in found.record.labels]].to_numpy()
    assert found.record.temperature == fit_temperature(kind, targets, probabilities)


@pytest.mark.parametrize("kind", KINDS)
def test_figures_are_those_of_the_record_and_better_after(results: Path, kind: str) -> None:
    found, task = recorded_cell(f"dealt-{kind}", "sure", results)
    examined, record = examine(found, task, nothing), found.record
    values = record.test[record.policy].values
    for name in ("expected_calibration_error", "brier", "log_loss"):
        assert examined.before.figures[name] == pytest.approx(values[name], abs=1e-12)
        assert examined.after.figures[name] < examined.before.figures[name]
    everything = examined.before.risk[-1]
    assert 1 - everything == pytest.approx(values["exact_match"])
    assert examined.positives.tolist() == record.test[record.policy].per_label["support"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_older_than_temperatures_is_read_and_fitted(results: Path, kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "r"
    shutil.copytree(results, folder)
    new = stored(folder, f"dealt-{kind}")
    told = json.loads(new.path.read_text())
    temperature = told.pop("temperature")
    new.path.write_text(json.dumps(told))
    old, task = recorded_cell(f"dealt-{kind}", "sure", folder)
    assert old.record.temperature is None
    assert (old.record.key, old.record.fit_key) == (new.record.key, new.record.fit_key)
    assert temperature_of(old, task, nothing) == temperature
    examined = examine(old, task, nothing)
    assert (examined.temperature, examined.fitted_now) == (temperature, True)


def test_records_of_before_have_no_temperature_and_failures_never_one() -> None:
    folder = Path(__file__).parents[1] / "leaderboard" / "results"
    statuses = {read_record(path).status for path in folder.glob("cells/*/*/*/record.json")}
    assert "ok" in statuses <= {"ok", "incompatible", "unavailable"}, "all that is committed reads, and nothing failed"
    record = read_record(next(folder.glob("cells/openi-reports/tfidf-logreg/*/record.json")))
    failed = {**record.model_dump(), "status": "failed", "reason": "r", "test": {}, "parts": {}}
    assert Record.model_validate({**failed, "temperature": None}).temperature is None
    with pytest.raises(ValueError, match="has no scores"):
        Record.model_validate({**failed, "temperature": 2.0})
    with pytest.raises(ValueError, match="greater than 0"):
        Record.model_validate({**record.model_dump(), "temperature": 0.0})


def shown(capsys: pytest.CaptureFixture[str], results: Path, out: Path, style: str, task: str) -> tuple[str, Path]:
    confidence(task, "sure", None, out, str(results), None, style)
    captured = capsys.readouterr()
    return captured.out, Path(captured.err.rpartition("page: ")[2].strip())


@pytest.mark.parametrize("kind", KINDS)
def test_the_three_formats_say_the_same(
    capsys: pytest.CaptureFixture[str], results: Path, tmp_path: Path, kind: str
) -> None:
    said = {style: shown(capsys, results, tmp_path, style, f"dealt-{kind}")[0] for style in ("table", "json", "csv")}
    told = json.loads(said["json"])
    rows = {(row["figure"], row["threshold"]): row for row in csv.DictReader(io.StringIO(said["csv"]))}
    assert float(rows["temperature", ""]["after"]) == told["temperature"]
    for when in ("before", "after"):
        assert float(rows["log_loss", ""][when]) == pytest.approx(told[when]["log_loss"])
        assert f"{told[when]['expected_calibration_error']:.4f}" in said["table"]
        for kept in told[when]["kept"]:
            for name in set(kept) - {"threshold"}:
                figure = rows[name, str(kept["threshold"])][when]
                assert (float(figure) if figure else None) == kept[name]
        assert sum(told[when]["bins"]["count"]) == 300 * (3 if kind == "multilabel" else 1)
    assert [row["threshold"] for row in told["before"]["kept"]].index(0.75) == 5
    assert "0.75*" in said["table"]


class Page(HTMLParser):
    """What a browser's parser finds on a page."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.plots: list[str] = []
        self.drawn = 0
        self.outside: list[str] = []
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        kinds = (found.get("class") or "").split()
        self.plots += [found["id"] or ""] if "plot" in kinds else []
        self.drawn += tag == "svg" and "main-svg" in kinds
        self.outside += [found.get("src") or "", found.get("href") or ""] if tag != "a" else []


@pytest.mark.skipif(BROWSER is None, reason="no chromium on PATH: pages are not drawn")
def test_a_browser_draws_the_page_without_an_error(
    capsys: pytest.CaptureFixture[str], results: Path, tmp_path: Path
) -> None:
    _, path = shown(capsys, results, tmp_path / "out", "table", "dealt-multiclass")
    assert list((tmp_path / "out").iterdir()) == [path]
    flags = ("--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom", "--enable-logging=stderr")
    command = [BROWSER or "", *flags, f"--user-data-dir={tmp_path / 'b'}", "--virtual-time-budget=8000", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in done.stderr, done.stderr
    page = Page(done.stdout)
    assert page.plots == ["plot-reliability", "plot-claims", "plot-coverage"]
    assert page.drawn >= 3
    assert not any(page.outside)


def test_a_page_escapes_its_texts_and_takes_foreign_figures(tmp_path: Path) -> None:
    hostile = "</script><script>x</script><b>"
    figure = go.Figure(go.Scatter(x=np.arange(3), y=np.arange(3)), layout={"title": "t", "xaxis_title": "trials"})
    plot = as_plot("history", hostile, "c", figure)
    assert plot.figure["layout"]["height"] == 420
    assert plot.figure["layout"]["xaxis"]["title"]["text"] == "trials"
    assert "gridcolor" in plot.figure["layout"]["xaxis"]
    section = Section("s", hostile, hostile, [plot, Table(hostile, ["a"], [[hostile]])])
    path = write_page(tmp_path / "new" / "page.html", hostile, [section], lead=hostile, top=[(hostile, "w", "m")])
    text = path.read_text()
    assert hostile not in text
    assert len(re.findall(r"<script", text.partition("<body>")[2].partition('id="data"')[0])) == 1
    with pytest.raises(UserError, match="choose another folder with --out"):
        write_page(path / "page.html", "t", [])
    with pytest.raises(UserError, match=r"page\.html is a file: choose another with --out"):
        check_folder(path / "below")
    check_folder(tmp_path / "not" / "there" / "yet")
    assert not (tmp_path / "not").exists()


def test_what_stands_in_the_way_is_said_in_one_line(results: Path, plugin: Path, tmp_path: Path) -> None:
    folder = tmp_path / "r"
    shutil.copytree(results, folder)

    def refused(
        task: str, model: str, seed: int | None = None, out: Path = tmp_path / "out", style: str = "table"
    ) -> str:
        with pytest.raises(UserError) as error:
            confidence(task, model, seed, out, str(folder), None, style)
        return str(error.value)

    assert "did you mean 'dealt-multiclass'" in refused("dealt-multiclas", "sure")
    assert "unknown model 'shure'" in refused("dealt-multiclass", "shure")
    assert "no finished record of tfidf-logreg" in refused("dealt-multiclass", "tfidf-logreg")
    assert "with seed 5 (recorded: 0)" in refused("dealt-multiclass", "sure", 5)
    assert "unknown protocol" in refused("dealt-multiclass@other", "sure")
    assert "unknown format 'xml'" in refused("dealt-multiclass", "sure", style="xml")
    assert "is a file" in refused("dealt-multiclass", "sure", out=plugin)
    damaged = stored(folder, "dealt-multiclass")
    path = damaged.attempt / PROBABILITIES
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    assert "is not the file that was recorded" in refused("dealt-multiclass", "sure")
    told = json.loads(damaged.path.read_text())
    damaged.path.write_text(json.dumps({**told, "files": {}}))
    assert "no whole file of probabilities" in refused("dealt-multiclass", "sure")
    pq.write_table(pq.read_table(results / path.relative_to(folder)).drop_columns(["p:fever"]), path)
    assert "has other columns than" in refused("dealt-multiclass", "sure")
    pq.write_table(pq.read_table(results / path.relative_to(folder)).slice(1), path)
    assert "holds other rows than the folds" in refused("dealt-multiclass", "sure")
    path.unlink()
    assert "is missing" in refused("dealt-multiclass", "sure")
    damaged.path.write_text(json.dumps({**told, "data_fingerprint": "0" * 64}))
    path.write_bytes(whole)
    assert "the records of dealt-multiclass are of other data" in refused("dealt-multiclass", "sure")
    assert not (tmp_path / "out").exists()


ASKED = ["row1 fever", "row2 nodule", "row3", "row4 fracture"]


def answers(results: Path, kind: str, trust: Trust | None = None, style: str = "json") -> tuple[list[dict], list[str]]:
    text, remarks = answer(f"dealt-{kind}", "sure", (ASKED, None, ""), results, [], style, trust or Trust())
    return (json.loads(text) if style == "json" else list(csv.DictReader(io.StringIO(text)))), remarks


@pytest.mark.parametrize("kind", KINDS)
def test_calibrated_answers_are_the_same_labels_less_sure(results: Path, kind: str) -> None:
    record = stored(results, f"dealt-{kind}").record
    plain, scaled = (answers(results, kind, Trust(0, calibrated=each))[0] for each in (False, True))
    for before, after in zip(plain, scaled, strict=True):
        assert before["labels"] == after["labels"]
        assert list(before["probabilities"]) == list(after["probabilities"])
        if kind == "multilabel":
            for label, p in before["probabilities"].items():
                odds = (p / (1 - p)) ** (1 / record.temperature)
                assert after["probabilities"][label] == pytest.approx(odds / (1 + odds), rel=1e-5)
        else:
            powers = {label: p ** (1 / record.temperature) for label, p in before["probabilities"].items()}
            assert after["confidence"] == pytest.approx(max(powers.values()) / sum(powers.values()), rel=1e-5)
        assert after["confidence"] < before["confidence"]


def test_unsure_answers_of_one_class_are_called_uncertain(results: Path) -> None:
    calibrated = Trust(calibrated=True)
    found, remarks = answers(results, "multiclass", calibrated)
    assert [row["confidence"] for row in found] == [max(row["probabilities"].values()) for row in found]
    assert [row["uncertain"] for row in found] == [row["confidence"] < 0.75 for row in found]
    count = sum(row["uncertain"] for row in found)
    assert count > 0
    assert any(f"{count} of 4 answers" in line and "below 0.75" in line for line in remarks)
    assert "temperature" in remarks[0]
    rows, _ = answers(results, "multiclass", calibrated, "csv")
    assert [row["uncertain"] for row in rows] == ["uncertain" if row["uncertain"] else "" for row in found]
    assert [float(row["confidence"]) for row in rows] == [row["confidence"] for row in found]
    text, _ = answer("dealt-multiclass", "sure", (ASKED, None, ""), results, [], "table", calibrated)
    assert text.count("? uncertain: confidence") == count
    assert "-1 less probable" not in text
    off, silent = answers(results, "multiclass", Trust(0, calibrated=True))
    assert not any(row["uncertain"] for row in off)
    assert len(silent) == len(remarks) - 1
    assert all(row["uncertain"] for row in answers(results, "multiclass", Trust(1, calibrated=True))[0])


def test_several_labels_are_called_uncertain_only_when_asked(results: Path) -> None:
    found, _ = answers(results, "multilabel", Trust(calibrated=True))
    assert not any(row["uncertain"] for row in found)
    assert "uncertain" not in answers(results, "multilabel", style="csv")[0][0]
    for row in found:
        decided = [p if label in row["labels"] else 1 - p for label, p in row["probabilities"].items()]
        assert row["confidence"] == pytest.approx(min(decided))
    assert all(row["uncertain"] for row in answers(results, "multilabel", Trust(0.99))[0])
    for wrong in (1.2, -0.1, float("nan")):
        with pytest.raises(UserError, match="is no probability"):
            Trust(wrong)


def test_the_command_line(results: Path, plugin: Path, tmp_path: Path) -> None:
    words = ("--plugin", plugin, "--results", results)
    done = zoobench("confidence", "dealt-multiclass", "sure", *words, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Expected calibration error" in done.stdout
    assert f"page: {tmp_path}" in done.stderr
    ask = ("predict", "--task", "dealt-multiclass", "--model", "sure", *words, "--text", "row1 fever")
    assert "? uncertain" in zoobench(*ask, "--confidence", "1", "--calibrated").stdout
    wrong = zoobench(*ask, "--confidence", "1.5")
    assert wrong.returncode == 2
    assert wrong.stderr.strip() == "zoobench: --confidence 1.5 is no probability: give 0 (marks none) to 1"
    assert not wrong.stdout


def test_kept_rows_score_as_the_board_would(results: Path) -> None:
    found, task = recorded_cell("dealt-multiclass", "sure", results)
    examined = examine(found, task, nothing)
    table = pq.read_table(found.attempt / PROBABILITIES).to_pandas()
    probabilities = table.loc[table["fold"] == "test", ["p:fever", "p:fracture", "p:nodule"]].to_numpy()
    targets = prepare(task).sealed_test().targets
    rows = probabilities.max(axis=1) >= 0.85
    kept = next(each for each in examined.before.kept if each.threshold == 0.85)
    assert kept.coverage == rows.mean()
    assert 0 < kept.coverage < 1
    scored = score("multiclass", targets[rows], probabilities[rows], probabilities[rows].argmax(axis=1))
    assert kept.exact == pytest.approx(scored.values["accuracy"])
