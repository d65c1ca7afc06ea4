"""The command line as a newcomer meets it: bad input is one line and exit status 2, and nothing is written."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from .conftest import write_models, zoobench, zoobench_here

GOOD = "def fit(self, X, y):\n    return self\ndef predict_proba(self, X):\n    return self.half(X)\n"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, tiny: Path, cache: Path) -> Path:
    """A results folder with three finished cells."""
    folder = tmp_path_factory.mktemp("results") / "r"
    models = ("--model", "tfidf-logreg", "--model", "dummy-uniform", "--model", "tfidf-random-forest")
    done = zoobench("run", "--plugin", tiny, "--task", "tiny", *models, "--set", "trees=20", "--results", folder)
    assert done.returncode == 0, done.stderr
    assert "tfidf-logreg" in done.stdout
    assert "0." in done.stdout
    assert "3 cells to run" in done.stderr
    return folder


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "quik"), "unknown suite 'quik': did you mean 'quick'?"),
        (("run", "--task", "openi-report"), "unknown task 'openi-report': did you mean 'openi-reports'?"),
        (("run", "--task", "openi-reports@random"), "unknown protocol of openi-reports 'random': known: none"),
        (("run", "--model", "tfidf-logref"), "unknown model 'tfidf-logref': did you mean 'tfidf-logreg'?"),
        (("run", "--model", "tfidf-logreg@publishd"), "unknown preset of tfidf-logreg 'publishd'"),
        (("run", "--device", "gpu"), "unknown device 'gpu'"),
        (("run", "--device", "cudda"), "did you mean 'cuda'?"),
        (("run", "--jobs", "0"), "--jobs 0: give how many cells run side by side, 1 or more, or auto"),
        (("run", "--timeout", "-5"), "--timeout -5 must be more than 0"),
        (("run", "--threads", "0"), "--threads 0 must be more than 0"),
        (("run", "--memory-gb", "0"), "--memory-gb 0 must be more than 0"),
        (("run", "--timeout", "nan"), "--timeout nan must be more than 0"),
        (("run", "--timeout", "inf"), "--timeout inf must be more than 0, and finite"),
        (("run", "--memory-gb", "inf"), "--memory-gb inf must be more than 0, and finite"),
        (("run", "--threads", "100000"), "--threads 100000 is more than the"),
        (("run", "--seed", "x"), "Invalid value for '--seed'"),
        (("run", "--seed", "99999999999999999999"), "must be 0 or more, and below 2^32"),
        (("run", "--model", "tfidf-logreg", "--set", "C=nan"), "setting C=nan is not a finite number"),
        (("show", "tfidf-logreg@publishd"), "unknown preset of tfidf-logreg 'publishd'"),
        (("new", "model", "json"), "would hide Python's own 'json'"),
        (("frobnicate",), "frobnicate"),
        (("run", "--seed", "-1"), "--seed -1 must be 0 or more"),
        (("run", "--set", "C"), "--set C is not KEY=VALUE"),
        (("run", "--set", "CC=1"), "unknown setting of the chosen models 'CC'"),
        (("run", "--model", "tfidf-logreg", "--set", "C=high"), "setting C=high is not a finite number"),
        (("run", "--model", "embedding-mlp", "--set", "backend=jaxx"), "unknown backend of embedding-mlp 'jaxx'"),
        (("run", "--model", "minilm", "--set", "head=deep"), "unknown head of minilm 'deep'"),
        (("run", "--model", "minilm", "--set", "encoder=./nowhere"), "encoder folder './nowhere' is not there"),
        (("run", "--model", "embedding-mlp", "--set", "encoder=."), "holds no config.json with safetensors weights"),
        (("board", "--results", "nowhere"), "zoobench run"),
        (("board", "--sort", "f1_mega", "--results", "RESULTS"), "unknown metric 'f1_mega'"),
        (("board", "--format", "xml", "--results", "RESULTS"), "unknown format 'xml'"),
        (("board", "--task", "tinny", "--results", "RESULTS"), "tiny"),
        (("show", "quck"), "did you mean 'quick'?"),
        (("check", "tfidf-logref"), "did you mean 'tfidf-logreg'?"),
        (("check", "nowhere.py"), "is not a Python file"),
        (("hardware", "--device", "tpu"), "unknown device 'tpu'"),
        (("new", "model", "My Model"), "must be lower-case words"),
        (("new", "model", "tfidf-logreg"), "is taken"),
        (("predict", "--task", "openi-reports", "--model", "tfidf-logreg"), "give --text TEXT, or --csv FILE"),
        (("predict", "--task", "openi-reports", "--model", "tfidf-logreg", "--text", "a"), "run `zoobench run --task openi-reports"),
        (("predict", "--task", "openi-reports", "--model", "dummy-uniform", "--csv", "no.csv"), "no.csv is not there"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_status_2(
    words: tuple[str, ...], message: str, tmp_path: Path, results: Path
) -> None:
    done = zoobench_here(*[str(results) if word == "RESULTS" else word for word in words], cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert list(tmp_path.iterdir()) == [], "nothing is written"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nowhere_to_be_found\n", "ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("1 +\n", "SyntaxError"),
        ("import sys; sys.exit(0)\n", "SystemExit"),
        ("x = 1\n", "registers nothing"),
        ("from zoobench.zoo.models.tfidf_logreg import CARD\nfrom zoobench.zoo.core import model\nb = model(CARD)(lambda config, context: None)\n",
         "re-uses the model name 'tfidf-logreg'"),
        ("from zoobench.zoo.core import ModelCard\nModelCard(name='A B', title='', description='', modality='text', framework='torch', citation='')\n",
         "must be lower-case words"),
    ],
)  # fmt: skip
def test_a_bad_plugin_is_named(text: str, message: str, tmp_path: Path) -> None:
    plugin = tmp_path / "plugin.py"
    plugin.write_text(text)
    for words in (("run",), ("models",), ("check", str(plugin))):
        more = () if words[0] == "check" else ("--plugin", str(plugin))
        done = zoobench(*words, *more, cwd=tmp_path)
        assert done.returncode == 2, done.stdout
        assert message in done.stderr
        assert "plugin.py" in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert [path.name for path in tmp_path.iterdir() if path.name != "__pycache__"] == ["plugin.py"]


def test_a_results_folder_that_cannot_be_written(tmp_path: Path) -> None:
    occupied = tmp_path / "file"
    occupied.write_text("mine")
    done = zoobench("run", "--results", occupied)
    assert done.returncode == 2
    assert f"results folder {occupied} cannot be written" in done.stderr
    assert occupied.read_text() == "mine"
    done = zoobench("run", "--results", "/proc/nowhere/r")
    assert done.returncode == 2
    assert "cannot be written" in done.stderr


def test_foreign_files_among_the_records_are_named_and_kept(tmp_path: Path, results: Path) -> None:
    import shutil

    folder = tmp_path / "r"
    shutil.copytree(results, folder)
    whole = sorted(folder.glob("cells/tiny/*/*/record.json"))
    bad = {"truncated": whole[0].read_text()[:200], "empty": "", "foreign": '{"name": "package.json"}'}
    for name, text in bad.items():
        path = folder / "cells" / "tiny" / "dummy-constant" / name / "record.json"
        path.parent.mkdir(parents=True)
        path.write_text(text)
    for _ in range(2):
        done = zoobench("board", "--results", folder)
        assert done.returncode == 0, done.stderr
        assert "tfidf-logreg" in done.stdout
        for name, text in bad.items():
            assert f"dummy-constant/{name}/record.json" in done.stderr
            assert (folder / "cells" / "tiny" / "dummy-constant" / name / "record.json").read_text() == text


def test_failed_cells_end_with_status_1_and_are_on_the_board(tmp_path: Path, tiny: Path) -> None:
    plugin = write_models(
        tmp_path / "two.py", {"falls": "def fit(self, X, y):\n    raise RuntimeError('fell over')\n", "stands": GOOD}
    )
    words = ("run", "--plugin", tiny, "--plugin", plugin, "--task", "tiny", "--model", "falls", "--model", "stands")
    for _ in range(2):
        done = zoobench(*words, "--results", tmp_path / "r")
        assert done.returncode == 1, done.stderr
        assert "fell over" in done.stdout
        assert "stands" in done.stdout
        assert "1 of 2 cells failed" in done.stderr
    assert "kept from before: falls failed: RuntimeError: fell over" in done.stderr


@pytest.mark.parametrize("style", ["table", "md", "csv", "json"])
def test_board_formats(style: str, results: Path) -> None:
    done = zoobench("board", "--results", results, "--format", style)
    assert done.returncode == 0, done.stderr
    assert done.stdout.index("tfidf-logreg") < done.stdout.index("dummy-uniform"), "best first"
    if style == "json":
        rows = json.loads(done.stdout)
        assert {row["model"] for row in rows} == {"tfidf-logreg", "dummy-uniform", "tfidf-random-forest"}
        assert all(0 <= row["low"] <= row["value"] <= row["high"] <= 1 for row in rows)


def test_lists_are_json_on_request_and_import_no_framework(tmp_path: Path) -> None:
    for words, name in ((("models",), "embedding-mlp"), (("tasks",), "openi-reports")):
        assert name in zoobench(*words).stdout
        done = zoobench(*words, "--json")
        assert name in [entry["name"] for entry in json.loads(done.stdout)]
    assert json.loads(zoobench("hardware", "--json", "--device", "cpu").stdout)["cores"] >= 1
    for name, expected in (("embedding-mlp", "learning_rate"), ("openi-reports", "3,832"), ("quick", "dummy-constant")):
        assert expected in zoobench("show", name).stdout


def test_predict_answers_from_the_stored_model(tmp_path: Path, tiny: Path, results: Path) -> None:
    common = ("predict", "--plugin", tiny, "--task", "tiny", "--results", results)
    done = zoobench(*common, "--model", "tfidf-logreg", "--text", "the chest shows a fracture", "--format", "json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)[0]
    assert answer["labels"] == ["fracture"]
    assert answer["probabilities"]["fracture"] > 0.5 > answer["probabilities"]["fever"]
    assert "answered by tfidf-logreg, seed 0, f1_macro " in done.stderr
    texts = tmp_path / "texts.csv"
    texts.write_text("note,n\nfever and nodule,1\n,2\n")
    done = zoobench(*common, "--model", "tfidf-random-forest", "--csv", texts, "--column", "note", "--format", "csv")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "text,labels,fever,fracture,nodule"
    assert done.stdout.splitlines()[1].startswith("fever and nodule,")
    assert {"fever", "nodule"} == set(done.stdout.splitlines()[1].split(",")[1].split("|"))
    assert "no word in text 2:" in done.stderr
    done = zoobench(*common, "--model", "tfidf-logreg", "--csv", texts, "--column", "text")
    assert done.returncode == 2
    assert "note" in done.stderr


def test_an_artefact_with_foreign_types_is_not_loaded(tmp_path: Path, tiny: Path, results: Path) -> None:
    """skops names the types of a file before it loads any: one from elsewhere would run foreign code."""
    import shutil

    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer
    from skops.io import dump

    folder = tmp_path / "r"
    shutil.copytree(results, folder)
    model = next(folder.glob("cells/tiny/tfidf-logreg/*/*/artefact/model.skops"))
    marker = tmp_path / "ran"
    dump(make_pipeline(FunctionTransformer(os.system, kw_args={"command": f"touch {marker}"})), model)
    done = zoobench(
        "predict", "--plugin", tiny, "--task", "tiny", "--model", "tfidf-logreg", "--results", folder, "--text", "a"
    )
    assert done.returncode == 2, done.stdout
    assert "types that are not trusted" in done.stderr
    assert not marker.exists()


def test_new_model_is_a_working_file(tmp_path: Path, tiny: Path) -> None:
    done = zoobench("new", "model", "my-model", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "zoobench check my_model.py" in done.stdout
    again = zoobench("new", "model", "my-model", cwd=tmp_path)
    assert again.returncode == 2
    assert "is there already" in again.stderr
    checked = zoobench("check", "my_model.py", cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "every check passed" in checked.stdout
    ran = zoobench(
        "run", "--plugin", tiny, "--plugin", "my_model.py", "--task", "tiny", "--model", "my-model", cwd=tmp_path
    )
    assert ran.returncode == 0, ran.stderr
    assert "my-model" in ran.stdout


def test_check_fails_with_status_1(tmp_path: Path) -> None:
    plugin = write_models(
        tmp_path / "odd.py",
        {"odd": "def fit(self, X, y):\n    return self\ndef predict_proba(self, X):\n    return self.half(X) * 3\n"},
    )
    done = zoobench("check", plugin)
    assert done.returncode == 1
    assert "outside [0, 1]" in done.stdout


def test_help_and_no_arguments() -> None:
    assert "board" in zoobench("--help").stdout
    assert zoobench("run", "--help").returncode == 0
    assert zoobench("frobnicate").returncode == 2


def test_markup_in_foreign_text_is_shown_as_it_is(tmp_path: Path, tiny: Path) -> None:
    body = "def fit(self, X, y):\n    raise ValueError('[/foo] [red]x[/]')\n"
    plugin = write_models(tmp_path / "markup.py", {"marked": body})
    plugin.write_text(plugin.read_text().replace('title="t"', 'title="[red]t[/] [/foo]"'))
    assert "[red]t[/] [/foo]" in zoobench("models", "--plugin", plugin).stdout
    assert "[red]t[/] [/foo]" in zoobench("show", "marked", "--plugin", plugin).stdout
    done = zoobench("run", "--plugin", tiny, "--plugin", plugin, "--task", "tiny", "--model", "marked", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "failed: ValueError: [/foo] [red]x[/]" in done.stderr
    assert "log of marked: " in done.stderr
    log = done.stderr.rpartition("log of marked: ")[2].strip()
    assert "ValueError" in Path(log).read_text()


def test_two_builders_of_one_name_are_both_found_and_two_models_of_one_name_refused(tmp_path: Path) -> None:
    text = (
        "from zoobench.zoo.core import ModelCard, model\n"
        "def card(name):\n    return ModelCard(name=name, title='t', description='d', modality='text', framework='torch', citation='c')\n"
        "@model(card('one'))\ndef build(config, context): ...\n@model(card('OTHER'))\ndef build(config, context): ...\n"
    )
    plugin = tmp_path / "pair.py"
    plugin.write_text(text.replace("OTHER", "two"))
    listed = zoobench("models", "--plugin", plugin, "--json")
    assert {"one", "two"} <= {entry["name"] for entry in json.loads(listed.stdout)}
    plugin.write_text(text.replace("OTHER", "one"))
    refused = zoobench("models", "--plugin", plugin)
    assert refused.returncode == 2
    assert "re-uses the model name 'one'" in refused.stderr


def test_unreadable_records_survive_a_run_of_their_cell(tmp_path: Path, tiny: Path, results: Path) -> None:
    """A record of a newer version, or a broken one, is named, moved aside and never lost."""
    import shutil

    folder = tmp_path / "r"
    shutil.copytree(results, folder)
    path = next(folder.glob("cells/tiny/dummy-uniform/*/record.json"))
    newer = path.read_text().replace('"schema_version": ', '"schema_version": 9')
    path.write_text(newer)
    attempts = {part.name for part in path.parent.iterdir() if part.is_dir()}
    done = zoobench("run", "--plugin", tiny, "--task", "tiny", "--model", "dummy-uniform", "--results", folder)
    assert done.returncode == 0, done.stderr
    assert "is no record that this version reads" in done.stderr
    assert [part.read_text() for part in path.parent.glob("unreadable-*-record.json")] == [newer]
    assert attempts < {part.name for part in path.parent.iterdir() if part.is_dir()}, "its files stay with it"
    assert "dummy-uniform" in zoobench("board", "--results", folder).stdout


def test_predict_without_an_artefact_says_what_to_do(tmp_path: Path, tiny: Path) -> None:
    plugin = write_models(tmp_path / "unstorable.py", {"unstorable": GOOD})
    words = (
        "--plugin",
        tiny,
        "--plugin",
        plugin,
        "--task",
        "tiny",
        "--model",
        "unstorable",
        "--results",
        tmp_path / "r",
    )
    done = zoobench("run", *words)
    assert done.returncode == 0, done.stderr
    assert "no artefact: " in done.stderr, "the run says that the model cannot be stored"
    asked = zoobench("predict", *words, "--text", "a")
    assert asked.returncode == 2
    assert "--fresh" in asked.stderr
    assert len(asked.stderr.strip().splitlines()) == 1


def test_a_full_disk_and_a_bad_cache_are_one_line(tmp_path: Path, tiny: Path) -> None:
    done = zoobench(
        "run",
        "--plugin",
        tiny,
        "--task",
        "tiny",
        "--model",
        "dummy-uniform",
        cwd=tmp_path,
        ZOOBENCH_CACHE="/proc/nowhere",
    )
    assert done.returncode == 2, done.stderr
    assert "/proc" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / ".work").write_text("a file where a folder should be")
    done = zoobench("run", "--plugin", tiny, "--task", "tiny", "--model", "dummy-uniform", "--results", tmp_path / "r")
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert ".work" in done.stderr
