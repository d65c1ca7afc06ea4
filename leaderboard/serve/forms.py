"""Requests read into what a model is asked, within the limits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi import Request
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile

from .refusals import RefusalError
from .schema import Question
from .settings import MB, Limits

if TYPE_CHECKING:
    from ...datasets.core import TaskCard

_ASKED = ("task", "model", "confidence", "calibrated", "min_probability", "explain")
"""What a form asks beside its image; all else may be numbers beside that."""
_FIELDS = 40
_OLDEST = 120
_SPOKEN: Mapping[str, Mapping[str, Mapping[str, float]]] = {
    "nih-chest-xray14": {"sex": {"male": 0.0, "female": 1.0}, "view": {"PA": 0.0, "AP": 1.0}}
}
"""What the words of a form are to a task whose card says so; its ages are hundredths of years."""


@dataclass(frozen=True)
class Sent:
    """An image that was sent, undecoded, and by name the other values of its form that may stand beside it."""

    content: bytes
    beside: Mapping[str, str]


async def read_question(request: Request, limits: Limits) -> tuple[Question, Sent | None]:
    """Return what a request's body asks: JSON asks of texts, a form of an image.

    Raises
    ------
    RefusalError
        For any other type, what cannot be read, and what is beyond a limit.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        question = _checked(Question, await request.body())
        check_texts(texts_of(question), limits)
        return question, None
    if kind == "multipart/form-data":
        async with request.form(max_files=1, max_fields=_FIELDS, max_part_size=int(limits.body_mb * MB)) as form:
            return await _read_form(form)
    raise RefusalError(415, "unsupported_media_type", "send application/json, or an image as multipart/form-data")


async def _read_form(form: FormData) -> tuple[Question, Sent]:
    image = form.get("image")
    if not isinstance(image, UploadFile):
        raise RefusalError(422, "invalid", "image: send a file in the field `image`")
    values = {name: value for name, value in form.items() if isinstance(value, str) and value}
    asked = {name: value for name, value in values.items() if name in _ASKED}
    return _checked(Question, asked), Sent(await image.read(), values)


def texts_of(question: Question) -> list[str]:
    """Return the texts that are asked about, each with what UTF-8 cannot hold replaced."""
    if (question.text is None) == (question.texts is None):
        raise RefusalError(422, "invalid", "give `text`, or `texts`, and not both")
    found = [question.text] if question.text is not None else question.texts or []
    return [text.encode("utf-8", "replace").decode() for text in found]


def check_texts(texts: list[str], limits: Limits) -> None:
    """Refuse too many texts, and one that is too long."""
    if len(texts) > limits.texts:
        raise RefusalError(422, "too_many_texts", f"{len(texts)} texts were sent, and {limits.texts} are the most")
    for number, text in enumerate(texts, start=1):
        if len(text) > limits.text:
            raise RefusalError(
                422, "text_too_long", f"text {number} has {len(text):,} characters, and {limits.text:,} are the most"
            )


def beside_of(card: TaskCard, given: Mapping[str, str]) -> dict[str, float]:
    """Return the numbers that a task has beside an image, NaN where unknown.

    Of NIH's chest X-rays age is in years, and sex and view are words; any other task takes numbers as it has them, in
    fields of their names.

    Raises
    ------
    RefusalError
        If one is no field of the task, no number, or none of the words, or an age that nobody reaches.
    """
    if strange := sorted(set(given) - set(card.tabular) - set(_ASKED)):
        known = ", ".join((*card.tabular, *_ASKED))
        raise RefusalError(422, "invalid", f"{strange[0][:40]!a} is no field of {card.name}: one of {known}")
    spoken = _SPOKEN.get(card.name)
    found = {}
    for name in card.tabular:
        word = given.get(name, "")
        words = spoken.get(name, {}) if spoken else {}
        if word in words:
            found[name] = words[word]
        elif words and word:
            raise RefusalError(422, "invalid", f"{name}: {word[:40]!a} is none of {', '.join(words)}")
        else:
            found[name] = _number(name, word) if word else math.nan
        if spoken and name == "age" and word:
            if not 0 <= found[name] <= _OLDEST:
                raise RefusalError(422, "invalid", f"age: give years from 0 to {_OLDEST}")
            found[name] /= 100
    return found


def _number(name: str, word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise RefusalError(422, "invalid", f"{name}: {word[:40]!a} is no number")
    return value


def _checked(form: Any, values: bytes | Mapping[str, Any]) -> Any:
    """Return the values of a form; a refusal that names the first that is wrong."""
    try:
        return form.model_validate_json(values) if isinstance(values, bytes) else form.model_validate(values)
    except ValidationError as error:
        raise RefusalError(422, "invalid", in_words(error.errors(include_url=False, include_input=False))) from None


def in_words(errors: Any) -> str:
    """Return the first of pydantic's errors as a line: where, and what is wrong."""
    first = errors[0]
    place = ".".join(str(part)[:40] for part in first["loc"])
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{ascii(place)[1:-1] or 'body'}: {first['msg']}{more}"
