"""What `zoobench serve` refuses, each with a status and a code of its own, and what no answer may hold."""

from __future__ import annotations

import io
import math
import struct
import time
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image
from zoobench.benchmarks.predict import Predictor
from zoobench.leaderboard.serve.forms import beside_of
from zoobench.leaderboard.serve.guard import HEADERS, host_name
from zoobench.leaderboard.serve.refusals import RefusalError
from zoobench.leaderboard.serve.settings import Batching, Limits, Settings

from .serving import TEXT, Stored, client, error
from .test_serve import picture, shown

LIMITS = Limits(body_mb=0.1, text=300, texts=3, pixels=10_000)
HOSTILE = [
    "<script>alert(1)</script>",
    "../../../etc/passwd",
    "/etc/passwd",
    "tiny/../tiny",
    "tiny\0",
    "x.toml",
    "\ud800",
]


@pytest.fixture(scope="module")
def ask(stored_models: Stored) -> Iterator[Any]:
    with client(stored_models, limits=LIMITS) as made:
        yield made


def posted(ask: Any, **question: Any) -> Any:
    return ask.post("/api/predict", json={"task": "tiny", **question})


def test_a_large_body(ask: Any) -> None:
    assert "0.1 MB" in error(posted(ask, text="a" * 100_001), 413, "body_too_large")

    def grows() -> Iterator[bytes]:  # without a length before it
        yield b'{"task": "'
        for _ in range(20):
            yield b"a" * 10_000

    sent = ask.post("/api/predict", content=grows(), headers={"content-type": "application/json"})
    error(sent, 413, "body_too_large")


def test_long_and_many_texts(ask: Any) -> None:
    assert posted(ask, text="a" * 300).status_code == 200
    assert "text 1 has 301 characters" in error(posted(ask, text="a" * 301), 422, "text_too_long")
    assert "text 2" in error(posted(ask, texts=["a", "b" * 301]), 422, "text_too_long")
    assert posted(ask, texts=["a"] * 3).status_code == 200
    assert "4 texts" in error(posted(ask, texts=["a"] * 4), 422, "too_many_texts")
    long = ask.get("/api/predict", params={"task": "tiny", "text": "a" * 301})
    error(long, 422, "text_too_long")
    error(posted(ask, texts=["a", "b"], explain=True), 422, "too_many_texts")


