"""What the owner does with an event, from its making to signing out."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.conftest import OWNER, create_event
from tests.origin import Answer, Origin


def test_photos_appear_while_the_ingest_runs(page, photos):
    names = list(photos)[:6]
    answers = {f"/{name}": Answer(photos[name]) for name in names}
    answers["/list.txt"] = Answer("\n".join(names).encode())
    with Origin(answers, delay=0.6) as origin:
        create_event(page, "Slow origin", origin.url("/list.txt"))
        pill = page.locator("#ingest-pill")
        expect(pill).to_have_attribute("data-state", "working")
        expect(page.locator("#ingest-pill progress")).to_be_visible()
        expect(pill).to_contain_text("6 found")
        expect(page.locator("#gallery img.shown")).to_have_count(6, timeout=60_000)
        expect(pill).to_contain_text("Last run: 6 photos embedded", timeout=60_000)
    expect(page.locator("[data-photo-count]")).to_have_text("6 photos")
    expect(page.locator(".toast")).to_contain_text("The ingest is done: 6 photos embedded.")


def test_the_events_page_shows_the_event_with_four_different_photos(page, party):
    page.goto("/events")
    card = page.locator("a.card", has_text="Garden party")
    expect(card).to_contain_text(f"{party.photos} photos")
    covers = card.locator("img")
    expect(covers).to_have_count(4)
    assert len({covers.nth(n).get_attribute("src") for n in range(4)}) == 4


def test_search_answers_while_typing_and_a_result_opens(page, party):
    page.goto(f"/events/{party.slug}")
    expect(page.locator("#gallery img.shown").first).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("a cup of coffee")
    expect(page.locator("#gallery-status")).to_contain_text("best first")
    expect(page.locator("#gallery a").first).to_have_attribute("title", re.compile("coffee"))
    expect(page).to_have_url(re.compile(r"\?q=a\+cup\+of\+coffee|\?q=a%20cup%20of%20coffee"))
    page.keyboard.press("ArrowDown")
    expect(page.locator("#gallery a").first).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url("**/photos/*")
    expect(page.locator("h1")).to_contain_text("coffee")
    page.keyboard.press("Escape")
    expect(page.locator("#event-search")).to_be_visible()


def test_search_over_all_events(page, party):
    page.goto("/search")
    page.get_by_role("searchbox").fill("a rocket launch")
    results = page.locator("#search-results section", has_text="Garden party")
    expect(results.locator(".tile a").first).to_have_attribute("title", re.compile("rocket"))
    expect(page).to_have_url(re.compile("q=a"))


def test_a_photo_shows_its_preview_facts_and_similar_ones(page, party):
    page.goto(f"/events/{party.slug}")
    page.locator("#gallery a").first.click()
    expect(page.locator("#preview.shown")).to_be_visible()
    first = page.url
    facts = page.get_by_label("About this photo")
    expect(facts).to_contain_text("JPEG")
    expect(facts).to_contain_text("http://127.0.0.1")
    similar = page.locator(".similar .tile")
    expect(similar.first).to_be_visible()
    assert similar.count() >= 5
    expect(page.locator("#photo-previous")).to_have_count(0)
    page.keyboard.press("ArrowRight")
    page.wait_for_url(lambda url: url != first)
    expect(page.locator("#preview.shown")).to_be_visible()
    page.keyboard.press("ArrowLeft")
    page.wait_for_url(first)
    page.keyboard.press("Escape")
    page.wait_for_url(f"**/events/{party.slug}")


def test_a_failure_says_why_and_its_retry_works(page, photos):
    names = list(photos)[6:8]
    answers = {"/here.jpg": Answer(photos[names[0]])}
    answers["/list.txt"] = Answer(b"here.jpg\nlater.jpg\n")
    with Origin(answers) as origin:
        create_event(page, "Half there", origin.url("/list.txt"))
        pill = page.locator("#ingest-pill")
        pill.get_by_role("link", name="1 failed").click(timeout=60_000)
        page.wait_for_url("**/sources#failures")
        failure = page.locator(".failure")
        expect(failure).to_contain_text("1 photo can't be read")
        expect(failure).to_contain_text("Correct the address, or remove the entry.")
        expect(failure).to_contain_text(origin.url("/later.jpg"))
        origin.answers["/later.jpg"] = Answer(photos[names[1]])
        failure.get_by_role("button", name="Retry this one").click()
        expect(failure).to_have_count(0)
        counters = page.locator(".run .counters")
        expect(counters).to_contain_text("Embedded2", timeout=60_000)
        expect(counters).to_contain_text("Failed0")


def test_a_source_that_cannot_be_is_refused_at_the_form(page, party, watched):
    watched.expect("status of 422")
    page.goto(f"/events/{party.slug}/sources")
    page.get_by_text("Add a source").click()
    field = page.get_by_label("Where the photos are")
    field.fill("ftp://somewhere/photos")
    expect(page.locator("[data-sentence]")).to_contain_text("are not supported")
    page.get_by_role("button", name="Start the ingest").click()
    expect(page.get_by_role("alert")).to_be_visible()
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_have_value("ftp://somewhere/photos")


def test_faces_are_found_by_consent_only_and_deleted_when_it_ends(page, photos):
    answers = {"/astronaut.jpg": Answer(photos["astronaut.jpg"])}
    answers["/list.txt"] = Answer(b"astronaut.jpg\n")
    with Origin(answers) as origin:
        create_event(page, "With consent")
        page.get_by_role("link", name="Sources").click()
        faces = page.get_by_role("region", name="Faces")
        expect(faces).to_contain_text("No face is looked for")
        faces.get_by_label("Purpose").fill("Guests find their own photos")
        faces.get_by_label("Policy").fill("All were told at the door")
        faces.get_by_label("Delete face vectors after (days)").fill("30")
        faces.get_by_role("button", name="Turn faces on for this event").click()
        expect(faces).to_contain_text("Guests find their own photos")
        expect(faces).to_contain_text("30 days")
        expect(faces).to_contain_text(OWNER[0])
        page.get_by_label("Where the photos are").fill(origin.url("/list.txt"))
        page.get_by_role("button", name="Start the ingest").click()
        expect(page.locator(".source .badge.good")).to_be_visible(timeout=60_000)
    page.reload()
    expect(page.locator(".event-title")).to_contain_text("1 face")
    page.get_by_role("button", name="Turn off and delete 1 face").click()
    expect(faces).to_contain_text("No face is looked for")
    expect(page.locator(".event-title")).not_to_contain_text("face")


def test_a_token_is_shown_once_opens_the_api_and_can_be_revoked(page, party, open_page):
    page.goto("/settings")
    page.get_by_label("Name", exact=True).fill("Backup script")
    page.get_by_role("button", name="Make a token").click()
    token = page.locator("#new-token").inner_text()
    outside = open_page(signed_in=False).context.request
    header = {"Authorization": f"Bearer {token}"}
    assert outside.get(f"/api/v1/events/{party.slug}", headers=header).json()["photos"] > 0
    page.goto("/settings")
    expect(page.locator("body")).not_to_contain_text(token)
    page.get_by_role("button", name="Revoke Backup script").click()
    expect(page.get_by_role("status")).to_contain_text("no longer works")
    assert outside.get(f"/api/v1/events/{party.slug}", headers=header).status == 401


def test_the_chosen_theme_is_kept(page):
    page.goto("/settings")
    page.get_by_label("Light").check()
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    page.get_by_role("button", name="Save the theme").click()
    page.goto("/events")
    expect(page.locator("html")).to_have_attribute("data-theme", "light")


def test_signing_out_closes_every_page_and_a_wrong_password_says_so(open_page, party, watched):
    watched.expect("the server responded with a status of")
    name, password = OWNER
    page = open_page(signed_in=False)
    page.goto(f"/events/{party.slug}")
    expect(page).to_have_url(re.compile("/login"))
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill("not this one")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.get_by_label("Name")).to_have_value(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(re.compile(f"/events/{party.slug}$"))
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(re.compile("/login"))
    for address in (
        "/events",
        f"/events/{party.slug}/space",
        "/search",
        "/operations",
        "/settings",
    ):
        page.goto(address)
        expect(page).to_have_url(re.compile("/login"))
