"""Predictions joined across requests: a small queue a model, answered off the event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from .refusals import RefusalError
from .settings import Batching

Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class _Waiting:
    items: Sequence[Any]
    longest: int
    answer: asyncio.Future[np.ndarray]


class Batcher:
    """A model's queue; used on one event loop.

    A batch is answered at a time, in a thread of `pool`; what arrives meanwhile is the next batch. So a lone request
    waits for nothing, and under load batches grow by themselves. A batch is whoever has waited longest, and of the
    others those whose inputs are most like in length: a network pads all of a batch to its longest.

    Parameters
    ----------
    answer
        Inputs to their (n, labels) probabilities.
    most_waiting
        Inputs that may wait; more are refused.
    length
        Of an input; where all are of one, batches go by who came first.
    """

    def __init__(
        self,
        answer: Callable[[list[Any]], np.ndarray],
        pool: Executor,
        batching: Batching,
        most_waiting: int,
        length: Callable[[Any], int] = len,
    ) -> None:
        self._answer, self._pool, self._batching, self._most = answer, pool, batching, most_waiting
        self._length = length
        self._queue: list[_Waiting] = []
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
        order = sorted(range(len(items)), key=lambda place: self._length(items[place]))
        parts = [[items[place] for place in order[start : start + size]] for start in range(0, len(items), size)]
        answers = [self._put(part) for part in parts]
        try:
            return np.concatenate([await each for each in answers])[np.argsort(order)]
        finally:
            for each in answers:
                each.cancel()  # of a client that left, what has not begun is not begun

    async def alone(self, work: Callable[[], Result]) -> Result:
        """Return what `work` returns, done in a thread while the model answers nobody else."""
        async with self._turn:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def _put(self, part: Sequence[Any]) -> asyncio.Future[np.ndarray]:
        longest = max(map(self._length, part))
        waiting = _Waiting(part, longest, asyncio.get_running_loop().create_future())
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
        """Return what is next, as much as a batch holds, and forget what nobody waits for any more."""
        self._keep([each for each in self._queue if not each.answer.done()])
        batch: list[_Waiting] = []
        room = self._batching.texts
        # The first is nearest to itself, and a sort leaves equals in the order in which they came.
        for waiting in sorted(self._queue, key=lambda each: abs(each.longest - self._queue[0].longest)):
            if len(waiting.items) <= room:
                batch.append(waiting)
                room -= len(waiting.items)
        self._keep([each for each in self._queue if each not in batch])
        return batch

    def _keep(self, waiting: list[_Waiting]) -> None:
        self._queue, self._waiting = waiting, sum(len(each.items) for each in waiting)

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
