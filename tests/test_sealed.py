"""The test targets of a running cell: a model that hunts for them finds nothing, one that opens them is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from pyarrow import ArrowInvalid
from zoobench.benchmarks import run
from zoobench.benchmarks.store import Results, read_record
from zoobench.datasets import folds
from zoobench.datasets.core import TASKS
from zoobench.datasets.fetch import raw_folders
from zoobench.datasets.prepare import prepare
from zoobench.datasets.support.registry import import_plugin
from zoobench.datasets.tasks import openi_reports
from zoobench.datasets.truth import read_truth

from .conftest import write_models

# Looks at everything a curious model can reach: its arguments, every live object, the frames above it, its
# environment, its open files, and every file below and above the folders that it was told of. Writes down what
# it saw of each kind of evidence, so that the test can also tell that the hunt was a real one.
SPY = """
def fit(self, X, y, X_val, y_val, seed, scorer, report):
    self.seen = {"texts": sorted(map(str, X))[:3], "rows": [list(y.shape), list(y_val.shape)]}
    return self

def predict_proba(self, X):
    import gc, json, pathlib
    shape = (len(X), self.labels)
    arrays = [item for item in gc.get_objects() if isinstance(item, np.ndarray)]
    for frame in sys._current_frames().values():
        while frame is not None:
            arrays += [value for value in frame.f_locals.values() if isinstance(value, np.ndarray)]
            frame = frame.f_back
    self.seen["arrays"] = len(arrays)
    self.seen["suspects"] = [
        array.astype(int).tolist() for array in arrays if array.shape == shape and array.dtype.kind in "iub"
    ]
    files, refused = [], []
    roots = {pathlib.Path.cwd(), *map(pathlib.Path, sys.argv), *pathlib.Path.cwd().parents[:3]}
    roots |= {pathlib.Path(value) for value in os.environ.values() if value.startswith("/") and "cache" in value}
    roots |= {pathlib.Path(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")}
    for root in roots:
        below = [root] if root.is_file() else [p for p in root.rglob("*") if p.is_file()] if root.is_dir() else []
        for path in below:
            try:
                with path.open("rb") as stream:
                    stream.read(1000)
                files.append(str(path))
            except OSError as error:
                refused.append(f"{path}: {error}")
    self.seen["files"], self.seen["refused"] = files, refused
    target = os.environ.get("SPY_OUT") or str(pathlib.Path.cwd() / "seen.json")
    pathlib.Path(target).write_text(json.dumps(self.seen))
    return self.half(X)
"""


@pytest.fixture
def truth(tiny: Path) -> np.ndarray:
    """The test targets of the tiny task, as the parent holds them."""
    from zoobench.benchmarks.options import load_plugin

    load_plugin(tiny)
    return prepare(TASKS.get("tiny")).sealed_test().targets


def test_a_spy_finds_no_test_target(tmp_path: Path, tiny: Path, truth: np.ndarray, cache: Path) -> None:
    seen_at = tmp_path / "elsewhere" / "seen.json"
    seen_at.parent.mkdir()
    body = SPY.replace('os.environ.get("SPY_OUT")', repr(str(seen_at)))
    plugin = write_models(tmp_path / "spy.py", {"spy": body})
    frame = run(task="tiny", model="spy", plugin=[tiny, plugin], results=tmp_path / "r", quiet=True)
    seen = json.loads(seen_at.read_text())
    assert seen["arrays"] > 3, "the spy looked at live arrays"
    assert len(seen["files"]) > 3, "the spy read files"
    assert any("public" in name for name in seen["files"]), "it found the prepared task's folder"
    wanted = np.sort(truth, axis=0)
    for suspect in seen["suspects"]:
        assert not np.array_equal(np.sort(np.array(suspect), axis=0), wanted)
    sealed = prepare(TASKS.get("tiny")).folder / "sealed"
    assert not [name for name in seen["files"] if name.startswith(str(sealed))]
    # It did find the folder, and was refused: the cell is not believed then.
    assert any(str(sealed) in line for line in seen["refused"])
    assert frame.status.item() == "failed"
    assert "which holds test targets" in frame.reason.item()


@pytest.mark.parametrize(
    ("number", "how"),
    enumerate(
        [
            "open(sealed, 'rb').read()",
            "os.close(os.open(sealed, os.O_RDONLY))",
            "np.load(sealed)",
            "__import__('pathlib').Path(sealed).read_bytes()",
            "__import__('shutil').copy(sealed, 'stolen')",
            "open(os.path.join(os.path.dirname(sealed), '..', 'sealed', 'test.masked'), 'rb')",
            "(os.symlink(sealed, 'link'), open('link', 'rb'))",
            "(os.link(sealed, 'link'), open('link', 'rb'))",
            "(os.rename(sealed, 'mine'), open('mine', 'rb'))",
            "open(sealed.replace(KEY, 'f' * 32), 'rb')",
            "open(os.path.join(os.path.dirname(sealed), '..', 'prepared.json'))",
        ]
    ),
)
def test_opening_the_sealed_file_fails_the_cell(
    number: int, how: str, tmp_path: Path, tiny: Path, truth: np.ndarray
) -> None:
    sealed = prepare(TASKS.get("tiny")).folder / "sealed" / "test.masked"
    assert sealed.is_file()
    how = how.replace("KEY", repr(sealed.parts[-3]))
    body = f"def fit(self, X, y):\n    sealed = {str(sealed)!r}\n    try:\n        {how}\n    except OSError:\n        pass\n    return self\n"
    plugin = write_models(
        tmp_path / "thief.py", {f"thief-{number}": body + "def predict_proba(self, X):\n    return self.half(X)\n"}
    )
    frame = run(task="tiny", model=f"thief-{number}", plugin=[tiny, plugin], results=tmp_path / "r", quiet=True)
    assert frame.status.item() == "failed", "also where the model swallows the refusal"
    assert "which holds test targets" in frame.reason.item()


def test_a_program_that_reads_the_sealed_file_sees_no_target(tiny: Path, truth: np.ndarray) -> None:
    """No hook sees `cat`: what it prints must tell nothing."""
    import io
    import subprocess

    prepared = prepare(TASKS.get("tiny"))
    path = prepared.folder / "sealed" / "test.masked"
    seen = subprocess.run(["cat", path], capture_output=True, check=True).stdout
    assert truth.tobytes() not in seen
    assert b"r1" not in seen
    with pytest.raises(ValueError, match="pickle"):
        np.load(io.BytesIO(seen), allow_pickle=False)
    counts = np.bincount(np.frombuffer(seen, np.uint8), minlength=256)
    assert counts.max() < 6 * counts.mean(), "masked bytes are spread evenly"


def test_the_targets_that_zoobench_ships_are_sealed(tmp_path: Path, tiny: Path) -> None:
    """Arrow opens files without Python's `open`, and sees masked bytes; whoever unmasks them was seen to open them."""
    shipped = next(folds.SPLITS.glob("openi-reports.*.masked"))
    with pytest.raises(ArrowInvalid):
        pq.read_table(shipped)
    truth = read_truth(shipped)
    assert truth.ids["test"][0].encode() not in shipped.read_bytes()
    body = "def fit(self, X, y):\n    try:\n        read_truth(shipped)\n    except Exception:\n        pass\n    return self\n"
    begin = (
        f"from pathlib import Path\nfrom zoobench.datasets.truth import read_truth\nshipped = Path({str(shipped)!r})\n"
    )
    body += "def predict_proba(self, X):\n    return self.half(X)\n"
    plugin = write_models(tmp_path / "unmasking.py", {"unmasking": body})
    plugin.write_text(begin + plugin.read_text())
    frame = run(task="tiny", model="unmasking", plugin=[tiny, plugin], results=tmp_path / "r", quiet=True)
    assert frame.status.item() == "failed", "also where the model swallows the refusal"
    assert f"{shipped.name}, which holds test targets" in frame.reason.item()


def test_raw_files_of_all_tasks_are_sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LitCoin's files hold BioRED's targets, and NIH's metadata ChestMNIST's."""
    monkeypatch.setenv("ZOOBENCH_DATA", str(tmp_path))
    folders = raw_folders(TASKS.entries())
    assert {tmp_path / "litcoin-relations", tmp_path / "nih-chest-xray14", tmp_path / "chestmnist"} <= set(folders)
    assert openi_reports.archive().parent in folders
    assert tmp_path not in folders, "results may lie there"


def test_the_raw_files_of_a_task_are_sealed_too(tmp_path: Path) -> None:
    """openi-reports is read from one archive: a model that reads it again would read the test targets."""
    archive = TASKS.get("openi-reports").sources()[0]
    body = f"def fit(self, X, y):\n    open({str(archive)!r}, 'rb')\n"
    plugin = write_models(tmp_path / "again.py", {"again": body})
    frame = run(task="openi-reports", model="again", plugin=plugin, results=tmp_path / "r", quiet=True)
    assert frame.status.item() == "failed"
    assert "NLMCXR_reports.tgz, which holds test targets" in frame.reason.item()


def test_test_rows_reach_the_model_shuffled_and_come_back_in_order(
    tmp_path: Path, tiny: Path, truth: np.ndarray
) -> None:
    """A model that answers by position would be right by accident on rows in a known order."""
    order = tmp_path / "order.json"
    body = f"""
def fit(self, X, y):
    return self

def predict_proba(self, X):
    import json
    if len(X) == {len(truth)}:
        open({str(order)!r}, "w").write(json.dumps(list(X)))
    return np.array([[("fever" in x), ("fracture" in x), ("nodule" in x)] for x in X], dtype=float)
"""
    plugin = write_models(tmp_path / "ordered.py", {"ordered": body})
    frame = run(task="tiny", model="ordered", plugin=[tiny, plugin], results=tmp_path / "r", quiet=True)
    assert frame.value.item() == 1.0, "answers are put back in the fold's order"
    from zoobench.datasets.layout import load_test_inputs

    stored = list(load_test_inputs(prepare(TASKS.get("tiny")).folder / "public"))
    asked = json.loads(order.read_text())
    assert sorted(asked) == sorted(stored)
    assert asked != stored
    record_path = next(Results(tmp_path / "r").record_paths())
    table = pq.read_table(record_path.parent / read_record(record_path).attempt / "probabilities.parquet").to_pandas()
    found = table[table.fold == "test"][["p:fever", "p:fracture", "p:nodule"]].to_numpy()
    assert np.array_equal(found, truth)


def test_planted_test_targets_move_nothing_but_the_score(tmp_path: Path, tiny: Path) -> None:
    """Turn every test target around: the stored probabilities and thresholds stay as they were to the last bit."""
    module = import_plugin(tiny)
    turned = tmp_path / "turned.py"
    source = tiny.read_text().replace(
        '@task(card("tiny-classes", "multiclass"))\ndef tiny_classes():\n    return examples("multiclass")', ""
    )
    turned.write_text(
        source.replace('"tiny", "multilabel"', '"tiny-turned", "multilabel"').replace(
            'def tiny():\n    return examples("multilabel")',
            'def tiny():\n    found = examples("multilabel")\n'
            f"    test = set({list(prepare(TASKS.get('tiny')).sealed_test().ids)!r})\n"
            "    turned = np.array([name in test for name in found.ids])\n"
            "    found.targets[turned] = 1 - found.targets[turned]\n"
            "    return found",
        )
    )
    assert module.examples("multilabel") is not None
    # The same folds for both: computed folds would follow the targets.
    from zoobench.benchmarks.options import load_plugin

    load_plugin(turned)
    plain = prepare(TASKS.get("tiny"))
    test_ids = set(plain.sealed_test().ids)
    kept = folds.default_folds(module.examples("multilabel"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zoobench.datasets.prepare.default_folds", lambda examples: kept, raising=False)
        patch.setattr(folds, "default_folds", lambda examples: kept)
        other = prepare(TASKS.get("tiny-turned"))
        assert set(other.sealed_test().ids) == test_ids
        assert not np.array_equal(other.sealed_test().targets, plain.sealed_test().targets)
        frame = run(
            task=["tiny", "tiny-turned"],
            model="tfidf-logreg",
            plugin=[tiny, turned],
            results=tmp_path / "r",
            quiet=True,
        )
    values = dict(zip(frame.task, frame.value, strict=True))
    assert values["tiny"] > 0.9
    assert values["tiny-turned"] < 0.2
    _assert_only_the_score_moved(tmp_path / "r")


def _assert_only_the_score_moved(results: Path) -> None:
    records = {r.task: (r, p) for p in Results(results).record_paths() for r in [read_record(p)]}
    thresholds = {name: record.test["per-label"].thresholds for name, (record, _) in records.items()}
    assert thresholds["tiny"] == thresholds["tiny-turned"]
    assert records["tiny"][0].validation == records["tiny-turned"][0].validation
    tables = [pq.read_table(p.parent / r.attempt / "probabilities.parquet").to_pandas() for r, p in records.values()]
    first, second = (table.sort_values(["fold", "id"]).reset_index(drop=True) for table in tables)
    columns = [name for name in first if name.startswith("p:")]
    in_test = first.fold == "test"
    assert np.array_equal(first[in_test][columns], second[in_test][columns])


def test_other_preparations_of_the_task_are_sealed_too(tmp_path: Path, tiny: Path, truth: np.ndarray) -> None:
    """Another protocol's training fold, or an older preparation, holds the targets of these test rows."""
    prepared = prepare(TASKS.get("tiny"))
    other = prepared.folder.parent.parent / "tiny@random" / "key" / "public" / "train.parquet"
    other.parent.mkdir(parents=True)
    other.write_bytes((prepared.folder / "public" / "train.parquet").read_bytes())
    body = f"def fit(self, X, y):\n    open({str(other)!r}, 'rb')\n"
    plugin = write_models(tmp_path / "neighbour.py", {"neighbour": body})
    frame = run(task="tiny", model="neighbour", plugin=[tiny, plugin], results=tmp_path / "r", quiet=True)
    assert frame.status.item() == "failed"
    assert "which holds test targets" in frame.reason.item()
