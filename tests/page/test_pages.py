"""The page in a browser, with two real nodes behind it: what a person does, from finding to fetching."""

import re
from typing import Literal

from playwright.sync_api import Browser, Page, expect

from .world import FORK, HOSTILE, MARKUP, VOICES, World, publish_one, window

EVENING = VOICES[0][0]

LISTEN = """() => {
  for (const [name, place] of [["lines", "[data-line]"], ["said", "#said"]]) {
    const element = document.querySelector(place);
    window[name] = [];
    new MutationObserver(() => window[name].push(element.textContent)).observe(element, { childList: true });
  }
}"""
"""Keeps whatever is shown, and whatever is said to a screen reader."""

STEPS = 60
"""Presses of Tab within which everything on a page is reached."""


def tab_to(page: Page, role: Literal["button", "link"], name: str) -> None:
    """Press Tab until something has the focus."""
    wanted = page.get_by_role(role, name=name, exact=True)
    for _ in range(STEPS):
        page.keyboard.press("Tab")
        if wanted.evaluate("one => one === document.activeElement"):
            return
    raise AssertionError(f"{name} is not reached by Tab")


def test_what_another_node_publishes_joins_the_list_and_is_heard(browser: Browser, world: World) -> None:
    name = "Fresh from A"
    release = publish_one(world.a, name, tags=["japanese"])
    with window(browser) as seen:
        page = seen.page
        page.goto(world.url(world.b))
        card = page.locator(f"article.card[data-release='{release}']")
        expect(card).to_be_visible()
        expect(page.locator("[data-find-note]")).to_have_text("Other nodes were asked: 1 more voice.")
        # Its outline is not known before it was heard: it is fetched, drawn and played.
        flat = card.locator(".wave path").first.get_attribute("d")
        card.get_by_role("button", name=f"Play the preview of {name}").click()
        expect(card.locator(".player")).to_have_attribute("data-state", "playing")
        assert card.locator(".wave path").first.get_attribute("d") != flat
        position = card.get_by_role("slider", name=f"Position in the preview of {name}")
        expect(position).to_have_attribute("aria-valuetext", re.compile(r"0:0\d of 0:0\d"))
        # A second one that plays silences the first.
        page.locator("article.card .play").nth(0).click()
        expect(card.locator(".player")).to_have_attribute("data-state", "paused")
        seen.check(world.url(world.b))
    # What is drawn in the page is what the script drew.
    with window(browser) as seen:
        seen.page.goto(world.url(world.b, f"voice/{release}"))
        assert seen.page.locator("[data-draw]").count() == 0


def test_voices_are_narrowed_by_facets_and_words(browser: Browser, world: World) -> None:
    with window(browser, lang="zh-CN") as seen:
        page = seen.page
        page.goto(world.url(world.b))
        page.get_by_text("语言", exact=True).click()
        page.get_by_role("link", name="粤语", exact=True).click()
        expect(page.locator("article.card h3")).to_have_text(["阿婆讲古"])
        page.get_by_role("link", name="移除条件：粤语").click()
        page.get_by_role("searchbox").fill("晨")
        page.keyboard.press("Enter")
        expect(page.locator("article.card h3")).to_have_text(["晨光"])
        page.get_by_text("情绪", exact=True).click()
        page.get_by_role("link", name="愤怒").click()
        expect(page.get_by_text("暂时没有符合条件的声音。")).to_be_visible()
        assert "text=" in page.url
        seen.check(world.url(world.b))


def test_a_voice_is_heard_and_fetched_and_removed_by_keyboard(browser: Browser, world: World) -> None:
    assert not any(row["installed"] for row in world.b.client.voices())
    list(world.b.client.gc())
    with window(browser) as seen:
        page = seen.page
        page.goto(world.url(world.b, f"voice/{world.releases[EVENING]}"))
        expect(page.get_by_role("heading", level=1)).to_have_text(EVENING)
        tab_to(page, "button", f"Play the preview of {EVENING}")
        page.keyboard.press("Enter")
        expect(page.locator(".hero .player")).to_have_attribute("data-state", "playing")
        # The next step is the position, once it is there to be reached: the arrows move it.
        position = page.get_by_role("slider", name=re.compile("Position"))
        expect(position).to_have_attribute("aria-valuetext", re.compile(r"0:0\d of 0:0[1-9]"))
        page.keyboard.press("Tab")
        expect(position).to_be_focused()
        page.keyboard.press("End")
        tab_to(page, "button", "Get this voice")
        page.evaluate(LISTEN)
        page.keyboard.press("Enter")
        expect(page.locator(".ready")).to_be_visible(timeout=60_000)
        shown, said = page.evaluate("[window.lines, window.said]")
        progress = re.compile(r"[\d.]+ [kM]B of 21\.6 MB, [\d.]+ [kM]?B/s from 1 node")
        assert any(progress.fullmatch(one) for one in shown)
        assert "100 percent" in said
        expect(page.locator("#said")).to_have_text("Done. The voice is ready.")
        assert any(row["name"] == EVENING for row in world.b.client.voices())
        # What was pressed is gone; where it was is where the next step begins.
        expect(page.locator("#actions-title")).to_be_focused()
        tab_to(page, "button", "Remove from this machine")
        page.keyboard.press("Enter")
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_be_hidden()
        page.keyboard.press("Enter")
        tab_to(page, "button", "Remove")
        page.keyboard.press("Enter")
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
        # What a stranger calls a preview is a sound and nothing else.
        answer = seen.context.request.get(world.url(world.b, f"v1/voices/{world.releases[MARKUP]}/preview"))
        assert answer.headers["content-type"] == "audio/wav"
        assert answer.headers["x-content-type-options"] == "nosniff"
        seen.check(world.url(world.b))


