"""The first minutes: the one-time link, and an installation without an event.

This file comes first by its name, for tests of events that follow share the installation.
"""

from __future__ import annotations

import pytest
from playwright.sync_api import expect


def test_a_new_installation_shows_three_steps_with_the_first_open(page, owner):
    page.goto("/")
    if page.locator("a.card").count():
        pytest.skip("another test has made an event on this installation already")
    expect(page.get_by_role("heading", level=1)).to_have_text("Three steps to your first event")
    expect(page.locator(".steps > li")).to_have_count(3)
    expect(page.locator(".step.open").get_by_label("Name")).to_be_visible()


def test_the_one_time_link_works_once(open_page, owner, installation, watched):
    watched.expect("the server responded with a status of")
    page = open_page(signed_in=False)
    page.goto(installation.welcome)
    expect(page.get_by_role("heading", level=1)).to_have_text("This link no longer works")
    expect(page.locator("body")).to_contain_text("clairvision owner-link")
