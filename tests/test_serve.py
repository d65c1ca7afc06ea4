"""The API of `zoobench serve`: lists, predictions as `zoobench predict` gives them, explanations, and what changes."""

from __future__ import annotations

import base64
import io
import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from zoobench.benchmarks.predict import best_cell
from zoobench.datasets.support.errors import UserError
from zoobench.leaderboard import board
from zoobench.leaderboard.answers import Trust, answer
from zoobench.leaderboard.site.build import build_site

from .serving import TEXT, Stored, client, error
from .sites import CLOSING, HOSTILE, fill

TEXTS = [TEXT, "no change", "fracture of the chest and fever", ""]


@pytest.fixture(scope="module")
def ask(stored_models: Stored) -> Iterator[Any]:
    with client(stored_models) as made:
        yield made


def predicted(ask: Any, **question: Any) -> dict[str, Any]:
    response = ask.post("/api/predict", json={"task": "tiny", **question})
    assert response.status_code == 200, response.text
    return response.json()


def picture(side: int = 8, shade: int = 255, form: str = "PNG", mode: str = "L") -> bytes:
    stream = io.BytesIO()
    Image.new(mode, (side, side), shade).save(stream, form)
    return stream.getvalue()


def shown(ask: Any, content: bytes, **fields: Any) -> Any:
    values = {"task": "seen-squares", "model": "viewer", **fields}
    return ask.post("/api/predict", data=values, files={"image": ("../../x<b>.png", content, "image/png")})


def test_health_says_what_it_is_and_what_is_loaded(stored_models: Stored) -> None:
    with client(stored_models) as ask:
        told = ask.get("/api/health").json()
        assert (told["status"], told["api_version"], told["loaded"]) == ("ok", "1", [])
        assert told["limits"]["texts"] == 64
        predicted(ask, model="tfidf-logreg", texts=["a", "b"])
        (loaded,) = ask.get("/api/v1/health").json()["loaded"]
        assert (loaded["model"], loaded["answered"], loaded["batches"]) == ("tfidf-logreg", 2, 1)


def test_tasks_and_models_say_who_can_answer(ask: Any) -> None:
    tasks = {item["name"]: item for item in ask.get("/api/tasks", params={"limit": 200}).json()["items"]}
    assert tasks["tiny"]["answering"] == ["dummy-uniform", "tfidf-logreg"]
    assert tasks["tiny"]["labels"] == ["fever", "fracture", "nodule"]
    assert tasks["openi-reports"]["answering"] == []
    assert not tasks["openi-reports"]["records"]
    only = ask.get("/api/tasks", params={"answering": "viewer"}).json()
    assert [item["name"] for item in only["items"]] == ["seen-squares"]
    models = ask.get("/api/models", params={"answers": "tiny"}).json()["items"]
    assert {item["name"]: item["answers"] for item in models} == {
        "dummy-uniform": ["tiny", "tiny-classes"],
        "tfidf-logreg": ["tiny", "tiny-classes"],
    }
    assert {item["framework"] for item in ask.get("/api/models?framework=keras").json()["items"]} == {"keras"}


def test_lists_come_in_parts(ask: Any) -> None:
    whole = ask.get("/api/models", params={"limit": 200}).json()
    assert whole["total"] == len(whole["items"]) > 10
    part = ask.get("/api/models", params={"offset": 3, "limit": 4}).json()
    assert part["items"] == whole["items"][3:7]
    assert part["total"] == whole["total"]
    assert ask.get("/api/models", params={"offset": 10_000}).json()["items"] == []
    assert "less than or equal to 200" in error(ask.get("/api/models?limit=201"), 422, "invalid")
    for address in ("models?family=x", "tasks?x=", "results?modle=tfidf", "predict?task=tiny&text=a&min_prob=0.5"):
        message = error(ask.get(f"/api/{address}"), 422, "invalid")
        assert "Extra inputs are not permitted" in message, "one that is misspelt would list everything"
    head = ask.head("/api/health")
    assert (head.status_code, head.content) == (200, b"")