def test_a_fetch_is_cancelled_and_an_error_is_told(browser: Browser, world: World) -> None:
    with window(browser) as seen:
        page = seen.page
        page.goto(world.url(world.b, f"voice/{world.releases[VOICES[3][0]]}"))
        # The answer is held back until it is cancelled: a fetch on loopback would be over first.
        page.route("**/fetch", lambda route: None)
        page.get_by_role("button", name="Get this voice").click()
        expect(page.get_by_role("progressbar")).to_be_visible()
        expect(page.get_by_role("button", name="Cancel")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("#said")).to_have_text("Cancelled. What has arrived is kept for next time.")
        expect(page.get_by_role("button", name="Get this voice")).to_be_focused()
        seen.check(world.url(world.b))


def test_an_author_is_followed_under_a_name_of_ones_own(browser: Browser, world: World) -> None:
    author = world.a.client.status()["author"]
    with window(browser) as seen:
        page = seen.page
        page.goto(world.url(world.b, f"voice/{world.releases[EVENING]}"))
        expect(page.get_by_text("Anybody can use any name.")).to_be_visible()
        page.get_by_role("link", name=re.compile("z6Mk")).first.click()
        page.wait_for_selector("[data-alive] .follow")
        page.get_by_label("Your own name for this author").fill("Grandfather <b>")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("Grandfather <b>")
        assert [row["name"] for row in world.b.client.following()["following"]] == ["Grandfather <b>"]
        expect(page.get_by_role("button", name="Unfollow")).to_be_focused()
        page.goto(world.url(world.b))
        expect(page.locator(".petname").first).to_have_text("Grandfather <b>")
        page.goto(world.url(world.b, f"author/{author}"))
        page.get_by_role("button", name="Unfollow").click()
        expect(page.get_by_label("Your own name for this author")).to_be_visible()
        assert world.b.client.following()["following"] == []
        seen.check(world.url(world.b))


def test_who_has_a_voice_is_asked_for(browser: Browser, world: World) -> None:
    with window(browser) as seen:
        seen.page.goto(world.url(world.b, f"voice/{world.releases[EVENING]}"))
        seen.page.get_by_role("button", name="Ask the network").click()
        expect(seen.page.locator("[data-answer]")).to_have_text("1 other node offers it.")
        seen.page.goto(world.url(world.a, f"voice/{world.releases[EVENING]}"))
        seen.page.get_by_role("button", name="Ask the network").click()
        expect(seen.page.locator("[data-answer]")).to_contain_text("You have it too.")


def test_relatives_are_drawn_and_lead_to_each_other(browser: Browser, world: World) -> None:
    with window(browser, lang="zh-CN") as seen:
        page = seen.page
        page.goto(world.url(world.b, f"voice/{world.releases[FORK]}"))
        picture = page.locator("svg.lineage")
        expect(picture.locator("title").first).to_have_text(f"{FORK} 的谱系")
        expect(picture.locator(".lineage-kinds")).to_have_text("分支自")
        picture.locator(f"a[href*='{world.releases[EVENING]}']").click()
        expect(page.get_by_role("heading", level=1)).to_have_text(EVENING)
        page.locator("#lineage li").get_by_role("link", name=FORK).click()
        expect(page.get_by_role("heading", level=1)).to_have_text(FORK)
        seen.check(world.url(world.b))


def test_a_voice_that_was_called_back_says_so(browser: Browser, world: World) -> None:
    release = publish_one(world.a, "Not any more", tags=["german"])
    list(world.a.client.revoke(release, reason="A mistake <b>"))
    with window(browser) as seen:
        page = seen.page
        answer = page.goto(world.url(world.a, f"voice/{release}"))
        assert answer is not None
        assert answer.status == 410
        expect(page.get_by_role("heading", level=1)).to_have_text("This voice was called back.")
        expect(page.get_by_text("A mistake <b>")).to_be_visible()
        answer = page.goto(world.url(world.a, "voice/nobody-knows-this"))
        assert answer is not None
        assert answer.status == 404
        expect(page.get_by_role("heading", level=1)).to_have_text("Not found")
