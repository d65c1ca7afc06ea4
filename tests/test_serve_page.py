"""The Try-it page in a browser, against a real server and stored models: it asks, shows, explains, and loads nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from zoobench.datasets.tasks.biomedical_abstracts import CARD
from zoobench.leaderboard.serve.examples import EXAMPLES, FIELDS, colours_of
from zoobench.leaderboard.serve.pages import words

from .serving import TEXT, Running, Stored, running
from .test_serve import picture

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
drawn = pytest.mark.skipif(BROWSER is None, reason="no chromium on PATH: pages are not drawn")
GRAVE = {"serious", "critical"}


@dataclass
class Watched:
    """A page, what its console said, and what it asked of others."""

    page: Any
    address: str
    said: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)

    def open(self, path: str) -> Any:
        self.page.goto(self.address + path, wait_until="load")
        return self.page

    def ask(self) -> None:
        self.page.locator("#ask").click()
        self.page.locator("#answer").wait_for(state="visible")

    def cards(self) -> list[str]:
        return self.page.locator("#cards strong").all_text_contents()


@pytest.fixture(scope="module")
def server(stored_models: Stored) -> Iterator[Running]:
    with running(stored_models, "--max-text", "500") as made:
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture
def seen(server: Running, browser: Any, request: pytest.FixtureRequest) -> Iterator[Watched]:
    context = browser.new_context(**getattr(request, "param", {}))
    found = Watched(context.new_page(), server.address)
    found.page.on("console", lambda message: message.type in {"error", "warning"} and found.said.append(message.text))
    found.page.on("pageerror", lambda error: found.said.append(str(error)))
    found.page.on(
        "request", lambda asked: asked.url.startswith((server.address, "data:")) or found.outside.append(asked.url)
    )
    yield found
    context.close()
    assert not found.said
    assert not found.outside


def findings(page: Any) -> list[str]:
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [f"{each['id']}: {each['nodes'][0]['html']}" for each in found if each["impact"] in GRAVE]


@drawn
def test_a_text_is_asked_and_explained(seen: Watched) -> None:
    page = seen.open("/try.html#task=tiny&model=tfidf-logreg")
    assert page.locator("#model").input_value() == "tfidf-logreg"
    page.locator("#text").fill(TEXT)
    seen.ask()
    assert set(seen.cards()) == {"fever", "nodule"}
    assert page.locator("#bars tr").count() == 3
    assert page.locator("#bars tr.chosen th").all_text_contents() == seen.cards(), "most probable first"
    assert page.locator("#told").text_content() == TEXT, "every character of the text is there, once"
    label = page.locator("#words-label option").first.text_content()
    assert label in page.locator("mark.for").all_text_contents()
    assert page.locator("#weights tr th").first.text_content() == label
    page.locator("#words-label").select_option(index=1)
    assert page.locator("#weights tr th").first.text_content() == seen.cards()[1]
    assert "tfidf-logreg" in page.locator("#source").text_content()


@drawn
def test_uncertain_answers_and_none(seen: Watched) -> None:
    page = seen.open("/try.html#task=tiny-classes&model=tfidf-logreg")
    page.locator("#text").fill("no change")
    page.locator("details summary").click()
    page.locator("#confidence").fill("1")
    page.locator("#calibrated").check()
    seen.ask()
    assert seen.cards() == ["Uncertain"]
    page.locator("#task").select_option("tiny")
    assert page.locator("#answer").is_hidden(), "what was asked of another task is gone"
    page.locator("#model").select_option("tfidf-logreg")
    page.locator("#confidence").fill("")
    seen.ask()
    assert seen.cards() == ["No label"]


@drawn
def test_an_image_is_asked_and_looked_at(seen: Watched, tmp_path: Path) -> None:
    (tmp_path / "bright.png").write_bytes(picture(64, 250))
    page = seen.open("/try.html#task=seen-squares&model=viewer")
    page.locator("#image").set_input_files(tmp_path / "bright.png")
    page.locator("[data-beside=age]").fill("0.1")
    seen.ask()
    assert seen.cards() == ["bright"]
    assert page.locator("#heat-figure").is_visible()
    for image in ("#seen", "#overlay"):
        assert page.locator(image).evaluate("each => each.complete && each.naturalWidth") == 8
    assert page.locator("#words-figure").is_hidden()


@drawn
def test_what_is_refused_is_said(seen: Watched) -> None:
    page = seen.open("/try.html#task=tiny")
    page.locator("#ask").click()
    assert page.locator("#problem").text_content() == "Write something first."
    assert page.evaluate("document.activeElement.id") == "text"
    page.locator("#text").fill("a" * 501)
    page.locator("#ask").click()
    page.locator("#problem", has_text="501 characters").wait_for()
    assert page.locator("#answer").is_hidden()
    seen.said.clear()  # the browser itself notes that a request was refused


@drawn
def test_a_text_is_never_html(seen: Watched) -> None:
    hostile = '<img src=x onerror="document.title=1"> & fever </script><b>nodule</b>'
    page = seen.open("/try.html#task=tiny&model=tfidf-logreg")
    title = page.title()
    page.locator("#text").fill(hostile)
    seen.ask()
    assert page.locator("#told").text_content() == hostile
    assert page.locator("#told").locator("img, b, script").count() == 0
    assert page.title() == title


@drawn
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


@drawn
@pytest.mark.parametrize(
    "seen",
    [{"viewport": {"width": 1200, "height": 900}}, {"viewport": {"width": 360, "height": 740}, "color_scheme": "dark"}],
    indirect=True,
    ids=["wide", "narrow-dark"],
)
def test_pages_are_accessible_and_fit(seen: Watched) -> None:
    page = seen.open("/try.html#task=tiny&model=tfidf-logreg")
    page.locator("#text").fill(TEXT)
    seen.ask()
    assert not findings(page)
    for path in ("", "/api/docs", "/es/api/docs"):
        if path:
            seen.open(path)
            assert not findings(page)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


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
