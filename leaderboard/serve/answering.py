"""Questions answered: the stored model found, loaded, asked in its queue, and its answers told."""

from __future__ import annotations

import asyncio
import base64
import io
import re
from collections.abc import Awaitable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ...benchmarks.calibration import scale
from ...benchmarks.predict import Answer, answers_of
from ...benchmarks.record import Record
from ...datasets.pixels import TooLargeError, decode_image
from ...datasets.support.errors import UnavailableError, UserError
from ..answers import Trust
from .catalogue import Folder
from .forms import Sent, beside_of, texts_of
from .loaded import Loaded, Loader, Shelf, Shot
from .refusals import RefusalError

if TYPE_CHECKING:
    from ...datasets.core import TaskCard
    from .schema import Question
    from .settings import Settings

Result = TypeVar("Result")
_PATH = re.compile(r"(?<![\w.])~?/[\w.@~+/-]+")
"""Where something stands on this machine, which is nobody's business elsewhere."""
THREADS = "model"
"""What the threads that models answer in are called."""
EXPLAINED = 6
"""Labels that are explained at most: those chosen, or the most probable one."""


@dataclass(frozen=True)
class _Asked:
    """A question with the model that answers it, and what it is asked about."""

    question: Question
    loaded: Loaded
    inputs: Sequence[str] | Sequence[Shot]

    @property
    def temperature(self) -> float:
        """What divides the logits."""
        return (self.loaded.record.temperature or 1.0) if self.question.calibrated else 1.0


