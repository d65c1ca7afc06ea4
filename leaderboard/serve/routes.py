"""The addresses of the API."""

from __future__ import annotations

import time
from importlib.metadata import version
from typing import Annotated

from fastapi import APIRouter, Query, Request

from .answering import Desk
from .forms import check_texts, read_question, texts_of
from .guard import API_VERSION
from .listing import chosen, model_items, part, result_items, task_items
from .refusals import PlainJSON
from .schema import (
    LISTED,
    Health,
    ImageQuestion,
    ModelFilter,
    ModelPage,
    Prediction,
    Question,
    Ranked,
    Ranking,
    ResultFilter,
    ResultPage,
    TaskFilter,
    TaskPage,
    answers,
)

_BODY = {
    "required": True,
    "content": {
        "application/json": {"schema": {"$ref": "#/components/schemas/Question"}},
        "multipart/form-data": {"schema": {"$ref": "#/components/schemas/ImageQuestion"}},
    },
}
FORMS = (Question, ImageQuestion)
"""What a body may be: named in the API's description by hand, since a route that reads two types declares none."""


def router_of(desk: Desk) -> APIRouter:
    """Return the API's addresses, which answer from `desk`."""
    router = APIRouter(default_response_class=PlainJSON)
    _add_lists(router, desk)
    _add_predictions(router, desk)
    started = time.monotonic()

    @router.get("/health", responses=answers(Health, *LISTED), summary="Whether the server answers")
    async def health() -> PlainJSON:
        catalogue = await desk.folder.now()
        loaded = [
            {
                **{"task": each.record.task_name, "model": each.record.model, "record": each.record.key},
                **{"answered": each.queue.answered, "batches": each.queue.batches},
            }
            for each in desk.shelf
        ]
        told = {"status": "ok", "version": version("zoobench"), "api_version": API_VERSION}
        limits = {name: getattr(desk.settings.limits, name) for name in desk.settings.limits.__dataclass_fields__}
        more = {"uptime_s": round(time.monotonic() - started, 3), "rows": len(catalogue.board)}
        return PlainJSON({**told, **more, "loaded": loaded, "limits": limits})

    return router


def _add_lists(router: APIRouter, desk: Desk) -> None:
    @router.get("/tasks", responses=answers(TaskPage, *LISTED), summary="Tasks")
    async def tasks(asked: Annotated[TaskFilter, Query()]) -> PlainJSON:
        items = task_items(await desk.folder.now())
        return PlainJSON(part(chosen(items, asked.wanted()), asked))

    @router.get("/models", responses=answers(ModelPage, *LISTED), summary="Models")
    async def models(asked: Annotated[ModelFilter, Query()]) -> PlainJSON:
        items = model_items(await desk.folder.now())
        return PlainJSON(part(chosen(items, asked.wanted()), asked))

    @router.get("/results", responses=answers(ResultPage, *LISTED), summary="Rows of the board")
    async def results(asked: Annotated[ResultFilter, Query()]) -> PlainJSON:
        frame = (await desk.folder.now()).board
        for name, value in asked.wanted().items():
            frame = frame[frame[name] == value]
        names = [each for each in asked.fields.split(",") if each]
        return PlainJSON(part(frame, asked, lambda held: result_items(held, names)))


def _add_predictions(router: APIRouter, desk: Desk) -> None:
    limits = desk.settings.limits

    @router.get("/predict", responses=answers(Ranked), summary="Labels of a text by probability")
    async def rank(asked: Annotated[Ranking, Query()]) -> PlainJSON:
        question = Question.model_validate(asked.model_dump())
        check_texts(texts_of(question), limits)
        return PlainJSON(await desk.rank(question))

    @router.post(
        "/predict",
        responses=answers(Prediction),
        openapi_extra={"requestBody": _BODY},
        summary="Labels above their thresholds, or uncertain: of texts, or of an image",
    )
    async def predict(request: Request) -> PlainJSON:
        return PlainJSON(await desk.predict(*await read_question(request, limits)))
