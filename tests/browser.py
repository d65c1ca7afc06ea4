"""Chromium for the tests of pages: one browser a file, and pages that tell what went wrong on them."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

WIDE, NARROW = 1280, 360


def chromium() -> str:
    """Return the browser of this machine; the test is skipped where there is none."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    pytest.importorskip("playwright.sync_api", reason="playwright drives the browser: pip install 'zoobench[test]'")
    return found


@contextlib.contextmanager
def browsing() -> Iterator[Browser]:
    """Yield a browser without a window, for as long as the block lasts."""
    path = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Watched:
    """A page, and what it must not have: errors, and requests to anywhere but `home` (a prefix of addresses)."""

    page: Page
    home: str = "file://"
    errors: list[str] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", lambda each: self.errors.append(each.text) if each.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("requestfailed", self._failed)
        self.page.on("request", self._asked)

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.home, "data:", "blob:")):
            self.strays.append(request.url)

    def _failed(self, request: Any) -> None:
        if request.failure != "net::ERR_ABORTED":  # of a page that is left before its icon has come
            self.errors.append(f"failed: {request.url}")

    def open(self, address: str | Path) -> Page:
        """Open a whole address, or what stands at home under a path, and wait until its scripts have run."""
        self.page.goto(f"{self.home}{address}" if str(address).startswith("/") else str(address))
        self.page.wait_for_load_state("load")
        return self.page

    def check(self) -> None:
        """Fail where there was an error or a request that left."""
        assert not self.errors
        assert not self.strays


@contextlib.contextmanager
def watched(browser: Browser, *, width: int = WIDE, theme: str = "light", home: str = "file://") -> Iterator[Watched]:
    """Yield a new page that is checked when the block ends."""
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme="dark" if theme == "dark" else "light"
    )
    page = Watched(context.new_page(), home)
    try:
        yield page
        page.check()
    finally:
        context.close()


def fits(page: Page) -> bool:
    """Return whether the page as a whole does not scroll sideways."""
    return page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def findings(page: Page, *rules: str) -> list[str]:
    """Return what axe-core finds serious or critical by all rules, or by those named: a line each, with its elements."""
    from axe_playwright_python.sync_playwright import Axe

    options: dict[str, Any] = {
        "resultTypes": ["violations"],
        "preload": False,
    }  # it would ask for style sheets, which the pages' policy forbids
    if rules:
        options["runOnly"] = list(rules)
    found = Axe().run(page, options=options).response["violations"]
    return [
        f"{each['id']}: {[node['html'][:160] for node in each['nodes'][:3]]}"
        for each in found
        if each["impact"] in {"serious", "critical"}
    ]
