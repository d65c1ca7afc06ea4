"""Predictions joined across requests, and models loaded once: the queue and the shelf by themselves, then together."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from zoobench.benchmarks.check import text_task
from zoobench.benchmarks.predict import best_cell
from zoobench.benchmarks.store import ARTEFACT
from zoobench.benchmarks.store import Stored as Cell
from zoobench.benchmarks.tiny import tiny_encoder
from zoobench.leaderboard.serve.batches import Batcher
from zoobench.leaderboard.serve.loaded import Loaded, Loader, Shelf
from zoobench.leaderboard.serve.refusals import RefusalError
from zoobench.leaderboard.serve.settings import Batching
from zoobench.zoo import adapter
from zoobench.zoo.core import MODELS, Context
from zoobench.zoo.features import FeatureCache

from .serving import HOST, Stored, settings

WORDS = ["the", "chest", "is", "seen", "with", "no", "change", "fever", "fracture", "nodule"]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as made:
        yield made


def sizes_of(items: list[Any]) -> np.ndarray:
    return np.array([[len(item)] for item in items], np.float32)


def gated(pool: ThreadPoolExecutor, batching: Batching, most: int = 99) -> tuple[Batcher, threading.Event, list[int]]:
    """A queue whose answers wait for an event, and the sizes of its batches."""
    gate, sizes = threading.Event(), list[int]()

    def answer(items: list[Any]) -> np.ndarray:
        assert gate.wait(10)
        sizes.append(len(items))
        return sizes_of(items)

    return Batcher(answer, pool, batching, most), gate, sizes


def test_what_arrives_meanwhile_is_the_next_batch(pool: ThreadPoolExecutor) -> None:
    async def scene() -> None:
        queue, gate, sizes = gated(pool, Batching(4))
        asked = [asyncio.create_task(queue.ask(["a" * length])) for length in range(1, 8)]
        await asyncio.sleep(0.05)
        gate.set()
        found = await asyncio.gather(*asked)
        assert [int(rows[0, 0]) for rows in found] == list(range(1, 8)), "everybody has the own answer"
        # The first went as soon as the loop was free, with whoever had come by then; none is larger than four.
        assert sum(sizes) == 7
        assert max(sizes) == 4
        assert len(sizes) <= 3
        assert (queue.answered, queue.batches) == (7, len(sizes))

    asyncio.run(scene())


def test_a_request_larger_than_a_batch_is_cut(pool: ThreadPoolExecutor) -> None:
    async def scene() -> None:
        queue, gate, sizes = gated(pool, Batching(3))
        gate.set()
        rows = await queue.ask(["a" * length for length in range(8)])
        assert rows[:, 0].tolist() == list(range(8))
        assert sizes == [3, 3, 2]

    asyncio.run(scene())


def test_a_batch_is_who_waited_longest_and_its_likes(pool: ThreadPoolExecutor) -> None:
    batches: list[list[int]] = []

    async def scene() -> None:
        gate = threading.Event()

        def answer(items: list[Any]) -> np.ndarray:
            assert gate.wait(10)
            batches.append([len(item) for item in items])
            return sizes_of(items)

        queue = Batcher(answer, pool, Batching(3), 99)
        first = asyncio.create_task(queue.ask(["a"]))
        await asyncio.sleep(0.05)  # it is being answered
        lengths = [50, 2, 3, 49, 90, 51, 1, 4]
        asked = [asyncio.create_task(queue.ask(["a" * length])) for length in lengths]
        await asyncio.sleep(0.05)
        gate.set()
        found = await asyncio.gather(first, *asked)
        assert [int(rows[0, 0]) for rows in found] == [1, *lengths]
        assert batches == [[1], [50, 49, 51], [2, 3, 1], [90, 4]]
        batches.clear()
        mixed = await queue.ask(["a" * length for length in (9, 1, 8, 2, 7)])
        assert mixed[:, 0].tolist() == [9, 1, 8, 2, 7]
        assert batches == [[1, 2, 7], [8, 9]]

    asyncio.run(scene())


def test_the_first_waits_for_others_no_longer_than_it_is_told(pool: ThreadPoolExecutor) -> None:
    async def scene(wait_ms: float) -> tuple[list[int], float]:
        queue, gate, sizes = gated(pool, Batching(2, wait_ms))
        gate.set()
        start = time.monotonic()
        first = asyncio.create_task(queue.ask(["a"]))
        await asyncio.sleep(0.02)
        await asyncio.gather(first, queue.ask(["b"]))
        return sizes, time.monotonic() - start

    assert asyncio.run(scene(0))[0] == [1, 1]
    sizes, seconds = asyncio.run(scene(1000))
    assert sizes == [2]
    assert seconds < 0.9, "a full batch waits for nobody"


def test_too_many_are_refused_and_who_left_is_not_answered(pool: ThreadPoolExecutor) -> None:
    async def scene() -> None:
        queue, gate, sizes = gated(pool, Batching(1), most=2)
        first = asyncio.create_task(queue.ask(["a"]))
        await asyncio.sleep(0.05)  # it is being answered, and waits no more
        others = [asyncio.create_task(queue.ask(["b"])) for _ in range(2)]
        await asyncio.sleep(0.05)
        with pytest.raises(RefusalError) as refused:
            await queue.ask(["c"])
        assert (refused.value.status, refused.value.code) == (429, "busy")
        others[0].cancel()
        gate.set()
        await asyncio.gather(first, others[1])
        assert sizes == [1, 1]
        assert (await queue.ask(["c", "d"])).shape == (2, 1), "there is room again"

    asyncio.run(scene())


def test_one_input_that_fails_spoils_no_other(pool: ThreadPoolExecutor) -> None:
    def answer(items: list[Any]) -> np.ndarray:
        if "bad" in items:
            raise ValueError("bad")
        return sizes_of(items)

    async def scene() -> None:
        queue = Batcher(answer, pool, Batching(8), 99)
        found = await asyncio.gather(*map(queue.ask, (["a"], ["bad"], ["ccc"])), return_exceptions=True)
        assert [type(each) for each in found] == [np.ndarray, ValueError, np.ndarray]
        assert found[2].tolist() == [[3]]

    asyncio.run(scene())


def test_what_works_alone_meets_no_batch(pool: ThreadPoolExecutor) -> None:
    inside: list[str] = []

    def noted(what: str) -> None:
        inside.append(what)
        time.sleep(0.05)
        assert inside[-1] == what
        inside.append("")

    def answer(items: list[Any]) -> np.ndarray:
        noted("batch")
        return sizes_of(items)

    async def scene() -> None:
        queue = Batcher(answer, pool, Batching(1), 99)
        await asyncio.gather(queue.ask(["a", "b"]), queue.alone(lambda: noted("alone")), queue.ask(["c"]))

    asyncio.run(scene())
    assert sorted(filter(None, inside)) == ["alone", "batch", "batch", "batch"]


def shelf(load: Callable[[Any], Any], most: int, pool: ThreadPoolExecutor) -> tuple[Shelf, Callable[[str], Any]]:
    made = Shelf(load, most, pool)
    return made, lambda name: made.get(SimpleNamespace(path=Path(name), record=SimpleNamespace(attempt="1")))  # type: ignore[arg-type]


def test_a_model_is_loaded_once_and_the_longest_unused_goes(pool: ThreadPoolExecutor) -> None:
    loads: list[str] = []

    def load(stored: Any) -> Any:
        loads.append(stored.path.name)
        time.sleep(0.05)
        return SimpleNamespace(name=stored.path.name)

    async def scene() -> None:
        held, get = shelf(load, 2, pool)
        found = await asyncio.gather(*(get("a") for _ in range(20)))
        assert len({id(each) for each in found}) == 1
        assert loads == ["a"]
        for name in ("b", "a", "c"):
            await get(name)
        assert [each.name for each in held] == ["a", "c"], "b was unused longest"
        await get("b")
        assert loads == ["a", "b", "c", "b"]

    asyncio.run(scene())


def test_what_failed_to_load_is_tried_again_and_a_client_that_leaves_stops_no_load(pool: ThreadPoolExecutor) -> None:
    loads: list[str] = []

    def load(stored: Any) -> Any:
        loads.append(stored.path.name)
        time.sleep(0.1)
        if len(loads) == 1:
            raise ValueError("not yet")
        return stored.path.name

    async def scene() -> None:
        _, get = shelf(load, 2, pool)
        failed = await asyncio.gather(get("a"), get("a"), return_exceptions=True)
        assert [type(each) for each in failed] == [ValueError, ValueError]
        leaving = asyncio.create_task(get("a"))
        await asyncio.sleep(0.02)
        leaving.cancel()
        assert await get("a") == "a"
        assert loads == ["a", "a"]

    asyncio.run(scene())


def test_first_requests_at_once_load_once_and_batched_answers_are_the_same(
    stored_models: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the bit: a bag of words knows nothing of the rows beside it."""
    from zoobench.leaderboard.serve.app import create_app

    rng = np.random.default_rng(5)
    texts = [" ".join(rng.choice(WORDS, 12)) for _ in range(40)]
    loads: list[str] = []
    whole = Loader.__call__

    def counted(self: Loader, stored: Any) -> Loaded:
        loads.append(stored.record.model)
        return whole(self, stored)

    monkeypatch.setattr(Loader, "__call__", counted)

    async def answers(batch: int) -> tuple[list[Any], Any]:
        # Without a look at the folder before each: they would come one after another.
        app = create_app(replace(settings(stored_models, batching=Batching(batch)), refresh_s=3600.0))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HOST, timeout=60) as client:
            asked = ({"task": "tiny", "model": "tfidf-logreg", "text": text} for text in texts)
            found = await asyncio.gather(*(client.post("/api/predict", json=question) for question in asked))
            (loaded,) = (await client.get("/api/health")).json()["loaded"]
        return [response.json()["answers"] for response in found], loaded

    one_by_one, loaded = asyncio.run(answers(1))
    assert (loaded["answered"], loaded["batches"]) == (40, 40)
    assert loads == ["tfidf-logreg"]
    joined, loaded = asyncio.run(answers(32))
    assert loaded["answered"] == 40
    assert loaded["batches"] < 40
    assert joined == one_by_one


