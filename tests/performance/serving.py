"""Measure `zoobench serve`: python tests/performance/serving.py [--seconds S] [--rounds N] [--client plain|httpx].

For each model and 1 and 32 clients: requests a second, and the latency that 50 and 95 of 100 requests stay below; then
what joining requests brings, the requests a second of a server that joins them over those of one that does not, both
measured in turns. A request is one report of `openi-reports`, answered with every label's probability.

The server is a process of its own, and so are the clients, which take a core of theirs: httpx takes more of it for a
request than the server does, so that `plain`, an HTTP client of fifty lines, is the default. Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from figures import Figure, head, show
from serving import Stored, running

TASK = "openi-reports"
# Weights need not be good to be asked, only of the size that they are: one epoch, of the head alone.
MODELS = {
    "tfidf-logreg": {},
    "embedding-logreg": {},
    "minilm": {"epochs": 1, "frozen_layers": 6, "frozen_embeddings": True, "number_format": "fp32"},
}
ENCODERS = ("embedding-logreg", "minilm")
CLIENTS = (1, 32)
WARM_UP_S = 1.0
ASKED = 1.3
"""Joined over one by one, on a processor."""

Post = Callable[[bytes], Awaitable[None]]


class Place(NamedTuple):
    """A running server."""

    host: str
    port: int
    pid: int

    @property
    def spent(self) -> float:
        """Seconds of the processor that it has taken."""
        times = psutil.Process(self.pid).cpu_times()
        return times.user + times.system


def prepare(results: Path, models: Sequence[str]) -> None:
    from zoobench.benchmarks import run

    for model in models:
        run(task=TASK, model=model, set=MODELS[model], results=results)


def questions(model: str, count: int = 512) -> list[bytes]:
    from zoobench.datasets.core import TASKS

    texts = TASKS.get(TASK).read().inputs[:count]
    return [json.dumps({"task": TASK, "model": model, "text": str(text)}).encode() for text in texts]


@contextlib.contextmanager
def server(results: Path, *words: str) -> Iterator[Place]:
    with running(Stored(results, ()), *words) as made:
        yield Place("127.0.0.1", made.port, made.process.pid)


@contextlib.asynccontextmanager
async def plain(host: str, port: int):
    """A client of one connection: it reads the status and a body of the length that is told, and nothing else."""
    reader, writer = await asyncio.open_connection(host, port)
    head = f"POST /api/predict HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\nContent-Length: "

    async def post(body: bytes) -> None:
        writer.write(f"{head}{len(body)}\r\n\r\n".encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = int(re.search(rb"content-length: (\d+)", answer, re.I)[1])  # type: ignore[index]
        content = await reader.readexactly(length)
        if not answer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(content.decode())

    yield post
    writer.close()


@contextlib.asynccontextmanager
async def httpx_client(host: str, port: int):
    import httpx

    async with httpx.AsyncClient(base_url=f"http://{host}:{port}", timeout=120) as client:

        async def post(body: bytes) -> None:
            answer = await client.post("/api/predict", content=body, headers={"content-type": "application/json"})
            answer.raise_for_status()

        yield post


CLIENT = {"plain": plain, "httpx": httpx_client}


async def load(place: Place, bodies: Sequence[bytes], clients: int, seconds: float, kind: str) -> list[float]:
    """Return the seconds that requests of `clients`, each making one after another, took: of those answered in time."""
    found: list[float] = []
    begin = time.perf_counter() + WARM_UP_S
    end = begin + seconds

    async def one(number: int) -> None:
        async with CLIENT[kind](*place[:2]) as post:
            at = number * 17
            while (start := time.perf_counter()) < end:
                await post(bodies[at % len(bodies)])
                at += 1
                if begin <= (done := time.perf_counter()) <= end:
                    found.append(done - start)

    await asyncio.gather(*(one(number) for number in range(clients)))
    if len(found) < 2:
        raise SystemExit(
            f"{len(found)} requests of {clients} clients were answered in {seconds:g} s: give --seconds more"
        )
    return found


def warm(place: Place, model: str, told: argparse.Namespace) -> None:
    """Have a model loaded."""
    (body,) = questions(model, 1)

    async def one() -> None:
        async with CLIENT[told.client](*place[:2]) as post:
            await post(body)

    asyncio.run(one())


def measured(place: Place, model: str, clients: int, told: argparse.Namespace) -> list[float]:
    bodies = questions(model)
    return asyncio.run(load(place, bodies, clients, told.seconds, told.client))


def p95(latencies: Sequence[float]) -> float:
    return statistics.quantiles(latencies, n=20)[-1]


def latencies(results: Path, told: argparse.Namespace) -> list[Figure]:
    figures = []
    with server(results) as place:
        for model in told.model:
            warm(place, model, told)
            for clients in CLIENTS:
                found = measured(place, model, clients, told)
                middle, high = 1000 * statistics.median(found), 1000 * p95(found)
                how = f"p50 {middle:.1f} ms, {len(found) / told.seconds:.1f} requests/s"
                figures.append(Figure(f"{model}, {clients} clients: p95 in ms", high, None, how))
                show(figures[-1])
    return figures


def batching(results: Path, told: argparse.Namespace) -> list[Figure]:
    most, figures = max(CLIENTS), []
    with server(results) as joined, server(results, "--batch", "1") as alone:
        for model in (name for name in told.model if name in ENCODERS):
            rates: dict[Place, list[float]] = {joined: [], alone: []}
            for place in rates:
                warm(place, model, told)
            busy = dict.fromkeys(rates, 0.0)
            for _ in range(told.rounds):
                for place, found in rates.items():
                    before = place.spent
                    found.append(len(measured(place, model, most, told)) / told.seconds)
                    busy[place] += place.spent - before
            first, second = (statistics.median(found) for found in rates.values())
            turns = [one / other for one, other in zip(*rates.values(), strict=True)]
            # Other work on the machine changes both, but hardly this.
            each = [sum(rates[place]) / busy[place] for place in rates]
            how = f"{first:.1f} / {second:.1f} requests/s, turns {min(turns):.2f} to {max(turns):.2f}, "
            how += f"for the same seconds of the processor {each[0] / each[1]:.2f}"
            figures.append(Figure(f"{model}, {most} clients: joined / one by one", first / second, ASKED, how))
            show(figures[-1])
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--client", choices=list(CLIENT), default="plain")
    parser.add_argument("--model", action="append", choices=list(MODELS))
    parser.add_argument("--results", type=Path, default=Path("zoobench-results-serving"))
    told = parser.parse_args()
    told.model = told.model or list(MODELS)
    prepare(told.results, told.model)
    head(
        f"python tests/performance/serving.py --seconds {told.seconds:g} --rounds {told.rounds} --client {told.client}"
    )
    figures = [*latencies(told.results, told), *batching(told.results, told)]
    return int(any(figure.missed for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
