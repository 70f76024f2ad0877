"""The Sources tab as its owner uses it: a folder is added, paused, resumed, cancelled, and what can't
be read is dealt with."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import PHONE, create_event
from tests.origin import Answer, Origin

# A person decides within it, while the photos are on their way.
SLOW = 12


@pytest.fixture
def folder(tmp_path, photos):
    """Three photos and two files that are none, in a folder that the server can read."""
    for name in list(photos)[:3]:
        (tmp_path / name).write_bytes(photos[name])
    (tmp_path / "notes.jpg").write_bytes(b"no picture at all")
    (tmp_path / "empty.jpg").write_bytes(b"")
    return tmp_path


def to_sources(page, name):
    create_event(page, name)
    page.get_by_role("link", name="Sources").click()
    return page.locator("#ingest")


def test_a_folder_is_added_and_its_failures_are_retried_and_ignored(page, folder, photos):
    live = to_sources(page, "A folder of mine")
    expect(live).to_contain_text("No source yet")
    page.get_by_label("Where the photos are").fill(str(folder))
    expect(page.locator("[data-sentence]")).to_contain_text("All photos in the folder")
    page.get_by_role("button", name="Start the ingest").click()
    card = page.locator("details.source")
    expect(card).to_contain_text("2 need attention", timeout=60_000)
    expect(card.locator(".counters")).to_contain_text("Embedded3")
    expect(card).to_contain_text("Upload it there again, then retry.")
    expect(page.locator("#ingest-pill")).to_contain_text("2 failed")

    # One by one: unfold the list, mend the file, retry it by keyboard.
    empty = card.locator(".failure", has_text="empty.jpg")
    empty.get_by_text("Show it").click()
    row = empty.locator(".failed-photo")
    expect(row).to_contain_text("empty.jpg")
    (folder / "empty.jpg").write_bytes(photos[list(photos)[3]])
    row.get_by_role("button", name="Retry empty.jpg").press("Enter")
    expect(card).to_contain_text("1 needs attention", timeout=60_000)
    expect(card.locator(".counters")).to_contain_text("Embedded4")

    # All of one reason.
    card.get_by_role("button", name="Ignore this one").click()
    expect(card.locator(".source-state")).to_contain_text("Well")
    expect(card).to_contain_text("1 ignored")
    page.reload()
    expect(card).to_contain_text("1 ignored")
    expect(card.locator(".failures")).to_have_count(0)

    # A rescan finds what is new and what is gone.
    (folder / next(iter(photos))).unlink()
    (folder / "new.jpg").write_bytes(photos[list(photos)[4]])
    card.get_by_role("button", name="Rescan now").click()
    expect(card).to_contain_text("1 gone", timeout=60_000)
    expect(card).to_contain_text("1 photo of the gallery is no longer listed there.")
    card.get_by_text("Clear 1 vanished…").click()
    card.get_by_role("button", name="Delete 1 photo").click()
    expect(page.get_by_role("status")).to_contain_text("The vanished photos are deleted.")
    expect(page.locator("[data-photo-count]")).to_have_text("4 photos")


def test_a_run_is_paused_seen_so_after_a_reload_resumed_and_cancelled(page, photos):
    names = list(photos)[:3]
    answers = {f"/{name}": Answer(photos[name], delay=SLOW) for name in names}
    answers["/list.txt"] = Answer("\n".join(names).encode(), delay=SLOW)
    with Origin(answers) as origin:
        to_sources(page, "A slow one")
        page.get_by_label("Where the photos are").fill(origin.url("/list.txt"))
        page.get_by_role("button", name="Start the ingest").click()
        card = page.locator("details.source")
        pill = page.locator("#ingest-pill")
        expect(card.locator(".source-state")).to_contain_text("Working")
        card.get_by_role("button", name="Pause").press("Enter")
        resume = card.get_by_role("button", name="Resume")
        expect(resume).to_be_focused()  # the same button, with its new name
        expect(pill).to_have_attribute("data-state", "paused")
        expect(pill).to_contain_text("Paused")

        page.reload()
        expect(card.locator(".source-state")).to_contain_text("Paused")
        expect(pill).to_have_attribute("data-state", "paused")

        # What is typed or unfolded stays while the figures change around it.
        card.get_by_text("Re-point…").click()
        card.get_by_label("They begin with now").fill("https://elsewhere.example")
        resume.click()
        expect(card.get_by_role("button", name="Pause")).to_be_visible()
        expect(pill).to_have_attribute("data-state", "working")
        expect(card.get_by_label("They begin with now")).to_have_value("https://elsewhere.example")

        card.get_by_text("Cancel…").click()
        expect(card).to_contain_text("What is embedded stays.")
        card.get_by_role("button", name="Cancel this run").click()
        expect(card).to_contain_text("The last run was cancelled")
        expect(pill).to_contain_text("The last ingest was cancelled")
        expect(card.get_by_role("button", name="Rescan now")).to_be_visible()


def test_the_fields_of_a_kind_appear_while_the_address_is_typed(page):
    to_sources(page, "A bucket of mine")
    address = page.get_by_label("Where the photos are")
    address.fill("s3://archive/wedding")
    expect(page.get_by_label("Region")).to_be_visible()
    secret = page.get_by_label("Secret access key")
    expect(secret).to_have_attribute("type", "password")
    page.get_by_label("Region").fill("eu-west-1")
    address.press("End")
    page.keyboard.type("-2026")
    expect(page.locator("[data-sentence]")).to_contain_text("wedding-2026")
    expect(page.get_by_label("Region")).to_have_value("eu-west-1")
    page.get_by_label("Kind").select_option("webdav")
    expect(page.get_by_label("User name")).to_be_visible()
    expect(page.get_by_label("Region")).to_have_count(0)


def test_without_scripts_everything_can_be_done(open_page, folder):
    page = open_page(java_script_enabled=False, viewport=PHONE)
    create_event(page, "Without scripts")
    page.get_by_role("link", name="Sources").click()
    page.get_by_label("Where the photos are").fill("s3://archive/wedding")
    page.get_by_role("button", name="Options and credentials…").click()
    expect(page.get_by_label("Region")).to_be_visible()
    expect(page.get_by_label("Where the photos are")).to_have_value("s3://archive/wedding")
    page.get_by_label("Where the photos are").fill(str(folder))
    page.get_by_role("button", name="Start the ingest").click()
    card = page.locator("details.source")
    for _ in range(60):  # a reader without scripts reloads
        if card.get_by_text("The last run finished").count():
            break
        page.wait_for_timeout(500)
        page.reload()
    card.get_by_text("Show it").first.click()
    card.get_by_role("link", name="Open the list").first.click()
    expect(page.locator(".failed-photo")).to_have_count(1)
    page.get_by_role("button", name=re.compile("^Ignore")).click()
    expect(page.locator("main")).to_contain_text("Nothing is left here.")
    page.get_by_role("link", name="Back to the sources").click()
    expect(card).to_contain_text("1 ignored")
    card.get_by_label("and by itself").select_option("86400")
    card.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status").first).to_contain_text("The schedule is saved.")
    expect(card).to_contain_text("Next scan")


def test_while_the_server_is_away_the_page_says_since_when(page, party, watched):
    watched.expect("ERR_INTERNET_DISCONNECTED")
    watched.expect("WebSocket connection")
    watched.expect("htmx:error")
    page.goto(f"/events/{party.slug}/sources")
    expect(page.locator("#ingest-pill")).to_have_attribute("data-state", "done")
    page.context.set_offline(True)
    expect(page.locator("#offline")).to_be_visible()
    page.evaluate("document.body.dispatchEvent(new CustomEvent('runs-changed'))")
    stale = page.locator("#stale")
    expect(stale).to_contain_text("does not answer")
    expect(page.locator(".toast")).to_have_count(0)
    expect(page.locator("details.source")).to_contain_text("The last run finished")
    page.context.set_offline(False)
    page.evaluate("document.body.dispatchEvent(new CustomEvent('runs-changed'))")
    expect(stale).to_be_hidden()
