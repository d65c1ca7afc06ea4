"""The harness against models that misbehave: each cell's end is recorded in words, and the run goes on."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
from zoobench.benchmarks import run
from zoobench.benchmarks.job import Outcome
from zoobench.benchmarks.record import Record
from zoobench.benchmarks.store import PROBABILITIES, RESAMPLES, Results, read_record

from .conftest import write_models

FIT = "def fit(self, X, y):\n    return self\n"
BAD = {
    "markup": "def fit(self, X, y):\n    raise ValueError('[/foo] [red]x[/] \\udcff')\n",
    "silent": "class Odd(Exception):\n    def __str__(self):\n        raise KeyError\ndef fit(self, X, y):\n    raise self.Odd\n",
    "nothing": FIT + "def predict_proba(self, X):\n    return None\n",
    "masked": FIT + "def predict_proba(self, X):\n    return np.ma.masked_less(self.half(X), 0.6)\n",
    "detached": "def fit(self, X, y):\n    import subprocess\n    subprocess.Popen(['sleep', '987655'], start_new_session=True)\n"
    "    time.sleep(0.5)\n    return self\ndef predict_proba(self, X):\n    return self.half(X)\n",
    "holds": "def fit(self, X, y):\n    import multiprocessing as m\n    child = m.get_context('fork').Process(target=hold)\n"
    "    child.start(); child.join()\n    return self\ndef predict_proba(self, X):\n    return self.half(X)\n",
    "untidy": "def fit(self, X, y):\n    import subprocess, tempfile\n    own = tempfile.mkstemp()[1]\n"
    "    childs = subprocess.run(['mktemp'], capture_output=True, text=True).stdout.strip()\n"
    "    self.notes_ = (own, childs)\n    return self\n"
    "def predict_proba(self, X):\n    return self.half(X)\n",
    "good": FIT + "def predict_proba(self, X):\n    return self.half(X)\n",
    "raises": "def fit(self, X, y):\n    raise ValueError('no such thing')\n",
    "exits": "def fit(self, X, y):\n    sys.exit(3)\n",
    "vanishes": "def fit(self, X, y):\n    os._exit(7)\n",
    "segfaults": "def fit(self, X, y):\n    os.kill(os.getpid(), signal.SIGSEGV)\n",
    "sleeps": "def fit(self, X, y):\n    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n    time.sleep(600)\n",
    "hoards": "def fit(self, X, y):\n    kept = []\n    while True:\n        kept.append(np.ones(4_000_000))\n        time.sleep(0.01)\n",
    "memoryerror": "def fit(self, X, y):\n    raise MemoryError\n",
    "wrong-shape": FIT + "def predict_proba(self, X):\n    return self.half(X)[:, :2]\n",
    "nan": FIT + "def predict_proba(self, X):\n    return self.half(X) * np.nan\n",
    "outside": FIT + "def predict_proba(self, X):\n    return self.half(X) + 0.7\n",
    "words": FIT + "def predict_proba(self, X):\n    return np.array([['a'] * self.labels] * len(X))\n",
    "no-xgboost": "def fit(self, X, y):\n    import nowhere_to_be_found\n",
    "chatty": "def fit(self, X, y):\n    print('to stdout'); print('to stderr', file=sys.stderr); os.chdir('/')\n    sys.stdin.read()\n    return self\n"
    "def predict_proba(self, X):\n    return self.half(X)\n",
    "forks": "def fit(self, X, y):\n    import subprocess\n    subprocess.Popen(['sleep', '987654'])\n    return self\n"
    "def predict_proba(self, X):\n    return self.half(X)\n",
}
ENDS = {
    "markup": ("failed", "ValueError: [/foo] [red]x[/] ?"),
    "silent": ("failed", "its message cannot be read"),
    "nothing": ("failed", "predict_proba answered NoneType"),
    "masked": ("failed", "predict_proba answered masked cells"),
    "detached": ("ok", ""),
    "holds": ("ok", ""),
    "untidy": ("ok", ""),
    "good": ("ok", ""),
    "raises": ("failed", "ValueError: no such thing"),
    "exits": ("failed", "the model called exit(3)"),
    "vanishes": ("failed", "exit status 7"),
    "segfaults": ("failed", "SIGSEGV"),
    "sleeps": ("timeout", "longer than 12 s"),
    "hoards": ("oom", "more than 0.5 GB"),
    "memoryerror": ("oom", "out of memory"),
    "wrong-shape": ("failed", "expected (48, 3)"),
    "nan": ("failed", "NaN"),
    "outside": ("failed", "outside [0, 1]"),
    "words": ("failed", "not an array of numbers"),
    "no-xgboost": ("unavailable", "pip install nowhere_to_be_found"),
    "chatty": ("ok", ""),
    "forks": ("ok", ""),
}


@pytest.fixture(scope="module")
def bad_run(tmp_path_factory: pytest.TempPathFactory, tiny: Path, cache: Path) -> dict[str, Record]:
    """One run over every bad model, and its records by model."""
    folder = tmp_path_factory.mktemp("bad")
    plugin = write_models(folder / "bad.py", BAD)
    frame = run(
        task="tiny",
        model=list(BAD),
        plugin=[tiny, plugin],
        results=folder / "results",
        timeout=12,
        memory_gb=0.5,
        quiet=True,
    )
    assert list(frame["model"]) == list(BAD), "no cell is dropped"
    results = Results(folder / "results")
    return {record.model: record for record in map(read_record, results.record_paths())} | {"folder": folder}  # type: ignore[dict-item]


@pytest.mark.parametrize("model", sorted(BAD))
def test_every_end_is_recorded_in_words(model: str, bad_run: dict[str, Record]) -> None:
    record = bad_run[model]
    status, words = ENDS[model]
    assert record.status == status, record.reason
    assert words in record.reason


def test_no_process_is_left_behind(bad_run: dict[str, Record]) -> None:
    left = [process.info["cmdline"] for process in psutil.process_iter(["cmdline"])]
    assert ["sleep", "987654"] not in left
    assert ["sleep", "987655"] not in left, "also one that left for a session of its own"


def test_memory_counts_the_children_of_a_model(bad_run: dict[str, Record]) -> None:
    """A child that held 300 MB belongs to its cell; pages shared with the warm process are not counted again."""
    good, holds = bad_run["good"].memory, bad_run["holds"].memory
    assert good is not None
    assert holds is not None
    assert 0.28 < holds.added_gb < 0.45
    assert good.added_gb < 0.2


def test_output_goes_to_the_log_of_its_cell(bad_run: dict[str, Record]) -> None:
    logs = {}
    for path in Path(bad_run["folder"]).glob("results/cells/tiny/*/*/*/log.txt"):  # type: ignore[arg-type]
        logs[path.parts[-4]] = path.read_text()
    assert "to stdout\n" in logs["chatty"]
    assert "to stderr\n" in logs["chatty"]
    assert "ValueError: no such thing" in logs["raises"]
    assert logs["good"] == ""


def test_nothing_unfinished_is_left_in_the_results(bad_run: dict[str, Record]) -> None:
    work = Path(bad_run["folder"]) / "results" / ".work"  # type: ignore[arg-type]
    assert [path.name for path in work.iterdir() if path.name != "locks"] == []


def test_multiclass_rows_must_sum_to_one(tmp_path: Path, tiny: Path) -> None:
    plugin = write_models(
        tmp_path / "sums.py", {"unsummed": FIT + "def predict_proba(self, X):\n    return self.half(X) * 0.9\n"}
    )
    frame = run(task="tiny-classes", model="unsummed", plugin=[tiny, plugin], results=tmp_path / "r", quiet=True)
    assert frame.status.item() == "failed"
    assert "do not sum to 1 (one sums to 0.9)" in frame.reason.item()


def test_records_match_their_probabilities(tmp_path: Path, tiny: Path) -> None:
    """The stored probabilities, scored independently, give the recorded figures, and cover the test fold."""
    frame = run(task="tiny", model="tfidf-logreg", plugin=tiny, results=tmp_path, quiet=True)
    assert frame.status.item() == "ok"
    path = next(Results(tmp_path).record_paths())
    record = read_record(path)
    table = pq.read_table(path.parent / record.attempt / PROBABILITIES).to_pandas()
    test = table[table.fold == "test"]
    assert len(test) == record.rows["test"]
    assert len(table) == record.rows["test"] + record.rows["validation"]
    # What each label truly is can be read from the tiny task's own ids.
    from zoobench.datasets.support.registry import import_plugin

    examples = import_plugin(tiny).examples("multilabel")
    truth = dict(zip(examples.ids, examples.targets, strict=True))
    targets = np.stack([truth[name] for name in test.id])
    thresholds = record.test["global"].thresholds
    predicted = test[[f"p:{label}" for label in record.labels]].to_numpy() >= thresholds
    hits = (predicted & (targets == 1)).sum()
    f1 = 2 * hits / (predicted.sum() + targets.sum())
    assert record.test["global"].values["f1_micro"] == pytest.approx(f1)
    assert f1 > 0.9, "the labels are words of the text: a model that reads it must find them"
    assert record.value == record.test["global"].values["f1_macro"]
    low, high = record.test["global"].intervals["f1_macro"] or (1, 0)
    assert low <= (record.value or -1) <= high
    resamples = pq.read_table(path.parent / record.attempt / RESAMPLES)
    assert resamples.num_rows == 1000
    assert record.speed is not None
    assert record.speed.latency_p50_ms > 0
    assert record.memory is not None
    assert 0 < record.memory.added_gb < 1 < 10 * record.memory.baseline_gb


def test_a_recorded_cell_is_skipped_and_fresh_runs_it_again(tmp_path: Path, tiny: Path) -> None:
    options = {"task": "tiny", "model": "dummy-uniform", "plugin": tiny, "results": tmp_path, "quiet": True}
    run(**options)  # type: ignore[arg-type]
    path = next(Results(tmp_path).record_paths())
    first = read_record(path)
    run(**options)  # type: ignore[arg-type]
    assert read_record(path) == first
    run(**options, fresh=True)  # type: ignore[arg-type]
    second = read_record(path)
    assert second.attempt != first.attempt
    assert second.test == first.test, "the same seed gives the same scores"
    assert [folder.name for folder in path.parent.iterdir() if folder.is_dir()] == [second.attempt]
    run(**options, seed=[0, 1])  # type: ignore[arg-type]
    assert len(list(Results(tmp_path).record_paths())) == 2


def test_a_failure_stands_until_its_code_or_limit_changes(tmp_path: Path, tiny: Path) -> None:
    plugin = write_models(tmp_path / "late.py", {"late": "def fit(self, X, y):\n    time.sleep(5)\n"})
    options = {"task": "tiny", "model": "late", "plugin": [tiny, plugin], "results": tmp_path / "r", "quiet": True}
    assert run(**options, timeout=1).status.item() == "timeout"  # type: ignore[arg-type]
    before = next(Results(tmp_path / "r").record_paths()).stat().st_mtime_ns
    run(**options, timeout=1)  # type: ignore[arg-type]
    assert next(Results(tmp_path / "r").record_paths()).stat().st_mtime_ns == before
    run(**options, timeout=2)  # type: ignore[arg-type]
    assert next(Results(tmp_path / "r").record_paths()).stat().st_mtime_ns > before


def test_jobs_give_the_same_scores_and_say_so(tmp_path: Path, tiny: Path) -> None:
    models = ["dummy-stratified", "tfidf-logreg"]
    alone = run(task="tiny", model=models, plugin=tiny, results=tmp_path / "1", quiet=True)
    beside = run(task="tiny", model=models, plugin=tiny, results=tmp_path / "2", jobs=2, quiet=True)
    assert dict(zip(alone.model, alone.value, strict=True)) == dict(zip(beside.model, beside.value, strict=True))
    records = [read_record(path) for path in Results(tmp_path / "2").record_paths()]
    assert {record.beside for record in records} == {1}
    assert {record.threads for record in records} == {max(1, (os.cpu_count() or 1) // 2)}
    run(task="tiny", model="dummy-uniform", plugin=tiny, results=tmp_path / "2", jobs=2, quiet=True)
    last = next(r for r in map(read_record, Results(tmp_path / "2").record_paths()) if r.model == "dummy-uniform")
    assert (last.beside, last.threads) == (0, os.cpu_count()), "a cell alone has the machine to itself, and says so"


def test_a_cell_has_the_environment_of_its_run(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = "def fit(self, X, y):\n    raise ValueError(str(os.environ.get('ZOOBENCH_TOLD')))\n"
    plugin = write_models(tmp_path / "told.py", {"told": body})
    for number, told in enumerate(["first", "second", None]):  # one server answers all three runs
        monkeypatch.delenv("ZOOBENCH_TOLD", raising=False)
        if told is not None:
            monkeypatch.setenv("ZOOBENCH_TOLD", told)
        frame = run(task="tiny", model="told", plugin=[tiny, plugin], results=tmp_path / str(number), quiet=True)
        assert frame.reason.item() == f"ValueError: {told}"


def test_a_model_of_another_modality_is_incompatible(tmp_path: Path, tiny: Path) -> None:
    plugin = tmp_path / "image.py"
    plugin.write_text(
        "from zoobench.zoo.core import ModelCard, model\n"
        "@model(ModelCard(name='seer', title='t', description='d', modality='image', framework='torch', citation='c'))\n"
        "def build(config, context):\n    raise AssertionError\n"
        "@model(ModelCard(name='absent', title='t', description='d', modality='text', framework='scikit-learn',"
        " citation='c', requires=('not_a_package',)))\n"
        "def build_absent(config, context):\n    raise AssertionError\n"
    )
    frame = run(task="tiny", model=["seer", "absent"], plugin=[tiny, plugin], results=tmp_path / "r", quiet=True)
    assert list(frame.status) == ["incompatible", "unavailable"]
    assert frame.reason[0] == "seer reads image, tiny is text"
    assert frame.reason[1] == "not_a_package is not installed: pip install not_a_package"


def test_an_outcome_that_is_half_written_is_no_outcome(tmp_path: Path) -> None:
    assert Outcome.read(tmp_path) is None
    Outcome("ok").write(tmp_path)
    assert Outcome.read(tmp_path) == Outcome("ok")
    path = next(tmp_path.iterdir())
    path.write_text(path.read_text()[:20])
    assert Outcome.read(tmp_path) is None


def test_a_record_refuses_impossible_states(tmp_path: Path, tiny: Path) -> None:
    run(task="tiny", model="dummy-uniform", plugin=tiny, results=tmp_path, quiet=True)
    values = json.loads(next(Results(tmp_path).record_paths()).read_text())
    Record.model_validate(values)
    for change in (
        {"status": "failed"},
        {"status": "failed", "reason": "why"},
        {"reason": "why"},
        {"test": {}},
        {"policy": "other"},
        {"speed": None},
        {"schema_version": 99},
        {"unheard": 1},
        {"key": "short"},
    ):
        with pytest.raises(ValueError, match=r"\w"):
            Record.model_validate(values | change)
    chosen = values["test"]["global"].pop("thresholds")
    with pytest.raises(ValueError, match=f"policy global has 0 thresholds, not {len(chosen)}"):
        Record.model_validate(values)
    values["test"]["global"] |= {"thresholds": chosen}
    values["test"]["global"]["values"]["f1_micro"] = None
    with pytest.raises(ValueError, match="f1_micro has no value and is not named undefined"):
        Record.model_validate(values)


def test_temporary_files_end_with_their_cell(bad_run: dict[str, Record]) -> None:
    kept = [Path(note) for note in bad_run["untidy"].notes if note.startswith("/")]
    assert len(kept) == 2
    assert len({path.parent for path in kept}) == 1
    left = list(Path(tempfile.gettempdir()).glob(f"zoobench.*~{os.getpid()}~*"))
    assert not left, "also of cells that were killed"
