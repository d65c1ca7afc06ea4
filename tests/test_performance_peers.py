"""The script that measures zoobench beside others: what a peer is given, how it is scored, and a short run of it all."""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from zoobench.datasets.layout import load_test_inputs
from zoobench.datasets.support.errors import UnavailableError, UserError
from zoobench.leaderboard.peers import own_lines
from zoobench.leaderboard.peers_tables import peers_markdown

from .records import STRONG, WEAK, Cell

SCRIPTS = Path(__file__).parent / "performance"


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("peers")


@pytest.fixture
def scores(peers: ModuleType) -> ModuleType:
    return sys.modules["peer_scores"]


@pytest.fixture
def environments(peers: ModuleType) -> ModuleType:
    return sys.modules["peer_environments"]


@pytest.fixture
def asked(scores: ModuleType, tiny: Path) -> Any:
    from zoobench.benchmarks.options import load_plugin

    load_plugin(tiny)
    return scores.Asked.of("tiny")


def test_a_peer_is_given_no_test_target(asked: Any, tmp_path: Path) -> None:
    asked.lay_out(tmp_path)
    given = json.loads((tmp_path / "folds.json").read_text())
    assert set(given) == {"multilabel", "labels", "metric", "texts", "held"}
    assert set(given["held"]) == {"train", "validation"}
    assert given["texts"]["test"] == list(load_test_inputs(asked.prepared.folder / "public"))
    for text, held in zip(given["texts"]["train"], given["held"]["train"], strict=True):
        assert [given["labels"][number] in text for number in range(3)] == [number in held for number in range(3)]


def test_own_decisions_and_the_policy_are_scored_apart(asked: Any, tmp_path: Path) -> None:
    sealed = asked.prepared.sealed_test()
    asked.lay_out(tmp_path)
    held = json.loads((tmp_path / "folds.json").read_text())["held"]["validation"]
    known = np.array([[number in row for number in range(3)] for row in held])
    # All that holds stands above all that does not, and below 0.5: a peer that cuts there finds nothing.
    found = {"validation": 0.1 + 0.2 * known, "test": 0.1 + 0.2 * sealed.targets}
    kept = {**found, "chosen": (found["test"] > 0.5).astype(int), "fit_s": 1.5, "peak_gb": 0.25}
    np.savez(tmp_path / "answers.npz", **kept)
    line = asked.score("somebody", tmp_path, 4.0)
    assert (line.own.value, line.policy.value, line.policy.f1_micro) == (0, 1, 1)
    assert (line.best, line.fit_s, line.wall_s, line.peak_gb) == (line.policy, 1.5, 4.0, 0.25)
    assert line.policy.low == line.policy.high == 1
    np.savez(tmp_path / "answers.npz", **{**kept, "test": found["test"] + 1})
    with pytest.raises(UserError, match=r"somebody on the test fold of tiny: .* outside"):
        asked.score("somebody", tmp_path, 4.0)


def test_zoobench_s_best_is_chosen_on_validation(tmp_path: Path) -> None:
    def cell(model: str, outcome: Any, other: Any) -> Cell:
        return Cell(model, outcome, changes={"validation": {"fixed-0.5": {"values": other.values}}})

    stored = [cell("lucky", STRONG, WEAK).store(tmp_path), cell("tfidf-logreg", WEAK, STRONG).store(tmp_path)]
    [line] = own_lines(stored)
    assert line.who == "zoobench tfidf-logreg"
    assert (line.policy.value, line.own) == (WEAK.values["f1_macro"], None)
    swapped = [cell("best", WEAK, STRONG).store(tmp_path), cell("tfidf-logreg", STRONG, WEAK).store(tmp_path)]
    assert [each.who for each in own_lines(swapped)] == ["zoobench best", "zoobench tfidf-logreg"]


