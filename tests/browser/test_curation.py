"""Duplicates by keys, stacks in the gallery, scenes renamed: as an owner does it."""

from __future__ import annotations

import io
import re

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.browser.conftest import create_event, make_context
from tests.origin import Answer, Origin

SLUG = "copies"


def smaller(data: bytes) -> bytes:
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    buffer = io.BytesIO()
    picture.resize((picture.width * 2 // 3, picture.height * 2 // 3)).save(
        buffer, "JPEG", quality=80
    )
    return buffer.getvalue()


@pytest.fixture(scope="module")
def copies(browser, installation, owner, photos):
    """Six photos, two of which are there twice, one of them smaller."""
    names = [name for name in photos if name.endswith(".jpg")][:6]
    files = {name: photos[name] for name in names}
    files |= {f"small-{name}": smaller(photos[name]) for name in names[:2]}
    answers = {f"/{name}": Answer(data) for name, data in files.items()}
    answers["/list.txt"] = Answer("\n".join(files).encode())
    with Origin(answers) as origin:
        context = make_context(browser, installation, storage_state=owner)
        page = context.new_page()
        create_event(page, "Copies", origin.url("/list.txt"))
        stages = {"none"}
        while stages != {"done"}:
            page.wait_for_timeout(200)
            found = context.request.get(f"/api/v1/events/{SLUG}/stages").json()["items"]
            stages = {stage["state"] for stage in found}
            assert "failed" not in stages, found
        context.close()
        yield names


@pytest.fixture
def page(open_page, copies):
    opened = open_page()
    yield opened
    while opened.request.post(  # every test begins undecided
        f"/api/v1/events/{SLUG}/undo", data={}, headers=token(opened)
    ).json()["batch"]:
        pass


def token(page) -> dict[str, str]:
    page.goto(f"/events/{SLUG}/sources")
    csrf = page.locator('meta[name="csrf-token"]').get_attribute("content")
    return {"X-CSRF-Token": csrf, "Content-Type": "application/json"}


def flags(page) -> list[int]:
    groups = page.request.get(f"/api/v1/events/{SLUG}/groups?kind=exact&open=0").json()["items"]
    return [member["flag"] for group in groups for member in group["members"]]


def test_groups_are_decided_by_keys_and_undone(page):
    page.goto(f"/events/{SLUG}/duplicates")
    rows = page.locator(".group-row:not(.decided)")
    expect(rows).to_have_count(2)
    expect(rows.first.locator(".frame-card.best")).to_contain_text("Best")
    page.keyboard.press("ArrowDown")
    expect(rows.first.locator("a").first).to_be_focused()
    page.keyboard.press("k")
    expect(page.locator(".group-row.decided")).to_contain_text("1 kept, 1 rejected.")
    expect(rows).to_have_count(1)
    expect(rows.first.locator("a").first).to_be_focused()
    assert sorted(flags(page)) == [-1, 0, 0, 0]
    page.keyboard.press("a")
    expect(page.get_by_role("heading", name="All groups are decided")).to_be_visible()
    page.keyboard.press("Control+z")
    expect(rows).to_have_count(1)
    page.keyboard.press("Control+z")
    expect(rows).to_have_count(2)
    assert flags(page) == [0, 0, 0, 0]
    page.keyboard.press("Control+Shift+Z")
    expect(rows).to_have_count(1)


def test_a_line_that_was_decided_has_its_own_undo(page):
    page.goto(f"/events/{SLUG}/duplicates")
    page.get_by_role("button", name=re.compile("Keep the best")).first.click()
    decided = page.locator(".group-row.decided")
    expect(decided).to_have_count(1)
    decided.get_by_role("button", name="Undo").click()
    expect(page.locator(".group-row:not(.decided)")).to_have_count(2)


def test_another_frame_is_made_the_best(page):
    page.goto(f"/events/{SLUG}/duplicates")
    row = page.locator(".group-row").first
    other = row.locator(".frame-card:not(.best)").get_attribute("data-frame")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("b")
    expect(row.locator(".frame-card.best")).to_have_attribute("data-frame", other)
    expect(row.locator(".frame-card.best")).to_contain_text("Chosen by you")


def test_the_slider_says_what_it_would_make_and_groups_anew(page):
    page.goto(f"/events/{SLUG}/duplicates")
    said = page.locator("#sensitivity-said")
    expect(said).to_contain_text("2 sets of exact copies")
    slider = page.locator("#sensitivity-value")
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(said).to_contain_text("grouped anew")
    expect(slider).to_have_value("55")
    expect(said).to_contain_text("2 sets of exact copies")
    expect(page.locator(".group-row")).to_have_count(2)


def test_stacks_open_and_close_in_the_gallery(page, copies):
    page.goto(f"/events/{SLUG}")
    expect(page.locator("#gallery img.shown")).to_have_count(6)
    expect(page.locator("#gallery-status")).to_have_text("6 shown of 8 photos")
    expect(page.locator("[data-photo-count]")).to_have_text("8 photos")
    expect(page.locator(".stack-badge")).to_have_count(2)
    page.locator("#gallery a", has=page.locator(".stack-badge")).first.focus()
    page.keyboard.press("g")
    expect(page.locator("#gallery a.unfolded")).to_have_count(1)
    expect(page.locator("#gallery img.shown")).to_have_count(7)
    page.keyboard.press("g")
    expect(page.locator("#gallery img.shown")).to_have_count(6)
    page.locator("#fold").select_option("none")
    expect(page.locator("#gallery img.shown")).to_have_count(8)
    expect(page).to_have_url(re.compile("fold=none"))


def test_a_scene_is_renamed_and_shows_its_photos(page):
    page.goto(f"/events/{SLUG}/scenes")
    card = page.locator(".scene-card").first
    card.get_by_text("Rename").click()
    card.get_by_role("textbox").fill("What there is")
    card.get_by_role("button", name="Save").click()
    expect(page.locator(".scene-card").first).to_contain_text("What there is")
    page.get_by_role("link", name="What there is", exact=True).first.click()
    expect(page.locator(".chip")).to_contain_text("What there is")
    expect(page.locator("#gallery img.shown").first).to_be_visible()
    expect(page.locator("[data-photo-count]")).to_have_text("8 photos")
    page.locator(".chip").click()
    expect(page.locator("#fold")).to_be_visible()