def test_results_are_the_board(ask: Any, stored_models: Stored) -> None:
    frame = board(results=stored_models.results)
    found = ask.get("/api/results", params={"limit": 200}).json()
    assert found["total"] == len(frame)
    expected = json.loads(frame.to_json(orient="records"))
    for row, wanted in zip(found["items"], expected, strict=True):
        assert set(row) == set(wanted)
        numbers = {name: value for name, value in wanted.items() if isinstance(value, float)}
        assert {name: row[name] for name in numbers} == pytest.approx(numbers)
        assert {n: v for n, v in row.items() if n not in numbers} == {
            n: v for n, v in wanted.items() if n not in numbers
        }
    asked = {"task": "tiny", "model": "tfidf-logreg", "fields": "model,value"}
    (row,) = ask.get("/api/results", params=asked).json()["items"]
    assert list(row) == ["model", "value"]
    assert row["value"] > 0.9
    assert ask.get("/api/results", params={"status": "failed"}).json()["total"] == 0
    assert "no column 'valu'" in error(ask.get("/api/results?fields=valu"), 422, "invalid")


@pytest.mark.parametrize("task", ["tiny", "tiny-classes"])
@pytest.mark.parametrize("calibrated", [False, True])
def test_answers_are_those_of_the_command(ask: Any, stored_models: Stored, task: str, calibrated: bool) -> None:
    given, trust = (TEXTS, None, "text"), Trust(None, calibrated)
    lines, _ = answer(task, "tfidf-logreg", given, stored_models.results, stored_models.plugins, "json", trust)
    found = predicted(ask, task=task, model="tfidf-logreg", texts=TEXTS, calibrated=calibrated)
    assert (found["temperature"] is not None) == calibrated
    assert found["confidence_threshold"] == (0.75 if task == "tiny-classes" else 0)
    for ours, theirs in zip(found["answers"], json.loads(lines), strict=True):
        assert {each["label"]: each["probability"] for each in ours["probabilities"]} == theirs["probabilities"]
        assert [each["label"] for each in ours["probabilities"] if each["chosen"]] == theirs["labels"]
        assert ours["confidence"] == theirs["confidence"]
        assert ours["answer"] == ("uncertain" if theirs["uncertain"] else "labels")
        assert [each["label"] for each in ours["labels"]] == ([] if theirs["uncertain"] else theirs["labels"])
        values = [each["probability"] for each in ours["probabilities"]]
        assert values == sorted(values, reverse=True)
        for each in ours["probabilities"]:
            if task == "tiny":  # a threshold is moved as its probability is
                assert (each["probability"] >= each["threshold"]) == each["chosen"]
            else:
                assert each["threshold"] is None


def test_below_a_confidence_an_answer_is_uncertain(ask: Any) -> None:
    sure = predicted(ask, model="tfidf-logreg", text=TEXT, confidence=0.2)["answers"][0]
    unsure = predicted(ask, model="tfidf-logreg", text=TEXT, confidence=1.0)["answers"][0]
    assert (sure["answer"], unsure["answer"]) == ("labels", "uncertain")
    assert {each["label"] for each in sure["labels"]} == {"fever", "nodule"}
    assert unsure["labels"] == []
    assert unsure["probabilities"] == sure["probabilities"]


def test_without_a_model_the_best_on_validation_answers(ask: Any) -> None:
    assert predicted(ask, text=TEXT)["model"] == "tfidf-logreg"


def test_labels_of_a_text_from_a_probability_on(ask: Any) -> None:
    """System 4's endpoint."""
    asked = {"task": "tiny", "text": TEXT, "min_probability": 0.0}
    every = ask.get("/api/predict", params=asked).json()
    assert every["model"] == "tfidf-logreg"
    assert len(every["labels"]) == 3
    cut = every["labels"][1]["probability"]
    some = ask.get("/api/predict", params={**asked, "min_probability": cut}).json()
    assert some["labels"] == every["labels"][:2], "at the least probability and above, sorted"
    usual = ask.get("/api/predict", params={"task": "tiny", "text": TEXT}).json()
    assert usual["min_probability"] == 0.1
    assert [each["label"] for each in usual["labels"]] == [
        e["label"] for e in every["labels"] if e["probability"] >= 0.1
    ]


