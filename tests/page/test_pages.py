"""The page in a browser, with two real nodes behind it: what a person does, from finding to fetching."""

import pytest
from playwright.sync_api import Browser, expect

from .world import HOSTILE, MARKUP, VOICES, World, window

EVENING = VOICES[0][0]


@pytest.fixture(scope="module", autouse=True)
def _asked_once(world: World) -> None:
    """B has heard of A's voices, as after its first search."""
    assert [event for event in world.b.client.find(timeout=8) if event["event"] == "voice"]


def test_what_other_nodes_have_joins_the_list(browser: Browser, world: World) -> None:
    with window(browser) as seen:
        seen.page.goto(world.url(world.b))
        cards = seen.page.locator("article.card")
        expect(cards).to_have_count(len(world.releases))
        expect(seen.page.locator("[data-find-note]")).to_contain_text("Other nodes were asked")
        seen.check(world.url(world.b))


def test_a_voice_is_heard_and_fetched_and_removed_by_keyboard(browser: Browser, world: World) -> None:
    with window(browser) as seen:
        page = seen.page
        page.goto(world.url(world.b, f"voice/{world.releases[EVENING]}"))
        expect(page.get_by_role("heading", level=1)).to_have_text(EVENING)
        play = page.get_by_role("button", name=f"Play the preview of {EVENING}")
        play.focus()
        page.keyboard.press("Enter")
        expect(page.locator(".hero .player")).to_have_attribute("data-state", "playing")
        page.get_by_role("button", name="Get this voice").focus()
        page.keyboard.press("Enter")
        expect(page.locator(".ready")).to_be_visible(timeout=60_000)
        expect(page.locator("#said")).to_have_text("Done. The voice is ready.")
        assert any(row["name"] == EVENING for row in world.b.client.voices())
        page.get_by_role("button", name="Remove from this machine").press("Enter")
        page.get_by_role("button", name="Remove", exact=True).press("Enter")
        expect(page.get_by_role("button", name="Get this voice")).to_be_visible()
        assert not any(row["name"] == EVENING for row in world.b.client.voices())
        seen.check(world.url(world.b))


def test_markup_of_a_stranger_is_text(browser: Browser, world: World) -> None:
    with window(browser) as seen:
        for path in ("", f"voice/{world.releases[MARKUP]}"):
            seen.page.goto(world.url(world.b, path))
            seen.page.wait_for_load_state("networkidle")
            shown = seen.page.locator("main").inner_text()
            assert MARKUP in shown
            assert "49" not in shown.replace(world.releases[MARKUP], "")
        assert seen.page.locator(".prose").first.inner_text().splitlines() == HOSTILE.splitlines()
        assert seen.page.locator("main a[href^='http'], main a[href^='javascript'], main img").count() == 0
        seen.check(world.url(world.b))
