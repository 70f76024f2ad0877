"""The space, on WebGL2 in software, and without WebGL2."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import FLAGS, PHONE, make_context

# Ids and places of all points, from which the user's pointer can be steered.
POINTS = """async slug => {
  const items = (await (await fetch(`/api/v1/events/${slug}/photos?limit=1000`)).json()).items;
  return items.map(({ id }) => ({ id, ...window.__scene.project(id) }));
}"""

AT_REST = "window.__scene?.stats.points > 0 && !window.__scene.info().pending"


@pytest.fixture
def space(page, party, eventually):
    page.goto(f"/events/{party.slug}/space")
    expect(page.locator("#space-status")).to_contain_text(f"{party.photos} photos")
    eventually(lambda: page.evaluate(AT_REST))
    return page


def free_area(page):
    """(left, top, right, bottom) of the canvas that nothing covers, in its own pixels."""
    canvas = page.locator("#space-canvas").bounding_box()
    bar = page.locator(".space-bar").bounding_box()
    status = page.locator("#space-status").bounding_box()
    top = status["y"] + status["height"] - canvas["y"]
    return 0, top, canvas["width"], bar["y"] - canvas["y"]


def test_every_photo_is_a_point_in_the_free_part_of_the_view(space, party):
    assert space.evaluate("window.__scene.stats.points") == party.photos
    left, top, right, bottom = free_area(space)
    points = space.evaluate(POINTS, party.slug)
    assert len(points) == party.photos
    for point in points:
        assert left < point["x"] < right, point
        assert top < point["y"] < bottom, point


def test_the_phone_shows_every_point_too(open_page, party, eventually):
    page = open_page(viewport=PHONE)
    page.goto(f"/events/{party.slug}/space")
    eventually(lambda: page.evaluate(AT_REST))
    left, top, right, bottom = free_area(page)
    for point in page.evaluate(POINTS, party.slug):
        assert left < point["x"] < right, point
        assert top < point["y"] < bottom, point


def test_the_points_are_drawn(space):
    drawn = """() => {
      const { data } = window.__scene.readPixels();
      const seen = new Set();
      for (let at = 0; at < data.length; at += 4)
        seen.add(data[at] << 16 | data[at + 1] << 8 | data[at + 2]);
      return seen.size;
    }"""
    assert space.evaluate(drawn) > 20


def front_point(page, party):
    """A point that the pointer meets where it stands, in pixels of the page."""
    canvas = page.locator("#space-canvas").bounding_box()
    for point in page.evaluate(POINTS, party.slug):
        at = [point["x"], point["y"]]
        if page.evaluate("([x, y]) => window.__scene.pick(x, y)", at) == point["id"]:
            return point["id"], at[0] + canvas["x"], at[1] + canvas["y"]
    raise AssertionError("no point can be picked")


def test_hovering_shows_the_photo_and_a_click_opens_it(space, party):
    photo, x, y = front_point(space, party)
    space.mouse.move(x, y)
    card = space.locator("#space-card")
    expect(card).to_be_visible()
    expect(card).to_have_attribute("href", re.compile(f"/photos/{photo}$"))
    expect(card.locator("img")).to_have_js_property("complete", True)
    space.mouse.click(x, y)
    space.wait_for_url(f"**/photos/{photo}")
    expect(space.locator("#preview.shown")).to_be_visible()


def test_keys_turn_visit_neighbours_open_and_go_home(space, eventually):
    camera = "JSON.stringify(window.__scene.info().camera)"
    home = space.evaluate(camera)
    space.locator("#space-canvas").focus()
    space.keyboard.press("ArrowLeft")
    space.keyboard.press("+")
    eventually(lambda: space.evaluate(camera) != home)
    space.keyboard.press("h")
    eventually(lambda: space.evaluate(camera) == home)
    space.keyboard.press("n")
    expect(space.locator("#space-card")).to_be_visible()
    first = space.locator("#space-card").get_attribute("href")
    space.keyboard.press("n")
    expect(space.locator("#space-card")).not_to_have_attribute("href", first)
    second = space.locator("#space-card").get_attribute("href")
    space.keyboard.press("o")
    space.wait_for_url(f"**{second}")


def test_the_nearest_photos_are_a_list_of_links(space):
    space.get_by_role("button", name="Nearest photos").press("Enter")
    links = space.locator("#space-list a")
    expect(links).to_have_count(12)
    expect(links.first.locator("span")).not_to_be_empty()
    links.first.press("Enter")
    space.wait_for_url(re.compile(r"/photos/\d+$"))


def test_without_webgl2_the_page_leads_to_the_grid(
    playwright, chromium, installation, owner, party
):
    browser = playwright.chromium.launch(
        executable_path=chromium, args=[*FLAGS, "--disable-3d-apis"]
    )
    page = make_context(browser, installation, storage_state=owner).new_page()
    page.goto(f"/events/{party.slug}/space")
    expect(page.get_by_role("heading", name="This browser can't draw in 3D")).to_be_visible()
    page.get_by_role("link", name="Show the photos as a grid").click()
    expect(page.locator("#gallery img.shown").first).to_be_visible()
    browser.close()