def test_words_add_up_to_the_answer(ask: Any) -> None:
    found = predicted(ask, model="tfidf-logreg", text=TEXT, explain=True)
    assert [each["label"] for each in found["influence"]] == [each["label"] for each in found["answers"][0]["labels"]]
    probabilities = {each["label"]: each["probability"] for each in found["answers"][0]["probabilities"]}
    for each in found["influence"]:
        log_odds = each["rest"] + sum(word["added"] for word in each["words"])
        assert 1 / (1 + math.exp(-log_odds)) == pytest.approx(probabilities[each["label"]], abs=1e-6)
        strongest = max(each["words"], key=lambda word: word["added"])
        assert TEXT[strongest["start"] : strongest["end"]] == each["label"]
    other = predicted(ask, model="dummy-uniform", text=TEXT, explain=True)
    assert other["influence"] is None
    assert any("cannot tell" in line for line in other["remarks"])
    assert predicted(ask, text=TEXT)["influence"] is None


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_an_image_is_answered_with_what_stands_beside_it(ask: Any, form: str) -> None:
    young, old = (shown(ask, picture(40, form=form), age=str(age)).json()["answers"][0] for age in (0.1, 0.99))
    assert [each["label"] for each in young["labels"]] == ["bright"]
    assert {each["label"] for each in old["labels"]} == {"bright", "old"}
    assert shown(ask, picture(shade=3), age="0.1").json()["answers"][0]["labels"] == []


def test_where_the_model_looked_lies_over_what_it_saw(ask: Any) -> None:
    found = shown(ask, picture(64, 200), explain="true").json()
    assert found["remarks"] == ["age not known to the model"]
    seen, overlay = (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/png;base64,")))))
        for url in (found["image"], found["heat"][0]["overlay"])
    )
    assert seen.shape == (8, 8)
    assert set(seen.ravel().tolist()) == {200}
    assert overlay.shape == (8, 8, 4)
    assert overlay[:, :4, 3].min() > 100, "it looked at the left half"
    assert overlay[:, 4:, 3].max() == 0
    blind = shown(ask, picture(), model="eyeless", explain="true").json()
    assert blind["heat"] is None
    assert any("eyeless cannot tell" in line for line in blind["remarks"])
    assert shown(ask, picture()).json()["heat"] is None


