"""Studies: what they search, what they record, and that they go on, whatever ends them."""

from __future__ import annotations

import csv
import io
import json
import platform
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import optuna
import pyarrow.parquet as pq
import pytest
from zoobench.benchmarks import runner, studies
from zoobench.benchmarks.record import Record
from zoobench.benchmarks.search import Search
from zoobench.benchmarks.studies import counted, open_storage, open_study
from zoobench.datasets import layout
from zoobench.datasets.support.errors import UserError
from zoobench.zoo.core import Choice, ModelCard, Range

from tests.conftest import until, zoobench, zoobench_here
from tests.tunable import SOURCE


def tune(tunable: Path, results: Path, **more: object) -> list[Record]:
    asked = {"task": "searched", "model": "knows", "trials": 12, "pruner": "none", "set": {}, **more}
    finished = runner.run_suite("quick", {**asked, "plugin": tunable, "results": results, "quiet": True})  # type: ignore[typeddict-item]
    return finished.records


def study_of(results: Path) -> optuna.Study:
    [journal] = results.glob("studies/*/*/*/journal.log")
    storage = open_storage(journal)
    [name] = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=name, storage=storage)


@pytest.fixture(scope="module")
def tuned(tunable: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Record]]:
    results = tmp_path_factory.mktemp("tuned")
    return results, tune(tunable, results)


def card(**space: Range | Choice) -> ModelCard:
    default = {"head": "linear", "width": 8, "rate": 0.1}
    return ModelCard(
        name="made-up", title="t", description="d", modality="text", framework="torch", citation="c",
        default=default, space=space,
    )  # fmt: skip


def test_what_a_condition_rules_out_stays_as_it_is() -> None:
    space = {"head": Choice(("linear", "deep")), "width": Range(4, 64, when={"head": ("deep",)})}
    search = Search.of(card(**space), card(**space).configure(), ())
    assert search.suggest(optuna.trial.FixedTrial({"head": "linear"})) == {"head": "linear", "width": 8, "rate": 0.1}
    assert search.suggest(optuna.trial.FixedTrial({"head": "deep", "width": 32}))["width"] == 32
    assert search.start() == {"head": "linear"}


def test_a_space_holds_what_it_starts_from_and_leaves_what_the_user_set() -> None:
    spaced = card(width=Range(16, 64, log=True), rate=Range(0.01, 1.0, log=True))
    search = Search.of(spaced, spaced.configure("", {"width": 128, "rate": 0.5}), {"rate"})
    assert search.space == {"width": Range(16, 128, log=True)}
    assert search.start() == {"width": 128}


@pytest.mark.parametrize(
    "space",
    [
        {"width": Range(4, 64, when={"head": ("deep",)}), "head": Choice(("linear", "deep"))},
        {"width": Range(4, 64, when={"depth": (1,)})},
        {"head": Choice(("linear", 3))},
        {"width": Range(4, 64, when={"width": (8,)})},
    ],
)
def test_a_card_refuses_conditions_that_cannot_be_met(space: dict[str, Range | Choice]) -> None:
    with pytest.raises(ValueError, match="model made-up: space"):
        card(**space)


def test_default_and_tuned_are_modes_of_one_model(tuned: tuple[Path, list[Record]]) -> None:
    default, best = sorted(tuned[1], key=lambda record: record.mode)
    assert (default.mode, best.mode) == ("default", "tuned")
    assert default.tuning is None
    assert best.tuning is not None
    account = best.tuning
    assert account.finished + account.pruned + account.failed == account.budget == 12
    # The study's value is that of the record: the best configuration was fitted again with the same seed.
    assert best.validation[best.policy].values[best.primary_metric] == pytest.approx(account.value)
    assert default.validation[default.policy].values[default.primary_metric] == pytest.approx(account.default_value)
    assert account.value > (account.default_value or 1.0)
    assert best.config["skill"] > 0.5
    assert best.fit_key != default.fit_key
    assert best.timings.tune == pytest.approx(account.seconds)
    assert default.timings.tune == 0


def test_every_trial_is_recorded(tuned: tuple[Path, list[Record]]) -> None:
    results, records = tuned
    best = next(record for record in records if record.tuning)
    [path] = results.glob("cells/searched/knows/*/*/trials.csv")
    rows = list(csv.DictReader(path.open()))
    assert [int(row["trial"]) for row in rows] == list(range(12))
    assert rows[0]["kind"] == "plain"
    assert float(rows[0]["skill"]) == 0.2
    assert not rows[0]["depth"]
    states = [row["state"] for row in rows]
    assert best.tuning
    assert states.count("complete") == best.tuning.finished
    assert "fail" in states
    assert all(float(row["seconds"]) > 0 for row in rows)
    reasons = {row["reason"].partition(";")[0] for row in rows if row["state"] == "fail"}  # then what memory held
    assert reasons <= {"failed: ValueError: this kind never fits", "oom: out of memory: this kind wants it all"}
    assert reasons
    for row in rows:
        kept = results.glob(f"studies/searched/knows/*/trials/{int(row['trial']):04d}/probabilities.parquet")
        assert len(list(kept)) == (row["state"] == "complete")


