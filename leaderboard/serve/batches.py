"""Predictions joined across requests: a small queue a model, answered off the event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from .refusals import RefusalError
from .settings import Batching

Result = TypeVar("Result")


@dataclass(frozen=True)
class _Waiting:
    items: Sequence[Any]
    answer: asyncio.Future[np.ndarray]


class Batcher:
    """A model's queue; used on one event loop.

    A batch is answered at a time, in a thread of `pool`; what arrives meanwhile is the next batch. So a lone request
    waits for nothing, and under load batches grow by themselves.

    Parameters
    ----------
    answer
        Inputs to their (n, labels) probabilities.
    most_waiting
        Inputs that may wait; more are refused.
    """

    def __init__(
        self, answer: Callable[[list[Any]], np.ndarray], pool: Executor, batching: Batching, most_waiting: int
    ) -> None:
        self._answer, self._pool, self._batching, self._most = answer, pool, batching, most_waiting
        self._queue: deque[_Waiting] = deque()
        self._waiting = 0
        self._turn = asyncio.Lock()
        self._full = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None
        self.batches = self.answered = 0
        """How many batches, of how many inputs in all, were answered."""

    async def ask(self, items: Sequence[Any]) -> np.ndarray:
        """Return the (n, labels) probabilities of n inputs, in their order.

        Raises
        ------
        RefusalError
            If too many wait already.
        """
        if self._waiting + len(items) > self._most:
            raise RefusalError(429, "busy", "too many wait for this model: ask again in a second", {"retry-after": "1"})
        size = self._batching.texts
        parts = [items[start : start + size] for start in range(0, len(items), size)]
        answers = [self._put(part) for part in parts]
        try:
            return np.concatenate([await each for each in answers])
        finally:
            for each in answers:
                each.cancel()  # of a client that left, what has not begun is not begun

    async def alone(self, work: Callable[[], Result]) -> Result:
        """Return what `work` returns, done in a thread while the model answers nobody else."""
        async with self._turn:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def _put(self, part: Sequence[Any]) -> asyncio.Future[np.ndarray]:
        waiting = _Waiting(part, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._waiting += len(part)
        if self._waiting >= self._batching.texts:
            self._full.set()
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._run())
        return waiting.answer

    async def _run(self) -> None:
        while self._queue:
            if self._batching.wait_ms and self._waiting < self._batching.texts:
                self._full.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._full.wait(), self._batching.wait_ms / 1000)
            async with self._turn:
                if batch := self._take():
                    await self._settle(batch)

    def _take(self) -> list[_Waiting]:
        """Return what is next, as much as a batch holds, without what nobody waits for any more."""
        batch: list[_Waiting] = []
        room = self._batching.texts
        while self._queue and (not batch or len(self._queue[0].items) <= room):
            waiting = self._queue.popleft()
            self._waiting -= len(waiting.items)
            if not waiting.answer.done():
                batch.append(waiting)
                room -= len(waiting.items)
        return batch

    async def _settle(self, batch: Sequence[_Waiting]) -> None:
        """Answer a batch; where it fails, each of it by itself: one request's input is not another's fault."""
        items = [item for waiting in batch for item in waiting.items]
        try:
            rows = await asyncio.get_running_loop().run_in_executor(self._pool, self._answer, items)
        except Exception as error:  # models raise what they like, and whoever asked is told
            if len(batch) > 1:
                for waiting in batch:
                    await self._settle([waiting])
            elif not batch[0].answer.done():
                batch[0].answer.set_exception(error)
            return
        self.batches += 1
        self.answered += len(items)
        for waiting in batch:
            mine, rows = rows[: len(waiting.items)], rows[len(waiting.items) :]
            if not waiting.answer.done():
                waiting.answer.set_result(mine)