def test_what_changes_in_the_folder_is_seen(stored_models: Stored, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    shutil.copytree(stored_models.results, folder)
    moved = Stored(folder, stored_models.plugins)
    with client(moved) as ask:
        assert ask.get("/api/results?task=tiny&model=dummy-uniform").json()["total"] == 1
        assert predicted(ask, model="dummy-uniform", text="a")["model"] == "dummy-uniform"
        shutil.rmtree(folder / "cells" / "tiny" / "dummy-uniform")
        assert ask.get("/api/results?task=tiny&model=dummy-uniform").json()["total"] == 0
        gone = ask.post("/api/predict", json={"task": "tiny", "model": "dummy-uniform", "text": "a"})
        assert "known: tfidf-logreg" in error(gone, 404, "unknown_model")
        # A folder that turns unreadable leaves what was known.
        (folder / "cells").rename(folder / "elsewhere")
        assert ask.get("/api/results?task=tiny").json()["total"] == 1
        answered = ask.post("/api/predict", json={"task": "tiny", "model": "tfidf-logreg", "text": "a"})
        error(answered, 409, "cannot_answer")


def test_a_model_that_was_trained_anew_answers_at_once(stored_models: Stored, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    shutil.copytree(stored_models.results, folder)
    with client(Stored(folder, stored_models.plugins)) as ask:
        predicted(ask, model="tfidf-logreg", text="a")
        stored = best_cell("tiny", "tfidf-logreg", folder)
        fresh = stored.record.model_copy(update={"attempt": "0" * 12, "notes": ["another attempt"]})
        stored.attempt.rename(stored.path.parent / fresh.attempt)
        stored.path.write_text(fresh.model_dump_json(indent=1))
        predicted(ask, model="tfidf-logreg", text="a")
        assert len(ask.get("/api/health").json()["loaded"]) == 2


@pytest.mark.parametrize("how", ["damaged", "pickle"])
def test_a_damaged_or_foreign_model_is_not_loaded(stored_models: Stored, tmp_path: Path, how: str) -> None:
    folder = tmp_path / "results"
    shutil.copytree(stored_models.results, folder)
    stored = best_cell("tiny", "tfidf-logreg", folder)
    mine = stored.attempt / "artefact" / "model.skops"
    ran = tmp_path / "ran"
    mine.write_bytes(f"cposix\nsystem\n(S'touch {ran}'\ntR.".encode() if how == "pickle" else mine.read_bytes()[:-9])
    with client(Stored(folder, stored_models.plugins)) as ask:
        refused = ask.post("/api/predict", json={"task": "tiny", "model": "tfidf-logreg", "text": "a"})
        assert str(tmp_path) not in error(refused, 409, "cannot_answer")
        assert ask.get("/api/health").json()["status"] == "ok"
    assert not ran.exists()


def test_results_must_be_there(tmp_path: Path) -> None:
    from zoobench.leaderboard.serve.app import create_app
    from zoobench.leaderboard.serve.settings import Settings

    with pytest.raises(UserError, match="does not exist"):
        create_app(Settings(tmp_path / "none"))
    with pytest.raises(UserError, match=r"holds no site: `zoobench site build"):
        Settings(tmp_path, site=tmp_path)


def test_a_site_is_served_and_nothing_beside_it(stored_models: Stored, tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "assets").mkdir(parents=True)
    (site / "index.html").write_text("<!doctype html><title>the site</title>")
    (site / "assets" / "site.css").write_text("/* of this site */")
    (tmp_path / "secret.html").write_text("secret")
    (site / "link.html").symlink_to(tmp_path / "secret.html")
    with client(stored_models, site=site) as ask:
        home = ask.get("/")
        assert "the site" in home.text
        assert "script-src 'self'" in home.headers["content-security-policy"]
        assert "of this site" in ask.get("/assets/site.css").text
        assert "zoobench" in ask.get("/assets/try.js").text
        for path in ("/link.html", "/%2e%2e/secret.html", "/..%2fsecret.html", "/assets/..%2f..%2fsecret.html"):
            refused = ask.get(path)
            assert refused.status_code == 404
            assert "secret" not in refused.text
    built = build_site(stored_models.results, tmp_path / "built", served=True).out
    with client(stored_models, site=built) as ask:
        for page, linked in (("/index.html", "try.html"), ("/es/index.html", "try.html")):
            assert f'href="{linked}"' in ask.get(page).text
        assert 'href="index.html"' in ask.get("/try.html").text
        assert ask.get("/assets/plotly.min.js").headers["content-type"].startswith("text/javascript")
    with client(stored_models) as ask:
        assert ask.get("/", follow_redirects=False).headers["location"] == "/try.html"


def test_records_with_hostile_names_are_listed_and_obeyed_by_nothing(tmp_path: Path) -> None:
    with client(Stored(fill(tmp_path / "results"), ())) as ask:
        listed = ask.get("/api/results", params={"model": HOSTILE}).json()["items"]
        assert [row["model"] for row in listed] == [HOSTILE]
        for page in ("/try.html", "/es/try.html", "/api/docs"):
            text = ask.get(page).text
            assert HOSTILE not in text
            assert CLOSING not in text
        refused = ask.post("/api/predict", json={"task": "ants", "model": HOSTILE, "text": "a"})
        assert "known: none" in error(refused, 404, "unknown_task")
