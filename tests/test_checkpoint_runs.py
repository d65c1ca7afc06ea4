"""Runs with --checkpoint: real kills, the record of a cell that went on, and what is left in the folder."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest
from zoobench.benchmarks import runner
from zoobench.benchmarks.engines.base import Ending
from zoobench.benchmarks.engines.local import LocalEngine
from zoobench.benchmarks.job import Job
from zoobench.benchmarks.record import Record
from zoobench.benchmarks.store import Results, Stored, read_record
from zoobench.benchmarks.tiny import tiny_encoder
from zoobench.datasets.support.files import lock

from .conftest import until
from .test_resume import _start

pytestmark = pytest.mark.slow
WORDS = ("--checkpoint", "--threads", "1")

# A fine-tuned BERT that, where a file of that name says so, does in its third epoch what is written there, once.
SOURCE = """
import os, signal, time
from pathlib import Path
import safetensors.numpy
from zoobench.zoo.core import MODELS, ModelCard, model
from zoobench.zoo.finetune import FineTuned
from zoobench.zoo.models.finetuned import MINILM

FLAGS = Path({flags!r})


def asked(word):
    if not (FLAGS / word).exists():
        return False
    (FLAGS / word).rename(FLAGS / (word + "-done"))
    return True


whole = safetensors.numpy.save_file