def test_a_trial_keeps_what_the_cell_of_its_configuration_answers(tuned: tuple[Path, list[Record]]) -> None:
    results, records = tuned
    best = next(record for record in records if record.tuning)
    [cell] = results.glob(f"cells/searched/knows/{best.key}/*/probabilities.parquet")
    assert best.tuning
    [trial] = results.glob(f"studies/searched/knows/*/trials/{best.tuning.best:04d}/probabilities.parquet")
    assert pq.read_table(cell).equals(pq.read_table(trial))


def test_a_larger_budget_goes_on_and_the_same_one_stands(tunable: Path, tuned: tuple[Path, list[Record]]) -> None:
    results, records = tuned
    before = [(trial.number, trial.params, trial.value) for trial in study_of(results).trials]
    again = tune(tunable, results)
    assert {record.attempt for record in again} == {record.attempt for record in records}
    more = tune(tunable, results, trials=14)
    after = [(trial.number, trial.params, trial.value) for trial in study_of(results).trials]
    assert after[:12] == before
    assert len(after) == 14
    assert next(record for record in more if record.tuning).key not in {record.key for record in records}


def test_trials_are_pruned_by_their_epochs(tunable: Path, tmp_path: Path) -> None:
    best = next(
        record
        for record in tune(tunable, tmp_path, trials=12, pruner="median", set={"kind": "plain", "nap": 0.2})
        if record.tuning
    )
    assert best.tuning
    assert best.tuning.pruned
    pruned = [trial for trial in study_of(tmp_path).trials if trial.state.name == "PRUNED"]
    assert all(0 < len(trial.intermediate_values) <= 5 for trial in pruned)
    assert best.tuning.finished + best.tuning.pruned + best.tuning.failed == 12


