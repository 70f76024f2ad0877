"""A real Chromium against the one real installation, used as its owner would use it.

Every page of every test is watched: an error on its console, a script that throws or a refusal by
the content security policy fails the test, unless the test said that it would come.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect, sync_playwright

from tests.installation import Cli
from tests.origin import Answer, Origin

DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}
OWNER = ("robin", "four unrelated quiet words")

FLAGS = [
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
    "--hide-scrollbars",
]
DRAWS_3D = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = os.path.dirname(__file__)
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="package")
def chromium() -> str:
    """Path of the browser."""
    path = os.environ.get("CHROMIUM") or next((p for p in map(shutil.which, NAMES) if p), None)
    if path:
        return path
    missing = "no Chromium here: install one, or name it in CHROMIUM"
    if os.environ.get("CI") == "true":
        pytest.fail(missing)
    pytest.skip(missing)


# Not for the session: its event loop must not run under the async tests that come later.
@pytest.fixture(scope="package")
def playwright(chromium: str) -> Iterator[Playwright]:
    with sync_playwright() as running:
        expect.set_options(timeout=20_000)
        yield running


@pytest.fixture(scope="package")
def browser(playwright: Playwright, chromium: str) -> Iterator[Browser]:
    launched = playwright.chromium.launch(executable_path=chromium, args=FLAGS + DRAWS_3D)
    yield launched
    launched.close()


@dataclass
class Watched:
    """What went wrong on pages, save for what was announced by a part of its text."""

    said: list[str] = field(default_factory=list)
    announced: list[str] = field(default_factory=list)

    def expect(self, part: str) -> None:
        self.announced.append(part)

    def follow(self, page: Page) -> None:
        page.on("pageerror", lambda error: self.said.append(f"{page.url}: {error}"))
        page.on("console", lambda line: self._line(page, line.type, line.text))

    def _line(self, page: Page, kind: str, text: str) -> None:
        if kind == "error" or "Content Security Policy" in text:
            self.said.append(f"{page.url}: {text}")

    @property
    def unexpected(self) -> list[str]:
        return [line for line in self.said if not any(part in line for part in self.announced)]


@pytest.fixture
def watched() -> Iterator[Watched]:
    watch = Watched()
    yield watch
    assert watch.unexpected == []


def make_context(browser: Browser, installation: Cli, **options: Any) -> BrowserContext:
    options = {"viewport": DESKTOP, "reduced_motion": "reduce", **options}
    context = browser.new_context(base_url=installation.url, **options)
    context.set_default_timeout(20_000)
    return context


@pytest.fixture(scope="package")
def owner(browser: Browser, installation: Cli) -> dict[str, Any]:
    """The cookies of the owner, who was made by the one-time link in a browser."""
    name, password = OWNER
    context = make_context(browser, installation)
    page = context.new_page()
    page.goto(installation.welcome)
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password", exact=True).fill(password)
    page.get_by_label("The same password again").fill(password)
    page.get_by_role("button", name="Make this my server").click()
    page.wait_for_url("**/events")
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def open_page(
    browser: Browser, installation: Cli, owner: dict[str, Any], watched: Watched
) -> Iterator[Callable[..., Page]]:
    """Makes a watched page of a context of its own, signed in unless `signed_in` is False."""
    opened: list[BrowserContext] = []

    def make(signed_in: bool = True, **options: Any) -> Page:
        state = {"storage_state": owner} if signed_in else {}
        context = make_context(browser, installation, **state, **options)
        opened.append(context)
        page = context.new_page()
        watched.follow(page)
        return page

    yield make
    for context in opened:
        context.close()


@pytest.fixture
def page(open_page: Callable[..., Page]) -> Page:
    return open_page()


@dataclass(frozen=True)
class Party:
    """An event that is indexed and laid out; one photo of its list is missing at the origin."""

    slug: str
    photos: int


@pytest.fixture(scope="package")
def photo_origin(photos: dict[str, bytes]) -> Iterator[Origin]:
    """The photos over HTTP: /list.txt names them all, and one that isn't there."""
    answers: dict[str, Any] = {f"/{name}": Answer(data) for name, data in photos.items()}
    answers["/list.txt"] = Answer("\n".join([*photos, "missing.jpg"]).encode())
    with Origin(answers) as running:
        yield running


@pytest.fixture(scope="package")
def party(
    browser: Browser,
    installation: Cli,
    owner: dict[str, Any],
    photo_origin: Origin,
    photos: dict[str, bytes],
) -> Party:
    context = make_context(browser, installation, storage_state=owner)
    page = context.new_page()
    create_event(page, "Garden party", photo_origin.url("/list.txt"))
    pill = page.locator("#ingest-pill")
    pill.get_by_text("Up to date").wait_for(timeout=90_000)
    space = context.request.get("/api/v1/events/garden-party/space")
    while space.status == 404:  # the run is done before its space is
        page.wait_for_timeout(100)
        space = context.request.get("/api/v1/events/garden-party/space")
    assert space.json()["count"] == len(photos)
    context.close()
    return Party("garden-party", len(photos))


def create_event(page: Page, name: str, source: str = "") -> None:
    """By the form on the events page; ends on the event's own page."""
    page.goto("/events")
    folded = page.locator("details.new-event:not([open]) summary")
    if folded.count():
        folded.click()
    page.get_by_label("Name").fill(name)
    page.get_by_label("Where the photos are").fill(source)
    page.get_by_role("button", name="Create the event").click()
    page.wait_for_url(lambda url: url.rstrip("/").count("/") > 3)
