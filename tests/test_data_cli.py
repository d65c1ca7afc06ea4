"""`zoobench data` as a newcomer meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from zoobench.datasets.support.files import read_json

from .conftest import zoobench

LEAKY = """
import numpy as np
from zoobench.datasets.core import Examples, Protocol, TaskCard, task

PROTOCOLS = {
    "": Protocol(description="clean"),
    "leaky": Protocol(description="a text stands in two folds"),
    "declared": Protocol(description="the same", leaks={"exact": "to show the leak", "group": "not to be seen"}),
}


@task(
    TaskCard(
        name="made-up", title="Made up", description="d", version=1, kind="multilabel", modality="text",
        labels=tuple(f"label-{number:02}" for number in range(14)), primary_metric="f1_macro", group="none",
        licence="CC0-1.0", source="generated", citation="none", counts={"examples": 1200}, protocols=PROTOCOLS,
    )
)
def read(protocol):
    rows = np.arange(1200)
    texts = np.array([f"word{row} thing{row} place{row}" for row in rows], dtype=object)
    folds = np.where(rows % 10 < 7, 0, np.where(rows % 10 == 7, 1, 2))
    if protocol:
        texts[[8, 9]] = texts[0]
    targets = (rows[:, None] // 10 % 14 == np.arange(14)).astype(np.uint8)
    return Examples(np.array([f"row-{row}" for row in rows], dtype=object), texts, targets, rows, folds=folds)
"""
FRAMEWORKS = {"sklearn", "scipy", "pandas", "pyarrow", "torch", "tensorflow", "keras", "optuna"}
LISTING = """
import json, sys
from zoobench.leaderboard.cli import main
sys.argv = ["zoobench", "data", "list"]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plugins") / "made_up.py"
    path.write_text(LEAKY)
    return path


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A TOML and its table, in a folder whose name holds an @."""
    folder = tmp_path / "a@b"
    folder.mkdir()
    rows = [f"word{row} thing{row},{'cold' if row % 2 else 'flu'}" for row in range(60)]
    (folder / "notes.csv").write_text("\n".join(["note,illness", *rows, ""]))
    path = folder / "my-notes.toml"
    path.write_text('name = "my-notes"\npath = "notes.csv"\ntext = "note"\nlabels = "illness"\nkind = "multiclass"\n')
    return path


def test_list_tells_where_the_data_are(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    done = zoobench("data", "list", "--json", ZOOBENCH_DATA=str(empty))
    assert done.returncode == 0, done.stderr
    found = {each["name"]: each for each in json.loads(done.stdout)}
    movies = found["movie-genres"]
    assert (movies["rows"], movies["labels"], movies["where"]) == (7895, 24, "missing")
    assert movies["protocols"] == ["", "published", "published-characters"]
    assert f"put dataTraining.zip into {empty / 'movie-genres'} (from https://" in movies["remedy"]
    assert found["openi-reports"]["where"] == "here"
    assert not empty.exists(), "looking makes nothing"

    shown = zoobench("data", "list", COLUMNS="80")
    assert shown.returncode == 0, shown.stderr
    table = shown.stdout.partition("\n\n")[0].splitlines()
    assert max(map(len, table)) <= 80
    (line,) = [line.split() for line in table if line.startswith("movie-genres ")]
    assert line == ["movie-genres", "multilabel", "text", "7,895", "24", "to", "download", "-"]
    assert any(line.split() == ["@published-characters", "37", "-"] for line in table)
    assert "to download: with the first use, into" in shown.stdout


def test_list_imports_no_framework() -> None:
    done = subprocess.run([sys.executable, "-c", LISTING], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not FRAMEWORKS & set(json.loads(done.stdout.splitlines()[-1]))


def test_prepare_tells_what_it_made_and_where(plugin: Path) -> None:
    done = zoobench("data", "prepare", "made-up@declared", "--plugin", plugin, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    kept = read_json(Path(found["folder"]) / "prepared.json")
    assert found["rows"] == kept["rows"] == {"train": 840, "validation": 120, "test": 240}
    assert (found["fingerprint"], found["split_sha256"]) == (kept["fingerprint"], kept["split_sha256"])

    again = zoobench("data", "prepare", "made-up@declared", "--plugin", plugin, COLUMNS="40")
    assert again.stderr == "zoobench: preparing made-up@declared …\n"
    assert again.stdout.splitlines() == [
        "rows         1,200: 840 train, 120 validation, 240 test",
        f"fingerprint  {kept['fingerprint']}",
        f"split        {kept['split_sha256']}",
        f"folder       {found['folder']}",
    ]
    listed = zoobench("data", "list", "--json", "--plugin", plugin)
    (mine,) = [each for each in json.loads(listed.stdout) if each["name"] == "made-up"]
    assert mine["where"] == "here"
    assert "declared" in mine["cached"]


def test_audit_passes_clean_and_declared_folds(plugin: Path) -> None:
    clean = zoobench("data", "audit", "made-up", "--plugin", plugin, COLUMNS="80")
    assert (clean.returncode, clean.stderr) == (0, "zoobench: auditing made-up …\n")
    lines = clean.stdout.splitlines()
    assert lines[:2] == ["made-up", "1,200 rows: 840 train, 120 validation, 240 test"]
    assert lines[-1] == "no leak: no two folds share anything that was looked for"
    assert max(map(len, lines)) <= 80
    assert "… 4 more labels differ less (--json has them all)" in lines

    declared = zoobench("data", "audit", "made-up@declared", "--plugin", plugin, COLUMNS="80")
    assert declared.returncode == 0
    lines = [" ".join(line.split()) for line in declared.stdout.splitlines()]
    assert lines[-1] == "leaks by design, as the protocol declares: equal inputs"
    assert "equal inputs, rows 0 2 0" in lines
    assert "equal inputs such as row-0 (train) and row-8 (test)" in lines
    assert "by design equal inputs: to show the leak" in lines
    assert "groups declared by the protocol, but these data have none" in lines


def test_audit_fails_a_leak_that_is_not_declared(plugin: Path) -> None:
    leaky = zoobench("data", "audit", "made-up@leaky", "--plugin", plugin)
    assert leaky.returncode == 1
    assert leaky.stdout.splitlines()[-1] == "leaks: 2 equal inputs in train and test"
    every = zoobench("data", "audit", "made-up", "--all-protocols", "--json", "--plugin", plugin)
    assert every.returncode == 1
    found = json.loads(every.stdout)
    assert [(each["protocol"], each["ok"]) for each in found] == [("", True), ("leaky", False), ("declared", True)]
    alone = zoobench("data", "audit", "made-up@leaky", "--json", "--plugin", plugin)
    assert (alone.returncode, json.loads(alone.stdout)) == (1, found[1])


@pytest.mark.parametrize("words", [("prepare",), ("audit",), ("report", "--out", "cards")])
def test_a_fold_that_is_left_empty_is_one_line_and_status_2(words: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "no_test.py"
    path.write_text(LEAKY.replace("np.where(rows % 10 == 7, 1, 2)", "1"))
    done = zoobench("data", words[0], "made-up", *words[1:], "--plugin", path, cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    said, refused = done.stderr.splitlines()
    assert said.startswith("zoobench: ")
    assert "task made-up: 1200 examples leave the test fold empty" in refused
    assert list(tmp_path.iterdir()) == [path]


def test_a_table_of_ones_own_is_audited_and_prepared(own: Path) -> None:
    audited = zoobench("data", "audit", own, "--json")
    assert audited.returncode == 0, audited.stderr
    found = json.loads(audited.stdout)
    assert (found["task"], sum(found["rows"].values()), found["ok"]) == ("my-notes", 60, True)
    prepared = zoobench("data", "prepare", own, "--json")
    assert prepared.returncode == 0, prepared.stderr
    assert json.loads(prepared.stdout)["rows"] == found["rows"]


def test_report_names_the_files_that_it_wrote(plugin: Path, tmp_path: Path) -> None:
    done = zoobench("data", "report", "made-up@declared", "--plugin", plugin, "--out", tmp_path / "cards")
    assert done.returncode == 0, done.stderr
    written = [Path(line.removeprefix("wrote ")) for line in done.stdout.splitlines()]
    assert sorted(written) == sorted((tmp_path / "cards").iterdir())
    assert {path.suffix for path in written} == {".html", ".md", ".json"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("audit", "movie-genre"), "unknown task 'movie-genre': did you mean 'movie-genres'?"),
        (("prepare", "movie-genres@publishd"), "unknown protocol of movie-genres 'publishd'"),
        (("audit", "movie-genres@published", "--all-protocols"), "leave out @published, or --all-protocols"),
        (("report", "movie-genres"), "Missing option '--out'"),
        (("audit", "no-such.toml"), "no-such.toml"),
        (("list", "--plugin", "nowhere.py"), "is not a Python file"),
        (("frobnicate",), "frobnicate"),
        (("prepare", "movie-genres"), "dataTraining.zip is missing, and with ZOOBENCH_DATA set nothing is downloaded"),
        (("audit", "movie-genres"), "dataTraining.zip is missing"),
        (("report", "movie-genres", "--out", "cards"), "dataTraining.zip is missing"),
    ],
)
def test_bad_input_is_one_line_and_status_2(words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    done = zoobench("data", *words, cwd=tmp_path, ZOOBENCH_DATA=str(tmp_path / "empty"))
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert list(tmp_path.iterdir()) == [], "nothing is written"
