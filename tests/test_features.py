"""The feature cache: each text computed once, charged to every cell that uses it, kept through any death."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from zoobench.benchmarks import run
from zoobench.benchmarks.store import Results, read_record
from zoobench.zoo.feature_store import FeatureStore, digests
from zoobench.zoo.features import Batch, FeatureCache

TEXTS = np.array(["a", "bb", "ccc", "bb"], dtype=object)


class Counter:
    """A feature that costs a second a letter, comes last text first, and counts what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, texts: list[str]) -> Iterator[Batch]:
        self.asked += texts
        for place in reversed(range(len(texts))):
            yield [place], np.array([[len(texts[place]), 1]], np.float32), float(len(texts[place]))


def test_each_text_is_computed_once_and_charged_once_a_cell(tmp_path: Path) -> None:
    compute, first = Counter(), FeatureCache(tmp_path, {"data": "x"})
    assert first.matrix({"f": 1}, TEXTS, compute).tolist() == [[1, 1], [2, 1], [3, 1], [2, 1]]
    assert sorted(compute.asked) == ["a", "bb", "ccc"]
    assert first.charged == 6
    first.matrix({"f": 1}, TEXTS[::-1], compute)
    assert first.charged == 6
    second = FeatureCache(tmp_path, {"data": "x"})
    assert second.matrix({"f": 1}, np.array(["ccc", "dddd"], dtype=object), compute).tolist() == [[3, 1], [4, 1]]
    assert compute.asked[3:] == ["dddd"], "the other cell computes only what is new"
    assert second.charged == 7, "and pays for what it uses, cached or not"
    assert second.spent < 7
    assert FeatureCache().matrix({}, TEXTS, compute).tolist() == [[1, 1], [2, 1], [3, 1], [2, 1]]
    assert FeatureCache(tmp_path).matrix({}, TEXTS[:0], compute).shape == (0, 0)


def test_settings_and_scope_part_caches_and_charges(tmp_path: Path) -> None:
    compute = Counter()
    for scope, settings in (({"data": "x"}, {"f": 1}), ({"data": "y"}, {"f": 1}), ({"data": "x"}, {"f": 2})):
        FeatureCache(tmp_path, scope).matrix(settings, TEXTS[:1], compute)
    assert compute.asked == ["a"] * 3
    both = FeatureCache(tmp_path, {"data": "x"})
    both.matrix({"f": 1}, TEXTS, compute)
    both.matrix({"f": 2}, TEXTS, compute)
    assert both.charged == 12, "two features of one text are two costs"


def test_bypass_computes_and_charges_nothing(tmp_path: Path) -> None:
    compute, cache = Counter(), FeatureCache(tmp_path)
    cache.matrix({}, TEXTS, compute)
    with cache.bypass():
        assert cache.matrix({}, TEXTS[:1], compute).tolist() == [[1, 1]]
    assert compute.asked[-1] == "a"
    assert cache.charged == 6


def test_texts_of_texts_come_back_as_they_were(tmp_path: Path) -> None:
    def upper(texts: list[str]) -> Iterator[Batch]:
        asked.extend(texts)
        yield range(len(texts)), [text.upper() for text in texts], 2.0

    asked: list[str] = []
    odd = np.array(["", "ß", "x\x00y\n", "lone \ud800", "", "肺炎"], dtype=object)
    for cache in (FeatureCache(tmp_path), FeatureCache(tmp_path), FeatureCache()):
        assert cache.texts({}, odd, upper).tolist() == [text.upper() for text in odd]
        assert cache.charged == pytest.approx(2)
        assert cache.texts({}, odd[:0], upper).shape == (0,)
    assert len(asked) == 5 + 5, "once for both caches of the folder, once without one"


def test_rows_of_any_length_come_back_as_they_were(tmp_path: Path) -> None:
    """Empty ones too, which stand where their neighbours start, in every order that they can be asked for."""

    def numbers(texts: list[str]) -> Iterator[Batch]:
        yield range(len(texts)), [np.arange(len(text), dtype=np.int32) - 2**30 for text in texts], 1.0

    texts = ["aaa", "", "b", "", "cc", " "]
    for cache in (FeatureCache(tmp_path), FeatureCache(tmp_path), FeatureCache()):
        for shift in range(len(texts)):
            asked = [*texts[shift:], *texts[:shift]]
            found = cache.rows({}, asked, numbers)
            assert [row.tolist() for row in found] == [[n - 2**30 for n in range(len(text))] for text in asked]
        assert cache.charged == pytest.approx(1)
    assert len(FeatureCache(tmp_path).rows({}, [], numbers)) == 0
    with cache.bypass():
        assert len(cache.rows({}, ["dddd"], numbers)[0]) == 4


def test_what_features_need_is_charged_to_every_cell_and_done_where_it_was_not(tmp_path: Path) -> None:
    done = []

    def work() -> float:
        done.append(1)
        return 3.0

    for _ in range(2):
        cache = FeatureCache(tmp_path)
        with cache.bypass():
            cache.charge({"weights": "x"}, work)
        assert cache.charged == 0
        cache.charge({"weights": "x"}, work)
        cache.charge({"weights": "x"}, work)
        assert cache.charged == 3
    assert len(done) == 1