def test_test_labels_move_no_trial(tunable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The targets of the test fold turned round where they are kept: scores change, trials do not."""
    monkeypatch.setenv("ZOOBENCH_CACHE", str(tmp_path / "cache"))
    asked = {"trials": 6, "set": {"nap": 0.001}}
    plain = tune(tunable, tmp_path / "plain", **asked)
    [sealed] = (tmp_path / "cache" / "tasks" / "searched").glob(f"*/{layout.SEALED}")
    with np.load(io.BytesIO(layout.mask(sealed.read_bytes()))) as kept:
        turned = {name: 1 - kept[name] if name == "target" else kept[name] for name in kept.files}
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **turned)
    sealed.write_bytes(layout.mask(content.getvalue()))
    planted = tune(tunable, tmp_path / "planted", **asked)
    trials = [
        [(trial.params, trial.value, trial.state) for trial in study_of(results).trials]
        for results in (tmp_path / "plain", tmp_path / "planted")
    ]
    assert trials[0] == trials[1]
    assert len(trials[0]) == 6
    for before, after in zip(plain, planted, strict=True):
        assert before.config == after.config
        assert before.test[before.policy].values != after.test[after.policy].values


def command(tunable: Path, results: Path, *words: str) -> list[str]:
    start = [sys.executable, "-m", "zoobench.leaderboard.cli", "run", "--task", "searched", "--model", "knows"]
    return [*start, "--plugin", str(tunable), "--results", str(results), *words]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_stopped_study_goes_on(tunable: Path, tmp_path: Path, how: signal.Signals) -> None:
    words = command(tunable, tmp_path, "--trials", "5", "--pruner", "none", "--set", "kind=plain")
    slow = subprocess.Popen([*words, "--set", "nap=0.4"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def second_runs() -> bool:
        journals = list(tmp_path.glob("studies/*/*/*/journal.log"))
        running = [trial for trial in study_of(tmp_path).trials if trial.state.name == "RUNNING"] if journals else []
        return any(trial.number >= 1 and trial.intermediate_values for trial in running)

    until(second_runs)
    slow.send_signal(how)
    slow.wait(60)
    before = study_of(tmp_path).trials
    cut = next(trial for trial in before if trial.number and trial.state.name in {"RUNNING", "FAIL"})
    done = subprocess.run([*words, "--set", "nap=0.4"], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    after = study_of(tmp_path).trials
    finished = [trial for trial in before if trial.state.is_finished() and trial.number != cut.number]
    assert [(trial.number, trial.value) for trial in after[: len(finished)]] == [
        (trial.number, trial.value) for trial in finished
    ]
    assert after[cut.number].state.name == "FAIL"  # dead, and tried once more with the same parameters
    [again] = [trial for trial in after if cut.number in trial.system_attrs.get("retry_history", ())]
    assert again.params == cut.params
    assert again.state.name == "COMPLETE"
    assert len(counted(after)) == 5
    assert len(after) == 6


def test_a_trial_whose_process_died_before_it_said_its_name(
    tunable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tune(tunable, tmp_path, trials=2, set={"kind": "plain"})
    nameless = study_of(tmp_path).ask()
    tune(tunable, tmp_path, trials=3, set={"kind": "plain"})
    assert study_of(tmp_path).trials[nameless.number].state.name == "RUNNING"  # it may yet say its name
    monkeypatch.setattr(studies, "GRACE_S", 0)
    tune(tunable, tmp_path, trials=4, set={"kind": "plain"})
    states = [trial.state.name for trial in study_of(tmp_path).trials]
    assert states[nameless.number] == "FAIL"
    assert states.count("COMPLETE") == 4


def test_half_a_line_of_a_journal_is_cut_off(tunable: Path, tmp_path: Path) -> None:
    tune(tunable, tmp_path, trials=2, set={"kind": "plain"})
    [journal] = tmp_path.glob("studies/*/*/*/journal.log")
    with journal.open("ab") as stream:
        stream.write(b'{"op_code":4,"worker_id":"killed while wri')
    tune(tunable, tmp_path, trials=3, set={"kind": "plain"})
    assert [trial.state.name for trial in study_of(tmp_path).trials] == ["COMPLETE"] * 3


def test_a_study_without_a_value_is_a_failed_cell(tunable: Path, tmp_path: Path) -> None:
    words = ["--trials", "2", "--set", "kind=breaks"]
    done = subprocess.run(command(tunable, tmp_path, *words), capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 1
    assert "no trial of 2 came to a value; the first: failed: ValueError: this kind never fits" in done.stderr
    shown = zoobench("study", "searched", "knows", "--results", tmp_path, timeout=120)
    assert shown.returncode == 2
    assert "has no finished trial of 2 yet" in shown.stderr
    assert len(shown.stderr.splitlines()) == 1


def test_a_study_is_shown_and_drawn(tuned: tuple[Path, list[Record]], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    done = zoobench("study", "searched", "knows", "--results", tuned[0], "--top", "3", "--out", page)
    assert done.returncode == 0, done.stderr
    values = [trial.value for trial in study_of(tuned[0]).trials if trial.value is not None]
    assert f"{max(values):.4f}" in done.stdout
    count = len(study_of(tuned[0]).trials)
    assert f"{count - 3} more: --top {count}" in done.stdout
    text = page.read_text()
    for title in ("Value by trial", "What mattered", "Value by setting", "Settings together"):
        assert title in text
    told = json.loads(zoobench("study", "searched", "knows", "--results", tuned[0], "--format", "json").stdout)
    assert told[0]["trials"][0]["value"] == max(values)
    assert 0.99 < sum(told[0]["importances"].values()) < 1.01


def test_a_database_that_is_not_there_is_not_made_by_looking(tmp_path: Path) -> None:
    missing = tmp_path / "missing.db"
    shown = zoobench_here("study", "searched", "knows", "--storage", f"sqlite:///{missing}")
    assert shown.returncode == 2
    assert f"{missing} does not exist; `zoobench run --trials N" in shown.stderr
    assert not missing.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--trials", "0"], "--trials 0 must be 1 or more"),
        (["--trials", "-3"], "--trials -3 must be 1 or more"),
        (["--trials", "2", "--tune-time", "0"], "--tune-time 0 must be more than 0"),
        (["--tune-time", "5"], "--tune-time is of tuning: give --trials N too"),
        (["--trials", "2", "--pruner", "medium"], "did you mean 'median'?"),
        (["--trials", "2", "--storage", "postgresql+psycopg://me:secret@127.0.0.1:1/none"], "127.0.0.1:1/none cannot"),
        (["--trials", "2", "--storage", "studies"], "is no database URL, such as"),
        (["--trials", "2", "--storage", "sqlite:////proc/none/studies.db"], "cannot be opened: unable to open"),
        (["--trials", "2", "--model", "dummy-uniform"], "dummy-uniform has no setting to search"),
    ],
)
def test_bad_input_is_one_line(tunable: Path, tmp_path: Path, words: list[str], said: str) -> None:
    model = [] if "--model" in words else ["--model", "knows"]
    done = zoobench_here(
        "run", "--task", "searched", *model, "--plugin", tunable, "--results", tmp_path / "new", *words
    )
    assert done.returncode == 2, done.stdout
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "secret" not in done.stderr
    assert not (tmp_path / "new").exists()


def test_a_storage_of_another_space_is_refused(tunable: Path, tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / 'studies.db'}"
    tune(tunable, tmp_path / "first", trials=2, storage=storage, set={"kind": "plain"})
    other = tmp_path / "other.py"
    other.write_text(SOURCE.replace("Range(1, 9,", "Range(1, 7,"))
    done = zoobench(
        *("run", "--task", "searched", "--model", "knows", "--plugin", other, "--trials", "3", "--storage", storage),
        *("--results", tmp_path / "second", "--set", "kind=plain"),
    )
    assert done.returncode == 2
    assert "study searched/knows/kind=plain/seed 0 in the storage is another one" in done.stderr
    assert "'high': 9" in done.stderr
    assert "'high': 7" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list((tmp_path / "second").glob("cells/*"))


def test_no_trial_begins_after_the_time_of_a_study(tunable: Path, tmp_path: Path) -> None:
    settings = {"kind": "plain", "nap": 0.3}
    best = next(record for record in tune(tunable, tmp_path, trials=50, tune_time=4, set=settings) if record.tuning)
    assert best.tuning
    assert 1 <= best.tuning.finished < 8
    again = tune(tunable, tmp_path, trials=60, tune_time=4, set=settings)  # its time is spent: none is begun
    assert next(record for record in again if record.tuning).tuning.finished == best.tuning.finished  # type: ignore[union-attr]


def test_a_trial_ends_at_the_limit_of_a_cell(tunable: Path, tmp_path: Path) -> None:
    """The default never ends in time, deeper ones do not wait."""
    slow = tunable.parent / "slow.py"
    slow.write_text(
        SOURCE.replace('time.sleep(self.config["nap"])', 'time.sleep(9 if self.config["skill"] == 0.2 else 0)')
    )
    words = [
        word.replace(str(tunable), str(slow)) for word in command(tunable, tmp_path, "--trials", "3", "--timeout", "4")
    ]
    done = subprocess.run([*words, "--set", "kind=plain"], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 1, done.stderr  # the default cell itself ran out of time
    first, *others = study_of(tmp_path).trials
    assert (first.state.name, first.user_attrs["reason"]) == (
        "FAIL",
        "timeout: ran longer than 4 s; raise it with --timeout",
    )
    assert [trial.state.name for trial in others] == ["COMPLETE"] * 2


def test_the_first_trial_survives_any_number_of_deaths(tmp_path: Path) -> None:
    journal = tmp_path / "journal.log"
    search = Search.of(card(width=Range(4, 64)), card(width=Range(4, 64)).configure(), ())
    for death in range(3):
        study = open_study(open_storage(journal), "made-up", search, {}, 0)
        trial = study.ask()
        assert trial.user_attrs.get("default"), death
        trial.set_user_attr("owner", f"{platform.node()}~999999999~1.00")  # of a process that no longer lives
        search.suggest(trial)
    study = open_study(open_storage(journal), "made-up", search, {}, 0)
    study.tell(study.ask(), 0.5)
    assert [trial.params for trial in counted(study.trials)] == [{"width": 8}]
    other = study.ask()
    search.suggest(other)
    for _ in range(2):  # any other counts when its process has died twice
        other.set_user_attr("owner", f"{platform.node()}~999999999~1.00")
        study = open_study(open_storage(journal), "made-up", search, {}, 0)
        other = study.ask() if any(trial.state.name == "WAITING" for trial in study.trials) else other
    assert [trial.state.name for trial in counted(study.trials)] == ["COMPLETE", "FAIL"]


@pytest.mark.parametrize("line", [b"[]", b"null", b'{"op_code": 99}', b"{}", b"\xff\x00"])
def test_a_journal_that_cannot_be_read_is_refused_before_anything_runs(
    tunable: Path, tmp_path: Path, line: bytes
) -> None:
    tune(tunable, tmp_path, trials=1, set={"kind": "plain"})
    [journal] = tmp_path.glob("studies/*/*/*/journal.log")
    first, *others = journal.read_bytes().splitlines()
    journal.write_bytes(b"\n".join([first, line, *others]) + b"\n")
    with pytest.raises(UserError, match="cannot be used: it has a line that is no entry"):
        tune(tunable, tmp_path, trials=2, set={"kind": "plain"})
