"""The Try-it page in a browser, against a real server and stored models: it asks, shows, explains, and loads nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from zoobench.datasets.tasks.biomedical_abstracts import CARD
from zoobench.leaderboard.serve.examples import EXAMPLES, FIELDS, colours_of
from zoobench.leaderboard.serve.pages import words

from .browser import NARROW, WIDE, Watched, findings, fits, watched
from .serving import TEXT, Running, Stored, running
from .test_serve import picture

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="module")
def server(stored_models: Stored) -> Iterator[Running]:
    with running(stored_models, "--max-text", "500") as made:
        yield made


@pytest.fixture
def seen(browser: Browser, server: Running, request: pytest.FixtureRequest) -> Iterator[Watched]:
    with watched(browser, home=server.address, **getattr(request, "param", {})) as found:
        yield found


def ask(page: Page) -> None:
    page.locator("#ask").click()
    page.locator("#answer").wait_for(state="visible")


def cards(page: Page) -> list[str]:
    return page.locator("#cards strong").all_text_contents()


def test_a_text_is_asked_and_explained(seen: Watched) -> None:
    page = seen.open("/try.html#task=tiny&model=tfidf-logreg")
    assert page.locator("#model").input_value() == "tfidf-logreg"
    page.locator("#text").fill(TEXT)
    ask(page)
    assert set(cards(page)) == {"fever", "nodule"}
    assert page.locator("#bars tr").count() == 3
    assert page.locator("#bars tr.chosen th").all_text_contents() == cards(page), "most probable first"
    assert page.locator("#told").text_content() == TEXT, "every character of the text is there, once"
    label = page.locator("#words-label option").first.text_content()
    assert label in page.locator("mark.for").all_text_contents()
    assert page.locator("#weights tr th").first.text_content() == label
    page.locator("#words-label").select_option(index=1)
    assert page.locator("#weights tr th").first.text_content() == cards(page)[1]
    assert "tfidf-logreg" in page.locator("#source").text_content()


def test_uncertain_answers_and_none(seen: Watched) -> None:
    page = seen.open("/try.html#task=tiny-classes&model=tfidf-logreg")
    page.locator("#text").fill("no change")
    page.locator("details summary").click()
    page.locator("#confidence").fill("1")
    page.locator("#calibrated").check()
    ask(page)
    assert cards(page) == ["Uncertain"]
    page.locator("#task").select_option("tiny")
    assert page.locator("#answer").is_hidden(), "what was asked of another task is gone"
    page.locator("#model").select_option("tfidf-logreg")
    page.locator("#confidence").fill("")
    ask(page)
    assert cards(page) == ["No label"]


def test_an_image_is_asked_and_looked_at(seen: Watched, tmp_path: Path) -> None:
    (tmp_path / "bright.png").write_bytes(picture(64, 250))
    page = seen.open("/try.html#task=seen-squares&model=viewer")
    page.locator("#image").set_input_files(tmp_path / "bright.png")
    page.locator("[data-beside=age]").fill("0.1")
    ask(page)
    assert cards(page) == ["bright"]
    assert page.locator("#heat-figure").is_visible()
    for image in ("#seen", "#overlay"):
        assert page.locator(image).evaluate("each => each.complete && each.naturalWidth") == 8
    assert page.locator("#words-figure").is_hidden()


def test_what_is_refused_is_said(seen: Watched) -> None:
    page = seen.open("/try.html#task=constructor")
    assert page.locator("#task").input_value() == "seen-squares", "the first: what every object has is no task"
    page = seen.open("/try.html#task=tiny")
    page.locator("#ask").click()
    assert page.locator("#problem").text_content() == "Write something first."
    assert page.evaluate("document.activeElement.id") == "text"
    page.locator("#text").fill("a" * 501)
    page.locator("#ask").click()
    page.locator("#problem", has_text="501 characters").wait_for()
    assert page.locator("#answer").is_hidden()
    seen.errors.clear()  # the browser itself notes that a request was refused


def test_a_text_is_never_html(seen: Watched) -> None:
    hostile = '<img src=x onerror="document.title=1"> & fever </script><b>nodule</b>'
    page = seen.open("/try.html#task=tiny&model=tfidf-logreg")
    title = page.title()
    page.locator("#text").fill(hostile)
    ask(page)
    assert page.locator("#told").text_content() == hostile
    assert page.locator("#told").locator("img, b, script").count() == 0
    assert page.title() == title


def test_by_keyboard_alone_in_spanish(seen: Watched) -> None:
    page = seen.open("/es/try.html#task=tiny&model=tfidf-logreg")
    page.locator("#model").focus()
    page.keyboard.press("Tab")
    page.keyboard.type(TEXT)
    for _ in range(2):
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "ask"
    page.keyboard.press("Enter")
    page.locator("#answer").wait_for(state="visible")
    assert page.evaluate("document.activeElement.id") == "answer"
    assert page.locator("#answer-heading").text_content() == "Respuesta"
    english = page.locator("a[hreflang=en][data-keeps-state]")
    assert english.get_attribute("href").endswith("#task=tiny&model=tfidf-logreg")
    english.click()
    page.wait_for_url("**/try.html#task=tiny&model=tfidf-logreg")
    assert page.locator("html").get_attribute("lang") == "en"


@pytest.mark.parametrize(
    "seen",
    [{"width": WIDE}, {"width": NARROW, "theme": "dark"}],
    indirect=True,
    ids=["wide", "narrow-dark"],
)
def test_pages_are_accessible_and_fit(seen: Watched) -> None:
    page = seen.open("/try.html#task=tiny&model=tfidf-logreg")
    page.locator("#text").fill(TEXT)
    ask(page)
    assert not findings(page)
    for path in ("", "/api/docs", "/es/api/docs"):
        if path:
            seen.open(path)
            assert not findings(page)
        assert fits(page)


def test_words_are_the_same_in_both_languages() -> None:
    english, spanish = words("en").texts, words("es").texts
    assert set(english) == set(spanish)
    for name, text in english.items():
        other = spanish[name]
        assert isinstance(text, str) == isinstance(other, str), name


def test_each_task_has_its_form_and_colours() -> None:
    assert colours_of(CARD) == {
        "cardiovascular": "#3B82F6", "hepatorenal": "#10B981", "neurological": "#8B5CF6", "oncological": "#EF4444"
    }  # fmt: skip
    for name, texts in EXAMPLES.items():
        assert len(texts) == len(FIELDS.get(name, ("text",)))