def test_what_was_computed_outlives_a_failure(tmp_path: Path) -> None:
    def breaks(texts: list[str]) -> Iterator[Batch]:
        yield [1], [[1.0]], 1.0
        raise KeyboardInterrupt

    def forgets(texts: list[str]) -> Iterator[Batch]:
        yield [0], [[1.0]], 1.0

    with pytest.raises(KeyboardInterrupt):
        FeatureCache(tmp_path).matrix({}, TEXTS[:3], breaks)
    compute = Counter()
    with pytest.raises(RuntimeError, match="left out 1 texts"):
        FeatureCache(tmp_path).matrix({}, TEXTS[:3], forgets)
    cache = FeatureCache(tmp_path)
    cache.matrix({"other": 1}, TEXTS[:3], compute)
    assert len(compute.asked) == 3
    stored = [FeatureStore(path.parent).find(np.sort(digests(TEXTS[:3]))) for path in tmp_path.glob("*/index")]
    assert sorted(int((records["length"] >= 0).sum()) for records in stored) == [2, 3]


KILLED = """
import sys, time
from pathlib import Path
import numpy as np
from zoobench.zoo import features
features.FLUSH_SECONDS = 0.0

def slow(texts):
    for place, text in enumerate(texts):
        yield [place], [np.full(64, float(text), np.float32)], 1.0
        print(place, flush=True)
        time.sleep(0.01)

features.FeatureCache(Path(sys.argv[1])).matrix({}, np.array([str(n) for n in range(500)], dtype=object), slow)
"""


def test_a_killed_process_loses_what_it_was_adding_and_nothing_else(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == "40":
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    asked: list[str] = []

    def again(texts: list[str]) -> Iterator[Batch]:
        asked.extend(texts)
        yield range(len(texts)), [np.full(64, float(text), np.float32) for text in texts], 1.0

    folder = next(tmp_path.glob("*/index")).parent
    with (folder / "index").open("ab") as index, (folder / "data").open("ab") as data:
        index.write(b"torn record")
        data.write(b"torn vector")
    texts = np.array([str(n) for n in range(500)], dtype=object)
    for _ in range(2):
        found = FeatureCache(tmp_path).matrix({}, texts, again)
        assert np.array_equal(found[:, 3], np.arange(500))
    assert len(asked) <= 500 - 40, "the second process began where the first ended"


def test_bytes_that_are_gone_are_computed_again(tmp_path: Path) -> None:
    compute = Counter()
    FeatureCache(tmp_path).matrix({}, TEXTS, compute)
    data = next(tmp_path.glob("*/data"))
    os.truncate(data, data.stat().st_size - 5)
    assert FeatureCache(tmp_path).matrix({}, TEXTS, compute).tolist() == [[1, 1], [2, 1], [3, 1], [2, 1]]
    assert len(compute.asked) == 4


def test_processes_that_want_the_same_compute_it_once(tmp_path: Path) -> None:
    code = KILLED.replace("500", "300")
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.DEVNULL) for _ in range(3)
    ]
    assert [process.wait() for process in started] == [0, 0, 0]
    assert next(tmp_path.glob("*/index")).stat().st_size == 300 * 40


def test_a_look_up_reads_what_it_wants(tmp_path: Path) -> None:
    """10 of 60,000 vectors: in milliseconds, and all of them without holding them twice."""
    rows = 60_000
    texts = np.array([f"report {n}" for n in range(rows)], dtype=object)
    vectors = np.random.default_rng(1).random((rows, 96), np.float32)

    def compute(missing: list[str]) -> Iterator[Batch]:
        yield range(len(missing)), vectors[[int(text.split()[1]) for text in missing]], 1.0

    FeatureCache(tmp_path).matrix({}, texts, compute)
    some = np.random.default_rng(2).permutation(rows)
    start = time.perf_counter()
    assert np.array_equal(FeatureCache(tmp_path).matrix({}, texts[some[:10]], compute), vectors[some[:10]])
    few = time.perf_counter() - start
    start = time.perf_counter()
    assert np.array_equal(FeatureCache(tmp_path).matrix({}, texts[some], compute), vectors[some])
    assert few < (time.perf_counter() - start) / 5


@pytest.mark.slow
def test_cells_share_embeddings_and_each_is_charged(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three frameworks of the zoo on one cache; the Keras MLP on both of its backends."""
    pytest.importorskip("keras")
    monkeypatch.setenv("ZOOBENCH_CACHE", str(tmp_path / "cache"))
    options = {"task": "tiny", "plugin": tiny, "results": tmp_path / "r", "quiet": True}
    run(**options, model=["embedding-logreg", "embedding-mlp"], set={"epochs": 8})  # type: ignore[arg-type]
    run(**options, model="embedding-mlp", set={"epochs": 8, "backend": "torch"})  # type: ignore[arg-type]
    records = [read_record(path) for path in Results(tmp_path / "r").record_paths()]
    assert [record.status for record in records] == ["ok"] * 3, [record.reason for record in records]
    charged = [record.timings.features for record in records]
    assert charged == pytest.approx([charged[0]] * 3), "the same texts cost the same in every cell"
    assert charged[0] > 0
    stores = [path.parent for path in (tmp_path / "cache" / "features").glob("*/index")]
    assert sorted(np.fromfile(store / "index", "V40").size for store in stores) == [1, 1, 1, 240], (
        "a format, the loading, the window, and vectors"
    )
    backends = {record.config.get("backend"): record for record in records}
    assert "tensorflow" in backends["tensorflow"].software
    assert "tensorflow" not in backends["torch"].software
    assert backends["tensorflow"].history
    assert {"loss", "val_loss", "val_score", "step"} == set(backends["tensorflow"].history[0])
    assert len({record.config.get("backend") for record in records}) == 3
    for record in records:
        assert (record.parameters or 0) > 22_000_000, "the encoder's weights count"
        assert (record.value or 0) > 0.5
