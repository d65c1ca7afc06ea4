"""`zoobench results merge`: no cell is lost, the better record of two stands, and a kill leaves nothing half done."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from zoobench.benchmarks.cell import record_key
from zoobench.benchmarks.merge import Merger, check_folders, merge
from zoobench.benchmarks.store import Results, Stored, hash_files, lock, read_record
from zoobench.datasets.support.errors import UserError

from .conftest import zoobench_here
from .records import STRONG, TUNING, WEAK, Cell, Outcome

FIRST, LATER = "2025-01-01T00:00:00Z", "2025-01-02T00:00:00Z"


def store(root: Path, model: str, outcome: Outcome | None = STRONG, files: int = 2, **more: Any) -> Stored:
    """Store a cell as a run does: probabilities, resamples and an artefact, listed with their hashes."""
    record = Cell(model, outcome, **more).record()
    record = record.model_copy(update={"key": record_key(record.fit_key, record.hardware_class)})
    results = Results(root)
    results.ensure_writable()
    staged = results.scratch() / "staged"
    (staged / "artefact").mkdir(parents=True)
    for name in ("probabilities.parquet", "resamples.parquet", *(f"artefact/{number}" for number in range(files))):
        (staged / name).write_bytes(hashlib.shake_256(f"{model} {record.attempt} {name}".encode()).digest(2_000))
    hashes = hash_files(staged)
    (staged / "log.txt").write_text("what it printed")
    return results.commit(record.model_copy(update={"files": hashes}), staged)


def contents(root: Path) -> dict[str, bytes]:
    """Return every file below `cells` and `studies` by its path."""
    files = [path for part in ("cells", "studies") for path in (root / part).rglob("*") if path.is_file()]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def results_merge(*words: str | Path) -> tuple[int, str]:
    done = zoobench_here("results", "merge", *words)
    return done.returncode, done.stdout + done.stderr


def test_every_cell_of_each_stands_in_the_target(tmp_path: Path) -> None:
    one, two, out = (tmp_path / name for name in ("one", "two", "out"))
    for model in ("ash", "birch"):
        store(one, model)
    store(two, "cedar")
    before = contents(one), contents(two)
    assert results_merge(one, two, "--out", out) == (0, f"{out}: 3 added\n")
    assert contents(out) == before[0] | before[1]
    assert (contents(one), contents(two)) == before
    assert results_merge(one, two, "--out", out) == (0, f"{out}: 3 kept\n")
    assert contents(out) == before[0] | before[1]


def test_without_out_all_goes_into_the_first(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    store(one, "ash")
    store(two, "birch")
    assert results_merge(one, two) == (0, f"{one}: 1 added\n")
    assert {path.split("/")[2] for path in contents(one)} == {"ash", "birch"}
    assert {path.split("/")[2] for path in contents(two)} == {"birch"}


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("worse", "better"),
    [
        ({"outcome": STRONG, "created": FIRST}, {"outcome": WEAK, "created": LATER}),
        ({"outcome": None, "created": LATER}, {"outcome": WEAK, "created": FIRST}),
        (
            {"outcome": None, "created": LATER, "changes": {"status": "unavailable", "reason": "no torch"}},
            {"outcome": None, "created": FIRST},
        ),
        (
            {"outcome": STRONG, "created": "2025-01-01T09:00:00+09:00"},
            {"outcome": WEAK, "created": "2025-01-01T00:00:01Z"},
        ),
    ],
    ids=["the newer", "the finished", "the one that ran", "the newer by the clock of the world"],
)
def test_of_one_cell_the_better_record_stands(
    worse: dict[str, Any], better: dict[str, Any], turned: bool, tmp_path: Path
) -> None:
    one, two, out = (tmp_path / name for name in ("one", "two", "out"))
    store(one, "ash", **worse)
    best = store(two, "ash", **better)
    folders = (two, one) if turned else (one, two)
    status, said = results_merge(*folders, "--out", out)
    assert status == 0
    assert ("kept: " if turned else "replaced: ") in said
    assert " before " in said
    assert contents(out) == contents(two)
    [path] = Results(out).record_paths()
    assert read_record(path) == best.record


def test_an_attempt_is_completed_with_what_it_lacked(tmp_path: Path) -> None:
    """A committed folder holds no artefacts; the folder that it was made from does."""
    one, two = tmp_path / "one", tmp_path / "two"
    stored = store(one, "ash")
    shutil.copytree(one, two)
    shutil.rmtree(one / stored.attempt.relative_to(one) / "artefact")
    assert results_merge(one, two) == (0, f"{one}: 1 completed\n")
    assert contents(one) == contents(two)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda stored: stored.path.write_text("{"), "not whole JSON"),
        (lambda stored: _edit(stored, schema_version=99), "written by a newer zoobench"),
        (lambda stored: _edit(stored, model="oak"), "holds the record of another cell (made-up/oak/"),
        (lambda stored: _edit(stored, hardware_class="faster"), "its key is"),
        (lambda stored: (stored.attempt / "artefact" / "0").write_text("other"), "is not the file that was recorded"),
        (lambda stored: (stored.attempt / "probabilities.parquet").unlink(), "is not there"),
        (lambda stored: _edit(stored, files={"../../../../gone": "0" * 64}), "no file of the attempt's folder"),
    ],
)
def test_what_is_no_whole_record_is_refused_and_the_rest_is_merged(spoil: Any, told: str, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    kept = store(one, "ash", created=FIRST)
    spoil(store(two, "ash", created=LATER))
    store(two, "birch")
    before = contents(one)
    status, said = results_merge(one, two)
    assert status == 1
    assert "refused: " in said
    assert told in said
    assert f"{one}: 1 added, 1 refused" in said
    assert {name: content for name, content in contents(one).items() if "/ash/" in name} == before
    assert read_record(kept.path) == kept.record


def _edit(stored: Stored, **changes: Any) -> None:
    stored.path.write_text(json.dumps(json.loads(stored.path.read_text()) | changes))


def test_one_attempt_with_two_records_is_refused(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    store(one, "ash")
    _edit(store(two, "ash"), threads=64)
    before = contents(one)
    status, said = results_merge(one, two)
    assert (status, contents(one)) == (1, before)
    assert "another record of the same attempt" in said


def test_what_cannot_be_read_in_the_target_is_not_replaced(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    _edit(store(one, "ash"), schema_version=99)
    store(two, "ash", created=LATER)
    before = contents(one)
    status, said = results_merge(one, two)
    assert (status, contents(one)) == (1, before)
    assert "stands there and cannot be read" in said


def test_a_cell_in_the_hands_of_a_run_is_left_alone(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    store(one, "birch")
    stored = store(two, "ash")
    with lock(Results(one).claim(stored.record.fit_key)):
        [taken] = merge(Results(one), [Results(two)], wait_s=0.1)
    assert (taken.came, taken.path) == ("busy", stored.path)
    assert "ash" not in " ".join(contents(one))
    [taken] = merge(Results(one), [Results(two)])
    assert taken.came == "added"


def test_studies_come_along_and_are_not_mixed(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for root in (one, two):
        store(root, "ash")
        for key in ("both", root.name):
            folder = root / "studies" / "made-up" / "ash" / key / "trials" / "0000"
            folder.mkdir(parents=True)
            (folder / "probabilities.parquet").write_text(f"of {key}")
    status, said = results_merge(one, two)
    assert (status, said.count("another study of this name stands there")) == (0, 0), "the same"
    (two / "studies" / "made-up" / "ash" / "both" / "journal.log").write_text("more")
    status, said = results_merge(one, two)
    assert (status, said.count("another study of this name stands there")) == (0, 1)
    found = {path.removeprefix("studies/made-up/ash/") for path in contents(one) if path.startswith("studies/")}
    assert found == {f"{key}/trials/0000/probabilities.parquet" for key in ("both", "one", "two")}


def _tuned(root: Path, created: str, trial: str) -> Stored:
    """Store a tuned cell and, where `trial` is something, the study that it came from."""
    stored = store(root, "ash", created=created, changes={"mode": "tuned"})
    if trial:
        folder = Results(root).study("made-up", "ash", TUNING["key"]) / "trials" / "0000"
        folder.mkdir(parents=True)
        (folder / "probabilities.parquet").write_text(trial)
    return stored


@pytest.mark.parametrize("trials", ["other", "same", ""])
def test_a_tuned_record_is_not_parted_from_its_trials(trials: str, tmp_path: Path) -> None:
    """Of one size, since that is what probabilities of other trials are."""
    one, two = tmp_path / "one", tmp_path / "two"
    standing = _tuned(one, FIRST, "these")
    newer = _tuned(two, LATER, {"same": "these", "other": "those"}.get(trials, ""))
    before = contents(one)
    *_, taken = merge(Results(one), [Results(two)])
    if trials == "other":
        assert (taken.came, contents(one)) == ("kept", before)
        assert "its study did not come along" in taken.why
    else:
        assert taken.came == "replaced"
        assert read_record(standing.path) == newer.record


def test_a_tuned_record_without_its_trials_is_better_than_none_and_says_so(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    shutil.rmtree(_tuned(one, FIRST, "these").path.parent)
    store(one, "birch")
    _tuned(two, LATER, "those")
    status, said = results_merge(one, two)
    assert status == 0
    assert "added: " in said
    assert said.count("its study did not come along") == 1


def test_a_study_that_a_run_begins_meanwhile_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    _tuned(two, FIRST, "these")
    place = Results(one).study("made-up", "ash", TUNING["key"])
    copytree = shutil.copytree

    def begun(*args: Any, **kwargs: Any) -> Any:
        place.mkdir(parents=True, exist_ok=True)
        (place / "journal.log").write_text("begun")
        return copytree(*args, **kwargs)

    monkeypatch.setattr(shutil, "copytree", begun)
    first, second = merge(Results(one), [Results(two)])
    assert (first.came, first.why) == ("kept", "another study of this name stands there")
    assert (second.came, bool(second.why)) == ("added", True)
    assert [path.name for path in place.iterdir()] == ["journal.log"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("one",), "merge takes two folders or more"),
        (("one", "nowhere"), "nowhere does not exist"),
        (("one", "empty"), "holds no record"),
        (("one", "one"), "is the folder to merge into"),
        (("one", "--out", "one"), "is the folder to merge into"),
        (("one", "two", "--format", "md"), "unknown format 'md'"),
    ],
)
def test_bad_input(words: tuple[str, ...], told: str, tmp_path: Path) -> None:
    store(tmp_path / "one", "ash")
    store(tmp_path / "two", "ash")
    (tmp_path / "empty").mkdir()
    done = zoobench_here("results", "merge", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1


KILLED = """
import sys
from pathlib import Path
from zoobench.benchmarks.merge import merge
from zoobench.benchmarks.store import Results
print("begun", flush=True)
list(merge(Results(Path(sys.argv[1])), [Results(Path(name)) for name in sys.argv[2:]]))
"""


def test_a_merge_that_is_killed_goes_on(tmp_path: Path) -> None:
    """Whatever moment it is: each record that stands is whole, and the last merge makes what one alone makes."""
    one, two, out, alone = (tmp_path / name for name in ("one", "two", "out", "alone"))
    for number in range(12):
        store(one, f"ash-{number}", created=FIRST, files=8)
        store(two, f"ash-{number}", created=LATER, files=8)
    start = time.monotonic()
    list(merge(Results(alone), [Results(one), Results(two)]))
    seconds = time.monotonic() - start
    chance, killed = np.random.default_rng(0), 0
    for _ in range(4):
        words = [sys.executable, "-c", KILLED, str(out), str(one), str(two)]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, env=dict(os.environ))
        assert process.stdout
        process.stdout.readline()
        time.sleep(chance.uniform(0, seconds))
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        for path in Results(out).record_paths():
            stored = Stored(read_record(path), path)
            assert hash_files(stored.attempt) == stored.record.files
    assert killed
    list(merge(Results(out), [Results(one), Results(two)]))
    assert {path: read_record(out / path) for path in contents(out) if path.endswith("record.json")} == {
        path: read_record(alone / path) for path in contents(alone) if path.endswith("record.json")
    }
    work = [path for path in (out / ".work").iterdir() if path.name != "locks"]
    assert not work


def test_a_merge_that_ends_before_its_record_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    store(one, "ash", created=FIRST)
    store(two, "ash", WEAK, created=LATER)
    before = contents(one)

    def ended(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("zoobench.benchmarks.store.write_text", ended)
        with pytest.raises(KeyboardInterrupt):
            list(merge(Results(one), [Results(two)]))
    assert before.items() < contents(one).items(), "what stood there stands, beside an attempt without a record"
    [taken] = merge(Results(one), [Results(two)])
    assert taken.came == "replaced"
    assert contents(one) == contents(two)


def test_an_attempt_that_is_replaced_meanwhile_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    old = store(two, "ash", created=FIRST)
    decide, tries = Merger._decide, []

    def replaced(self: Merger, stored: Stored) -> Any:
        tries.append(stored.record.attempt)
        if len(tries) == 1:
            store(two, "ash", WEAK, created=LATER)
        return decide(self, stored)

    monkeypatch.setattr(Merger, "_decide", replaced)
    [taken] = merge(Results(one), [Results(two)])
    assert taken.came == "added"
    assert tries[0] == old.record.attempt != tries[1]
    assert contents(one) == contents(two)


def test_a_folder_inside_a_source_is_refused(tmp_path: Path) -> None:
    store(tmp_path / "one", "ash")
    with pytest.raises(UserError, match="lies inside"):
        check_folders(Results(tmp_path / "one" / "all"), [Results(tmp_path / "one")])