class Desk:
    """Where questions are answered; used on one event loop."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.folder = settings, Folder(settings)
        self._pool = ThreadPoolExecutor(settings.threads, THREADS)
        # Apart: a model that takes its time to load keeps those that are loaded from nothing.
        self._loading = ThreadPoolExecutor(1, THREADS)
        self.shelf = Shelf(Loader(settings, self._pool), settings.models, self._loading)

    def close(self) -> None:
        """Let go of the threads: what has not begun is not begun."""
        for pool in (self._pool, self._loading):
            pool.shutdown(wait=False, cancel_futures=True)

    async def predict(self, question: Question, sent: Sent | None) -> dict[str, Any]:
        """Return the answers to a question, in the form of `schema.Prediction`; RefusalError where there are none."""
        return await self._in_time(self._predict(question, sent))

    async def rank(self, question: Question) -> dict[str, Any]:
        """Return the labels of a text, in the form of `schema.Ranked`; RefusalError where there are none."""
        return await self._in_time(self._rank(question))

    async def _in_time(self, answer: Awaitable[Result]) -> Result:
        seconds = self.settings.limits.seconds
        try:
            return await asyncio.wait_for(answer, seconds)
        except TimeoutError:
            message = f"no answer within {seconds:g} s (a model that is being loaded goes on loading): ask again"
            raise RefusalError(429, "too_slow", message, {"retry-after": "5"}) from None
        except (UserError, UnavailableError) as error:
            raise RefusalError(409, "cannot_answer", _PATH.sub("…", str(error))) from error
        except MemoryError:
            raise RefusalError(409, "cannot_answer", "there is not enough memory for this model here") from None

    async def _predict(self, question: Question, sent: Sent | None) -> dict[str, Any]:
        asked = await self._ask(question, sent)
        record, temperature = asked.loaded.record, asked.temperature
        rows = await asked.loaded.queue.ask(asked.inputs)
        answers = answers_of(record, rows, temperature)
        threshold = Trust(question.confidence).threshold_for(record)
        thresholds = _thresholds(record, temperature)
        told = {
            **_source(record),
            "preset": record.preset,
            "mode": record.mode,
            "kind": record.kind,
            "modality": "text" if sent is None else "image",
            "policy": record.policy,
            "confidence_threshold": threshold,
            "temperature": temperature if question.calibrated else None,
            "answers": [_answer(each, threshold, thresholds, question.min_probability) for each in answers],
        }
        return told | {"influence": None, "heat": None, "image": None} | await self._explained(asked, answers[0])

    async def _rank(self, question: Question) -> dict[str, Any]:
        asked = await self._ask(question, None)
        (answer,) = answers_of(asked.loaded.record, await asked.loaded.queue.ask(asked.inputs))
        least = question.min_probability
        labels = [_pair(label, value) for label, value in answer.probabilities if value >= least]
        return {**_source(asked.loaded.record), "min_probability": least, "labels": labels}

    async def _ask(self, question: Question, sent: Sent | None) -> _Asked:
        catalogue = await self.folder.now()
        name = (question.task, question.model)
        stored = catalogue.found(*name) or await asyncio.to_thread(catalogue.find, *name)
        card = catalogue.card_of(question.task)
        if (card.modality == "image") != (sent is not None):
            how = "an image as multipart/form-data" if card.modality == "image" else "texts as application/json"
            raise RefusalError(422, "invalid", f"task {card.name} is made of {card.modality}s: send {how}")
        inputs = _texts(question) if sent is None else [await asyncio.to_thread(self._shot, card, sent)]
        if question.calibrated and stored.record.temperature is None:
            raise RefusalError(409, "cannot_answer", "the record is older than temperatures: ask without `calibrated`")
        return _Asked(question, await self.shelf.get(stored), inputs)

    def _shot(self, card: TaskCard, sent: Sent) -> Shot:
        beside = beside_of(card, sent.beside)
        try:
            return Shot(decode_image(sent.content, card.image_size, self.settings.limits.pixels), beside)
        except TooLargeError as error:
            raise RefusalError(422, "image_too_large", str(error)) from error
        except UserError as error:
            raise RefusalError(422, "bad_image", str(error)) from error

    async def _explained(self, asked: _Asked, answer: Answer) -> dict[str, Any]:
        """Return what is added where an explanation was asked for, and remarks."""
        (first, *_), loaded = asked.inputs, asked.loaded
        if isinstance(first, str) and not any(map(str.isalnum, first)):
            return {"remarks": ["no word in the text: the answer is what the model says of nothing"]}
        unknown = [] if isinstance(first, str) else [name for name, value in first.beside.items() if np.isnan(value)]
        remarks = [f"{', '.join(unknown)} not known to the model"] if unknown else []
        if not asked.question.explain:
            return {"remarks": remarks}
        labels = (answer.chosen or (answer.probabilities[0][0],))[:EXPLAINED]
        if isinstance(first, str):
            found = {"influence": await loaded.queue.alone(lambda: _influence(loaded, first, labels))}
        else:
            heat = await loaded.queue.alone(lambda: _heat(loaded, first, labels))
            found = {"heat": heat, "image": _data_url(first.pixels)}
        if None in found.values():
            remarks.append(f"{loaded.record.model} cannot tell what its answer rests on")
        return {**found, "remarks": remarks}


def _texts(question: Question) -> list[str]:
    texts = texts_of(question)
    if question.explain and len(texts) > 1:
        raise RefusalError(422, "too_many_texts", "one text is explained at a time: ask without `explain`")
    return texts


def _source(record: Record) -> dict[str, Any]:
    return {"task": record.task_name, "model": record.model, "record": record.key}


def _pair(label: str, value: float) -> dict[str, Any]:
    return {"label": label, "probability": value}


def _thresholds(record: Record, temperature: float) -> dict[str, float]:
    """Return by label what its probability is held against, moved through the temperature as probabilities are."""
    values = record.test[record.policy].thresholds
    if not values:
        return {}
    moved = scale(record.kind, np.array([values]), temperature)[0]
    return dict(zip(record.labels, moved.tolist(), strict=True))


def _answer(found: Answer, least_sure: float, thresholds: dict[str, float], least: float) -> dict[str, Any]:
    uncertain = found.confidence < least_sure
    chosen = set(found.chosen)
    return {
        "answer": "uncertain" if uncertain else "labels",
        "labels": [] if uncertain else [_pair(*each) for each in found.probabilities if each[0] in chosen],
        "confidence": found.confidence,
        "probabilities": [
            {**_pair(label, value), "threshold": thresholds.get(label), "chosen": label in chosen}
            for label, value in found.probabilities
            if value >= least
        ],
    }


def _influence(loaded: Loaded, text: str, labels: Sequence[str]) -> list[dict[str, Any]] | None:
    weighed = loaded.weigh(text)
    if weighed is None:
        return None
    places = [(label, loaded.record.labels.index(label)) for label in labels]
    spans = weighed.spans.tolist()
    return [
        {
            "label": label,
            "rest": float(weighed.rest[place]),
            "words": [
                {"start": start, "end": end, "added": added}
                for (start, end), added in zip(spans, weighed.added[place].tolist(), strict=True)
                if added
            ],
        }
        for label, place in places
    ]


def _heat(loaded: Loaded, shot: Shot, labels: Sequence[str]) -> list[dict[str, Any]] | None:
    maps = [(label, loaded.look(shot, label)) for label in labels]
    return [{"label": label, "overlay": _overlay(heat)} for label, heat in maps if heat is not None] or None


def _overlay(heat: np.ndarray) -> str:
    """Return a (side, side) map from 0 to 1 as an image to lay over another: clear where the map says nothing."""
    from matplotlib import colormaps

    colours = colormaps["inferno"](heat)
    colours[..., 3] = 0.6 * heat
    return _data_url((255 * colours).astype(np.uint8))


def _data_url(pixels: np.ndarray) -> str:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
