"""What holds for every page: both sizes, both themes, the keyboard, an accessible tree."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import DESKTOP, PHONE

AXE = Path(__file__).parents[2] / "frontend/node_modules/axe-core/axe.min.js"

PAGES = {
    "events": "/events",
    "photos": "/events/{slug}",
    "results": "/events/{slug}?q=flower",
    "photo": "photo",
    "scenes": "/events/{slug}/scenes",
    "duplicates": "/events/{slug}/duplicates?open=0",
    "space": "/events/{slug}/space",
    "sources": "/events/{slug}/sources",
    "failures": "failures",
    "search": "/search?q=a%20cat",
    "search-empty": "/search",
    "operations": "/operations",
    "settings": "/settings",
    "missing": "/events/nowhere",
    "login": "/login",
    "used-link": "/welcome/used",
}
ANONYMOUS = {"login", "used-link"}
FAILING = {"missing", "used-link"}


def visit(name, open_page, party, watched, **options):
    """The page of this name, with what it fetches on its screen."""
    if name in FAILING:
        watched.expect("the server responded with a status of")
    page = open_page(signed_in=name not in ANONYMOUS, **options)
    address = PAGES[name].format(slug=party.slug)
    if name == "photo":
        items = page.request.get(f"/api/v1/events/{party.slug}/photos").json()["items"]
        address = items[1]["href"]
    if name == "failures":
        runs = page.request.get(f"/api/v1/events/{party.slug}/runs").json()["items"]
        address = f"/events/{party.slug}/runs/{runs[-1]['id']}/failures"
    page.goto(address)
    ready = {
        "photos": "#gallery img.shown",
        "results": "#gallery img.shown",
        "photo": "#preview.shown",
        "search": "#search-results .tile",
    }
    if name in ready:
        expect(page.locator(ready[name]).first).to_be_visible()
    if name == "space":
        expect(page.locator("#space-status")).to_contain_text(f"{party.photos} photos")
    if page.locator("#ingest-pill").count():
        expect(page.locator("#ingest-pill")).to_have_attribute("data-state", "done")
    return page


class Axe:
    """Runs axe-core by the debugger, which the content security policy doesn't bind."""

    def __init__(self, page) -> None:
        self._session = page.context.new_cdp_session(page)
        self._evaluate(AXE.read_text())

    def findings(self, *rules: str) -> list[str]:
        """Serious and critical ones, each with the elements at fault; of all rules or these."""
        options = {"resultTypes": ["violations"], **({"runOnly": rules} if rules else {})}
        run = f"axe.run({json.dumps(options)}).then(found => JSON.stringify(found.violations))"
        violations = json.loads(self._evaluate(run))
        return [
            f"{found['id']} ({found['impact']}): {[node['html'][:160] for node in found['nodes']]}"
            for found in violations
            if found["impact"] in {"serious", "critical"}
        ]

    def _evaluate(self, expression: str):
        answer = self._session.send(
            "Runtime.evaluate",
            {"expression": expression, "awaitPromise": True, "returnByValue": True},
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")


@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_serious_at_both_sizes_in_both_themes(name, open_page, party, watched):
    page = visit(name, open_page, party, watched)
    axe = Axe(page)
    found = {}
    for viewport in (DESKTOP, PHONE):
        page.set_viewport_size(viewport)
        for theme, rules in (("dark", ()), ("light", ("color-contrast",))):  # a theme is colours
            page.locator("html").evaluate("(html, theme) => { html.dataset.theme = theme }", theme)
            found[viewport["width"], theme] = axe.findings(*rules)
    assert not any(found.values()), found


@pytest.mark.parametrize("name", PAGES)
def test_a_phone_scrolls_no_page_sideways_and_has_targets_for_fingers(
    name, open_page, party, watched
):
    page = visit(name, open_page, party, watched, viewport=PHONE, has_touch=True, is_mobile=True)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= PHONE["width"]
    small = """() => [...document.querySelectorAll("a, button, summary, select, input")]
      .filter(node => node.checkVisibility() && node.offsetParent && !node.closest("p, table, label"))
      .map(node => [node.getBoundingClientRect(), node])
      .filter(([box]) => box.width > 1 && (box.height < 43.5 || box.width < 43.5))
      .map(([box, node]) => `${node.outerHTML.slice(0, 120)} ${box.width} x ${box.height}`)"""
    assert page.evaluate(small) == []


def test_the_main_pages_by_keyboard_alone(page, party):
    page.goto("/events")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.keyboard.press("Tab")  # "New event" unfolds
    page.keyboard.press("Enter")
    expect(page.get_by_label("Name")).to_be_visible()
    card = page.locator(f"a.card[href='/events/{party.slug}']")
    tab_to(page, card)
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/events/{party.slug}")
    expect(page.locator("#gallery img.shown").first).to_be_visible()
    tab_to(page, page.locator("#gallery a").first)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    focused = page.locator("#gallery a:focus")
    expect(focused).to_have_count(1)
    address = focused.get_attribute("href")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{address}")
    page.keyboard.press("Escape")
    page.wait_for_url(f"**/events/{party.slug}")
    page.keyboard.press("Control+k")
    page.keyboard.type("settings")
    page.keyboard.press("Enter")
    page.wait_for_url("**/settings")
    page.keyboard.press("?")
    keys = page.get_by_role("dialog", name="Keys")
    expect(keys).to_be_visible()
    page.keyboard.press("Escape")
    expect(keys).to_be_hidden()


def tab_to(page, target):
    for _ in range(40):
        if target.evaluate("node => node === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab never reaches {target}")