def tear(arrays, path, metadata=None):
    whole(arrays, path, metadata)
    if metadata and '"done": 2,' in metadata.get("state", "") and asked("tear"):
        os.truncate(path, os.path.getsize(path) // 2)
        os.kill(os.getpid(), signal.SIGKILL)


class Mortal(FineTuned):
    def fit(self, X, y, *, X_val=None, y_val=None, seed=0, scorer=None, report=None):
        safetensors.numpy.save_file = tear
        epochs = []

        def told(step, total, **values):
            report(step, total, **values)
            if values:
                epochs.append(step)
            if len(epochs) == 3 and asked("kill"):
                os.kill(os.getpid(), signal.SIGKILL)
            if len(epochs) == 3 and asked("stall"):
                time.sleep(120)

        return super().fit(X, y, X_val=X_val, y_val=y_val, seed=seed, scorer=scorer, report=told)


DEFAULT = {{**MINILM.card.default, "encoder": {encoder!r}, "epochs": 4, "learning_rate": 1e-3, "attention_dropout": 0.1}}


@model(ModelCard(name="mortal", title="t", description="d", modality="text", framework="torch", citation="c",
                 default={{**DEFAULT, "number_format": "fp32"}}, folders=("encoder",)))
def build(config, context):
    return Mortal(config, context)
"""


@pytest.fixture(scope="module")
def flags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("flags")


@pytest.fixture(scope="module")
def plugin(flags: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mortal")
    path = folder / "mortal.py"
    path.write_text(SOURCE.format(flags=str(flags), encoder=tiny_encoder(folder / "encoder")))
    return path


def run(results: Path, plugins: list[Path], **more: Any) -> Stored:
    asked = {"task": "tiny", "model": "mortal", "plugin": plugins, "results": results, "threads": 1, "quiet": True}
    [stored] = runner.run_suite("quick", {**asked, **more}).made  # type: ignore[typeddict-item]
    assert stored.record.status == "ok", stored.record.reason
    return stored


@pytest.fixture(scope="module")
def whole(plugin: Path, tiny: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """An unbroken run without checkpoints."""
    del cache
    return run(tmp_path_factory.mktemp("whole"), [tiny, plugin])


def same(stored: Stored, whole: Stored) -> None:
    """Compare probabilities, scores, history and losses to the bit."""
    one, other = (pq.read_table(each.attempt / "probabilities.parquet") for each in (stored, whole))
    assert one.equals(other)
    for name in ("test", "validation", "train", "history", "fit_key", "key"):
        assert getattr(stored.record, name) == getattr(whole.record, name), name
    assert (stored.attempt / "losses.csv").read_text() == (whole.attempt / "losses.csv").read_text()
    assert len(stored.record.history) == 4


def resumed(record: Record) -> list[str]:
    return [note.partition(":")[0] for note in record.notes if note.startswith("resumed")]


def left(results: Path) -> list[str]:
    return sorted(path.name for path in (results / ".work").iterdir())


def test_checkpoints_change_nothing_and_leave_nothing(plugin: Path, tiny: Path, whole: Stored, tmp_path: Path) -> None:
    stored = run(tmp_path, [tiny, plugin], checkpoint=True)
    same(stored, whole)
    assert stored.record.notes == whole.record.notes
    assert left(tmp_path) == ["locks"]


@pytest.mark.parametrize(("how", "epoch"), [("kill", 3), ("tear", 2)])
def test_a_cell_that_is_killed_from_outside_goes_on_at_once(
    how: str, epoch: int, plugin: Path, tiny: Path, flags: Path, whole: Stored, tmp_path: Path
) -> None:
    """In the middle of an epoch, and in the middle of writing the second checkpoint."""
    (flags / how).touch()
    stored = run(tmp_path, [tiny, plugin], checkpoint=True)
    assert not (flags / how).exists()
    same(stored, whole)
    assert resumed(stored.record) == [f"resumed at epoch {epoch} of 4"]
    assert left(tmp_path) == ["locks"]


def test_without_the_flag_a_second_try_tells_its_history_once(
    plugin: Path, tiny: Path, flags: Path, whole: Stored, tmp_path: Path
) -> None:
    (flags / "kill").touch()
    stored = run(tmp_path, [tiny, plugin])
    same(stored, whole)
    assert stored.record.notes == whole.record.notes


def killed_in_its_third_epoch(plugins: list[Path], flags: Path, results: Path) -> Path:
    """Start a run in a process of its own, kill it, and return the checkpoint that it left."""
    (flags / "stall-done").unlink(missing_ok=True)
    (flags / "stall").touch()
    first = _start(plugins, results, ["mortal"], *WORDS)
    until((flags / "stall-done").exists, 300)
    children = psutil.Process(first.pid).children(recursive=True)
    first.kill()
    first.communicate(timeout=30)
    psutil.wait_procs(children, 15)
    [kept] = (results / ".work" / "checkpoints").glob("*/*/*.safetensors")
    return kept


def test_a_run_that_is_killed_goes_on_at_the_last_epoch(
    plugin: Path, tiny: Path, flags: Path, whole: Stored, tmp_path: Path
) -> None:
    kept = killed_in_its_third_epoch([tiny, plugin], flags, tmp_path)
    assert kept.name == f"{whole.record.fit_key}-1.safetensors"
    second = _start([tiny, plugin], tmp_path, ["mortal"], *WORDS)
    _, err = second.communicate(timeout=300)
    assert second.returncode == 0, err
    assert "mortal: goes on at epoch 3 of 4" in err
    [path] = Results(tmp_path).record_paths()
    stored = Stored(read_record(path), path)
    same(stored, whole)
    assert resumed(stored.record) == ["resumed at epoch 3 of 4"]
    assert left(tmp_path) == ["locks"]


def test_what_other_code_left_is_removed_unless_a_run_is_at_it(
    plugin: Path, tiny: Path, flags: Path, whole: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, seen = LocalEngine.run, []
    results = Results(tmp_path)

    def watched(self: LocalEngine, job: Job, *given: Any) -> Ending:
        ending = real(self, job, *given)
        seen.extend(str(path.relative_to(folder)) for path in sorted(folder.rglob("*.safetensors")))
        return ending

    monkeypatch.setattr(LocalEngine, "run", watched)
    kept = killed_in_its_third_epoch([tiny, plugin], flags, tmp_path)
    own, folder = kept.parent.name, kept.parent.parent
    kept.parent.rename(folder / ("0" * 20))
    shutil.copytree(folder / ("0" * 20), folder / ("1" * 20))
    with lock(results.claim("1" * 20)):  # a run of another checkout is at it
        stored = run(tmp_path, [tiny, plugin], checkpoint=True)
    same(stored, whole)
    assert seen == [f"{'1' * 20}/{own}-1.safetensors", f"{own}/{own}-1.safetensors"]
    assert "a checkpoint of other code or data was removed: trained from the start" in stored.record.notes
    assert [path.name for path in folder.iterdir()] == ["1" * 20]


def test_cells_are_told_of_checkpoints_and_trials_are_not(
    tunable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[Job] = []
    real = LocalEngine.run

    def watched(self: LocalEngine, job: Job, *given: Any) -> Ending:
        jobs.append(job)
        return real(self, job, *given)

    monkeypatch.setattr(LocalEngine, "run", watched)
    asked = {"task": "searched", "model": "knows", "trials": 2, "plugin": tunable, "quiet": True}
    for checkpoint in (True, False):
        results = tmp_path / str(checkpoint)
        runner.run_suite("quick", {**asked, "results": results, "checkpoint": checkpoint})  # type: ignore[typeddict-item]
    told = [(job.trial, bool(job.checkpoint)) for job in jobs]
    assert sorted(told[:4]) == [(False, True), (False, True), (True, False), (True, False)]
    assert len({Path(job.checkpoint).parent for job in jobs[:4] if job.checkpoint}) == 2, "tuned and default apart"
    assert not any(kept for _, kept in told[4:])
