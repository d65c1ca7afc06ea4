"""`zoobench ensemble` as a person meets it: what it shows, which rows the board has, and bad input in one line."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from zoobench.benchmarks.store import read_record
from zoobench.leaderboard import board
from zoobench.leaderboard.cli import main

from .ensembles import cells

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], five: Path, knowing: list[Path]
) -> Command:
    """Run `zoobench ensemble` in this process: exit status, stdout, stderr."""
    handler = signal.getsignal(signal.SIGTERM)

    def typed(*words: str) -> tuple[int, str, str]:
        adds = [each for path in knowing for each in ("--plugin", str(path))]
        monkeypatch.setattr(sys, "argv", ["zoobench", "ensemble", *words, *adds, "--results", str(five)])
        with pytest.raises(SystemExit) as ended:
            main()
        signal.signal(signal.SIGTERM, handler)
        shown = capsys.readouterr()
        return int(ended.value.code or 0), shown.out, shown.err

    return typed


def test_the_command_shows_what_was_taken_and_the_board(command: Command, five: Path) -> None:
    status, shown, problems = command("tiny")
    assert (status, problems) == (0, "")
    for words in (
        "ensemble-greedy: ",
        " of 5 cells",
        "weight",
        "knows-two, seed ",
        "validation F1 macro by round: ",
        "test F1 macro: 1.0000 [1.000, 1.000]",
    ):
        assert words in shown
    rows = board("tiny", results=five).set_index("model")
    assert rows.loc[["ensemble-greedy", "ensemble-mean"], "mode"].tolist() == ["ensemble", "ensemble"]
    assert rows.loc["ensemble-greedy", "rank"] == 1
    assert rows.loc["ensemble-greedy", "settings"] == ""
    again = command("tiny")
    assert again[1].count("recorded already (--fresh makes it again)") == 2
    assert "recorded already" not in command("tiny", "--how", "mean", "--fresh")[1]


def test_ensembles_of_other_cells_are_rows_of_their_own_and_the_newest_of_one_row_counts(
    command: Command, five: Path
) -> None:
    (none,) = cells(five, "knows-none")
    one = cells(five, "knows-one")[0]
    for words in (
        (),
        ("--model", "knows-one", "--model", "knows-none"),
        ("--seed", "0"),
        ("--cell", none.record.key[:6], "--cell", one.record.key),
        ("--name", "mine", "--model", "knows-one"),
    ):
        assert command("tiny", "--how", "mean", *words)[0] == 0, words
    rows = board("tiny", results=five).query("model == 'ensemble-mean'")
    named = sorted(rows["settings"])
    assert named[0] == ""
    assert named[1].startswith("cells=2 ")
    assert named[2:] == ["name=mine", "of=knows-none+knows-one", "seeds=0"]
    assert set(rows["seeds"]) == {"1"}
    assert rows["superseded"].sum() == 0
    shutil.rmtree(none.path.parent)
    assert command("tiny", "--how", "mean")[0] == 0
    rows = board("tiny", results=five).query("model == 'ensemble-mean' and settings == ''")
    assert rows["superseded"].tolist() == [1]
    assert len(read_record(five / rows["records"].item()).members) == 4


def test_bad_input_is_one_line_and_status_2(command: Command, five: Path) -> None:
    one = cells(five, "knows-one")[0].record.key
    for words, message in (
        (("tinny",), "unknown task 'tinny': did you mean 'tiny'"),
        (("tiny@random",), "unknown protocol of tiny 'random'"),
        (("tiny-classes",), "task 'tiny-classes' has no record in"),
        (("tiny", "--model", "know-one"), "unknown model with a record of tiny 'know-one': did you mean 'knows-one'"),
        (("tiny", "--model", "ensemble-greedy"), "ensemble-greedy is an ensemble: name the models that it is made of"),
        (("tiny", "--how", "gredy"), "unknown way to make an ensemble 'gredy': did you mean 'greedy'"),
        (("tiny", "--size", "0"), "--size 0 must be 1 or more"),
        (("tiny", "--seed", "-1"), "--seed -1 must be 0 or more"),
        (("tiny", "--seed", "7"), "needs two finished cells of tiny, there is none"),
        (("tiny", "--model", "knows-none"), "needs two finished cells of tiny, there is knows-none, seed 0"),
        (("tiny", "--cell", one), "needs two finished cells of tiny, there is knows-one, seed"),
        (("tiny", "--cell", "abcdefabcdef"), "--cell abcdefabcdef should be one cell of tiny in"),
        (("tiny", "--cell", "../x"), "--cell '../x' begins no key"),
        (("tiny", "--name", "My one"), "--name 'My one' must be lower-case words"),
        (("tiny", "--hardware", "abacus"), "no record of tiny on hardware class abacus; name one that has"),
    ):
        status, shown, problems = command(*words)
        assert (status, shown) == (2, ""), words
        assert message in problems, problems
        assert problems.count("\n") == 1
    assert not list(five.glob("cells/tiny/ensemble-*"))


def test_an_ensemble_is_no_member_and_a_cell_of_other_folds_is_refused(command: Command, five: Path) -> None:
    assert command("tiny", "--how", "mean")[0] == 0
    key = next(five.glob("cells/tiny/ensemble-mean/*")).name
    one, other = cells(five, "knows-one")
    assert f"({key}) is an ensemble" in command("tiny", "--cell", key, "--cell", one.record.key)[2]
    content = json.loads(other.path.read_text()) | {"split_sha256": "e" * 64}
    other.path.write_text(json.dumps(content))
    status, _, problems = command("tiny", "--cell", one.record.key, "--cell", other.record.key)
    assert status == 2
    assert one.record.key in problems
    assert other.record.key in problems
    assert "differ in folds" in problems
    _, shown, problems = command("tiny", "--how", "mean")
    assert "left out: 1 row of other data or folds" in problems
    assert "ensemble-mean: 4 of 4 cells" in shown


def test_a_folder_that_cannot_be_written_is_named(command: Command, five: Path) -> None:
    work = five / ".work"
    shutil.rmtree(work, ignore_errors=True)
    work.write_text("a file where the folder would be")
    status, _, problems = command("tiny")
    assert status == 2
    assert str(work) in problems
    assert problems.count("\n") == 1
    assert not list(five.glob("cells/tiny/ensemble-*"))


KILLED = """
import os, signal, sys
from pathlib import Path
from zoobench.benchmarks import ensemble, store
from zoobench.leaderboard.cli import main

def die(*words, **options):
    os.kill(os.getpid(), signal.SIGKILL)

setattr({place}, {name!r}, die)
sys.argv = {argv!r}
main()
"""


@pytest.mark.parametrize(
    ("place", "name"), [("ensemble", "evaluate"), ("ensemble", "write_outputs"), ("store", "write_text")]
)
def test_killed_in_the_middle_nothing_half_written_is_shown(
    place: str, name: str, five: Path, knowing: list[Path], command: Command
) -> None:
    adds = [each for path in knowing for each in ("--plugin", str(path))]
    argv = ["zoobench", "ensemble", "tiny", "--how", "mean", *adds, "--results", str(five)]
    code = KILLED.format(place=place, name=name, argv=argv)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert set(board("tiny", results=five)["model"]) == {"knows-one", "knows-two", "knows-none"}
    status, shown, problems = command("tiny", "--how", "mean")
    assert (status, problems) == (0, "")
    assert "recorded already" not in shown
    assert not list(five.glob(".work/*~*")), "what the killed command left is swept up"