def test_a_process_is_alone_and_its_end_is_told(
    environments: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ran(code: str, timeout: float = 60) -> str:
        return environments.run([sys.executable, "-c", code], tmp_path, 3, timeout).failure

    monkeypatch.setenv("PYTHONPATH", "nowhere")
    told = "import os; print(*(n for n in os.environ if n.startswith(('ZOOBENCH', 'PYTHONPATH'))))"
    assert ran(f"{told}; raise SystemExit(os.environ['OMP_NUM_THREADS'] != '3')") == ""
    assert (tmp_path / "log.txt").read_text().strip() == ""
    assert ran("print('begun'); raise SystemExit('no luck')") == "ended with status 1: no luck"
    assert ran("import time; time.sleep(60)", timeout=0.5) == "not done in 0.5 s"


def test_an_environment_is_made_once(environments: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOOBENCH_CACHE", str(tmp_path))
    peer = environments.Peer("bare", "plain.py", ())
    python = environments.environment(peer)
    marker = python.parent / "kept"
    marker.touch()
    assert environments.environment(peer) == python
    assert marker.exists()
    (python.parents[1] / environments.READY).unlink()  # killed before it was whole
    environments.environment(peer)
    assert python.exists()
    assert not marker.exists()
    with pytest.raises(UnavailableError, match="not installed: "):
        environments.environment(environments.Peer("broken", "plain.py", ("!==1",)))
    with pytest.raises(ValueError, match="one version"):
        environments.Peer("loose", "plain.py", ("numpy",))


def test_a_short_run_and_what_it_keeps(
    environments: ModuleType,
    peers: ModuleType,
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["--task", "tiny", "--peer", "plain", "--plugin", str(tiny), "--here", "--keep", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["peers.py", *words, "--turns", "1", "--threads", "1"])
    assert peers.main() in {0, 1}  # what harness and script cost on 240 rows says nothing
    said = capsys.readouterr().out
    span = r"[01]\.\d{3} \[[01]\.\d{3}, [01]\.\d{3}\]"
    assert re.search(rf"^\| zoobench tfidf-logreg \|  \| {span} \| [\d.]+ \| [\d.]+ \| [\d.]+ \|", said, re.M)
    assert re.search(rf"^\| plain \| {span} \| {span} \| [\d.]+, [\d.]+ \|", said, re.M)
    margin = r"^a  tiny: points over a peer +>= 0 +-?\d+\.\d\d  zoobench tfidf-logreg \d\.\d{3}, plain \d\.\d{3}"
    assert re.search(margin, said, re.M)
    costs = r"[\d.]+  [\d.]+ / [\d.]+ s, turns [\d.]+$"
    assert re.search(rf"^b  tiny: cell / plain script +{costs}", said, re.M)
    assert re.search(rf"^b  zoobench run / plain scripts, 1 tasks +<= 1\.15 +{costs.removesuffix('$')}", said, re.M)

    shown = peers_markdown(tmp_path)
    assert re.search(r"^### tiny\n\n\| Who .*\n.*\n\| plain \|", shown, re.M)
    ratio = re.search(r"1 tasks +<= 1\.15 +([\d.]+)", said)
    assert ratio
    assert f"takes {ratio[1]} times as long as the scripts" in shown

    monkeypatch.setattr(peers, "run", lambda *_: pytest.fail("a peer that was kept ran again"))
    given = peers.options()
    [asked], [peer] = peers.checked(given)
    assert peers.row(peers.ask(given, asked, peer)) in said
    given.threads = 2
    with pytest.raises(pytest.fail.Exception, match="ran again"):
        peers.ask(given, asked, peer)
    monkeypatch.setattr(peers, "run", lambda *_: environments.Ran(1.0, ""))
    with pytest.raises(UnavailableError, match="without an answer"):
        peers.ask(given, asked, peer)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--peer", "plane"], "unknown peer 'plane': did you mean 'plain'?"),
        (["--turns", "0"], "--turns 0: give a number above 0"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    peers: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["peers.py", *words])
    assert peers.main() == 2
    assert capsys.readouterr().err == f"{said}\n"