def test_a_model_that_loads_keeps_no_other_from_answering(
    stored_models: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zoobench.leaderboard.serve.app import create_app

    gate, whole = threading.Event(), Loader.__call__

    def slow(self: Loader, stored: Any) -> Loaded:
        assert stored.record.model == "tfidf-logreg" or gate.wait(10)
        return whole(self, stored)

    monkeypatch.setattr(Loader, "__call__", slow)

    async def scene() -> None:
        app = create_app(settings(stored_models, threads=1))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HOST, timeout=60) as client:

            async def ask(model: str) -> int:
                question = {"task": "tiny", "model": model, "text": "fever"}
                return (await client.post("/api/predict", json=question)).status_code

            assert await ask("tfidf-logreg") == 200
            loading = asyncio.create_task(ask("dummy-uniform"))
            await asyncio.sleep(0.1)
            async with asyncio.timeout(5):
                assert await ask("tfidf-logreg") == 200
            assert not loading.done()
            gate.set()
            assert await loading == 200

    asyncio.run(scene())


def stored_network(models: Stored, folder: Path) -> Cell:
    """Fit a fine-tuned transformer of two layers, and store it as if it had been a cell."""
    known = best_cell("tiny", "tfidf-logreg", models.results, models.plugins).record
    network = {"encoder": tiny_encoder(folder / "encoder"), "epochs": 1, "number_format": "fp32"}
    model = MODELS.get("minilm")
    config = model.card.configure("", network)
    card, X, y = text_task("multilabel")
    told = {"model": "minilm", "framework": "torch", "config": dict(config), "labels": list(card.labels)}
    stored = Cell(known.model_copy(update=told), folder / "record.json")
    fitted = model.build(config, Context(card, known.seed, "cpu", 1, FeatureCache())).fit(X[:48], y[:48], seed=1)
    adapter.save(fitted, stored.attempt / ARTEFACT)
    return stored


@pytest.mark.slow
def test_a_network_answers_in_a_batch_as_alone(stored_models: Stored, tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    """Up to float32's rounding: a product of matrices is summed in another order in a batch, with padding beside it."""
    loaded = Loader(settings(stored_models, batching=Batching(32)), pool)(stored_network(stored_models, tmp_path))
    rng = np.random.default_rng(6)
    texts = [" ".join(rng.choice(WORDS, length)) for length in rng.integers(1, 60, 24)]

    async def scene() -> None:
        joined = await loaded.queue.ask(texts)
        assert loaded.queue.batches == 1
        alone = np.concatenate([await loaded.queue.ask([text]) for text in texts])
        np.testing.assert_allclose(joined, alone, atol=2e-6)
        assert np.ptp(alone, axis=0).max() > 1e-4, "texts are told apart"

    asyncio.run(scene())
    assert not loaded._predictor._features._seen, "nothing is kept of what was asked"
