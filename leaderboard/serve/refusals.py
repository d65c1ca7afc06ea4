"""Errors that a client sees: one JSON form for all of them."""

from __future__ import annotations

from typing import Any, Literal, get_args

from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

Code = Literal[
    "bad_request",
    "other_origin",
    "not_found",
    "unknown_task",
    "unknown_model",
    "method_not_allowed",
    "slow_request",
    "cannot_answer",
    "body_too_large",
    "unsupported_media_type",
    "unknown_host",
    "invalid",
    "text_too_long",
    "too_many_texts",
    "bad_image",
    "image_too_large",
    "busy",
    "too_slow",
    "fault",
]


class Told(BaseModel):
    """What went wrong: `code` for programs, `message` for people."""

    code: Code
    message: str = Field(description="one line: what was wrong, and what to do")


class Error(BaseModel):
    """The answer to a request that was refused."""

    error: Told


class PlainJSON(JSONResponse):
    """JSON in ASCII: half of a surrogate pair, which UTF-8 cannot hold, is escaped like all else that is not ASCII."""

    def render(self, content: Any) -> bytes:
        """Return the body."""
        import json

        return json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii")


class RefusalError(Exception):
    """A request that is not answered, and why.

    Parameters
    ----------
    status
        From 400 to 499: whoever asked can do something about it.
    """

    def __init__(self, status: int, code: Code, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        if not 400 <= status < 500 or code not in get_args(Code):
            raise ValueError(f"status {status} with code {code!r} is no refusal")
        self.status, self.headers = status, headers or {}
        self.code: Code = code

    def response(self) -> PlainJSON:
        """Return it as the client sees it."""
        return told(self.status, self.code, str(self), self.headers)


def told(status: int, code: Code, message: str, headers: dict[str, str] | None = None) -> PlainJSON:
    """Return an error as the client sees it, its message in one line."""
    content = {"error": {"code": code, "message": " ".join(message.split())}}
    return PlainJSON(content, status_code=status, headers=headers)