def bomb(side: int) -> bytes:
    """A PNG that says that it is large, and holds next to nothing."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")


def test_images_that_are_none_or_too_large(ask: Any) -> None:
    assert shown(ask, picture(100)).status_code == 200
    for side in (101, 10_000, 60_000):  # the last is one that Pillow refuses by itself
        message = error(shown(ask, bomb(side)), 422, "image_too_large")
        assert "pixels" in message
    assert "no image" in error(shown(ask, b"no image"), 422, "bad_image")
    assert "no image" in error(shown(ask, picture(form="BMP")), 422, "bad_image"), "fewer formats than of files here"
    error(shown(ask, picture(80)[:-60]), 422, "bad_image")
    assert "8 a side" in error(shown(ask, picture(4)), 422, "bad_image")
    error(shown(ask, b""), 422, "bad_image")
    stream = io.BytesIO()
    Image.new("L", (9, 9)).save(stream, "PNG", pnginfo=_text_bomb())
    assert shown(ask, stream.getvalue()).status_code in {200, 422}


def _text_bomb() -> Any:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("comment", "a" * 5_000_000, zip=True)
    return info


def test_forms_that_do_not_fit(ask: Any) -> None:
    no_file = ask.post("/api/predict", data={"task": "seen-squares", "image": "text"}, files={"other": b"x"})
    assert "image" in error(no_file, 422, "invalid")
    assert "age: 'old' is no number" in error(shown(ask, picture(), age="old"), 422, "invalid")
    error(shown(ask, picture(), age="nan"), 422, "invalid")
    assert "send texts" in error(shown(ask, picture(), task="tiny", model="tfidf-logreg"), 422, "invalid")
    assert "send an image" in error(posted(ask, task="seen-squares", text="a"), 422, "invalid")
    torn = ask.post("/api/predict", content=b"--x", headers={"content-type": "multipart/form-data"})
    error(torn, 400, "bad_request")


def test_words_beside_a_chest_x_ray() -> None:
    from zoobench.datasets.tasks.nih_chest_xray14 import CARD

    assert beside_of(CARD, {"age": "45", "sex": "female", "view": "AP"}) == {"age": 0.45, "sex": 1.0, "view": 1.0}
    unknown = beside_of(CARD, {})
    assert list(unknown) == list(CARD.tabular)
    assert all(map(math.isnan, unknown.values()))
    for wrong in ({"age": "121"}, {"age": "-1"}, {"sex": "x"}, {"view": "LATERAL"}, {"height": "1"}):
        with pytest.raises(RefusalError) as refused:
            beside_of(CARD, wrong)
        assert refused.value.code == "invalid"


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[" * 90_000, b'{"task": 1, "text": "a"}', b'{"task": "tiny"}', b'{"task": "tiny", "text": "\xff"}',
     b'{"task": "tiny", "text": "a", "texts": ["b"]}', b'{"task": "tiny", "text": "a", "more": 1}', b'{"task": "tiny", "texts": []}',
     b'{"task": "tiny", "text": "a", "confidence": 1.1}', b'{"task": "tiny", "text": "a", "confidence": NaN}'],
)  # fmt: skip
def test_bodies_that_cannot_be_read(ask: Any, body: bytes) -> None:
    error(ask.post("/api/predict", content=body, headers={"content-type": "application/json"}), 422, "invalid")


def test_methods_addresses_and_types(ask: Any) -> None:
    error(ask.post("/api/predict", content=b"a", headers={"content-type": "text/plain"}), 415, "unsupported_media_type")
    error(ask.post("/api/predict", content=b"a"), 415, "unsupported_media_type")
    refused = ask.delete("/api/predict")
    error(refused, 405, "method_not_allowed")
    assert refused.headers["allow"]
    error(ask.get("/api/nothing"), 404, "not_found")


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_reach_nothing(ask: Any, name: str) -> None:
    kept = name.isprintable() and name.isascii()
    for response in (
        posted(ask, task=name, text="a") if kept else ask.get("/api/predict", params={"task": name.replace("\ud800", "?"), "text": "a"}),
        ask.get("/api/predict", params={"task": "tiny", "model": name.replace("\ud800", "?"), "text": "a"}),
    ):  # fmt: skip
        assert response.status_code in {404, 422}, response.text
        assert "root:" not in response.text
        assert response.headers["content-type"] == "application/json"


def test_half_a_character_is_answered_in_json_all_the_same(ask: Any) -> None:
    sent = ask.post(
        "/api/predict",
        content=b'{"task": "tiny", "model": "\\udc00x", "text": "a"}',
        headers={"content-type": "application/json"},
    )
    assert sent.status_code in {404, 422}
    assert sent.json()["error"]["message"]


def test_only_this_host_and_this_origin(ask: Any, stored_models: Stored) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8000", ""):
        error(ask.get("/api/health", headers={"host": host}), 421, "unknown_host")
    for host in ("localhost:8000", "127.0.0.1", "[::1]:8000"):
        assert ask.get("/api/health", headers={"host": host}).status_code == 200
    headers = {"host": "localhost:8000", "content-type": "application/json"}
    body = b'{"task": "tiny", "text": "a"}'
    for origin in ("http://evil.example", "null", "http://localhost:9000", "http://[", "file://localhost:8000"):
        sent = ask.post("/api/predict", content=body, headers={**headers, "origin": origin})
        error(sent, 403, "other_origin")
        assert "access-control-allow-origin" not in sent.headers
    own = ask.post("/api/predict", content=body, headers={**headers, "origin": "http://localhost:8000"})
    assert own.status_code == 200
    with client(stored_models, hosts=("bench.example",)) as named:
        assert named.get("/api/health", headers={"host": "BENCH.example:80"}).status_code == 200
    assert host_name(" [::1]:80 ") == "::1"


@pytest.mark.parametrize("path", ["/api/health", "/try.html", "/nothing", "/assets/try.js", "/api/docs"])
def test_every_answer_has_the_headers(ask: Any, path: str) -> None:
    found = ask.get(path).headers
    assert {name: found.get(name) for name in HEADERS} == HEADERS
    policy = found["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe-eval" not in policy
    assert "script-src 'self';" in policy or "script-src" not in policy


def test_a_queue_that_is_full_and_an_answer_that_is_late(
    stored_models: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    with client(stored_models, limits=Limits(waiting=2)) as ask:
        busy = posted(ask, texts=["a"] * 3)
        error(busy, 429, "busy")
        assert busy.headers["retry-after"]
        assert posted(ask, texts=["a"] * 2).status_code == 200
    whole = Predictor.probabilities

    def late_by_a_second(self: Any, inputs: Any) -> Any:
        time.sleep(1)
        return whole(self, inputs)

    monkeypatch.setattr(Predictor, "probabilities", late_by_a_second)
    with client(stored_models, limits=Limits(seconds=0.5)) as ask:
        late = posted(ask, text=TEXT)
        error(late, 429, "too_slow")
        assert late.headers["retry-after"]


def test_settings_that_make_no_sense() -> None:
    from zoobench.datasets.support.errors import UserError

    for made in (
        lambda: Limits(texts=0), lambda: Limits(seconds=float("nan")), lambda: Batching(0), lambda: Batching(1, -1.0),
        lambda: Settings(".", models=0), lambda: Settings(".", threads=0),
    ):  # fmt: skip
        with pytest.raises(UserError):
            made()


def test_a_fault_is_told_without_its_inside(stored_models: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise ZeroDivisionError("inside")

    monkeypatch.setattr(Predictor, "probabilities", fails)
    with client(stored_models) as ask:
        assert "inside" not in error(posted(ask, text="a"), 500, "fault")
