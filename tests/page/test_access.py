"""Every page for everybody: axe-core finds nothing, in both languages, light and dark, and on a phone."""

from itertools import pairwise
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, Page, expect

from p2pvoice.node.page.words import CODES, LANGUAGES
from p2pvoice.node.page.words_en import WORDS as ENGLISH
from p2pvoice.node.page.words_zh import WORDS as CHINESE

from .world import FORK, MARKUP, PHONE, VOICES, WIDE, World, window

LOCALES = {"en": "en-GB", "zh": "zh-CN"}

OPTIONS: dict[str, Any] = {
    "resultTypes": ["violations"],
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
}

COLOURS: dict[str, Any] = {
    "resultTypes": ["violations"],
    "runOnly": {"type": "rule", "values": ["color-contrast"]},
}


def pages(world: World) -> dict[str, str]:
    """What is looked at, by what it shows; B's page, unless it is an address of A's."""
    release = world.releases[VOICES[1][0]]
    author = world.a.client.status()["author"]
    return {
        "browse": world.url(world.b),
        "browse, filtered": world.url(world.b, "?tag=yue&tag=storytelling&text=%E8%AE%B2"),
        "browse, nothing found": world.url(world.b, "?text=nobodyiscalledthis"),
        "a voice": world.url(world.b, f"voice/{release}"),
        "a voice of one's own": world.url(world.a, f"voice/{release}"),
        "a hostile voice": world.url(world.b, f"voice/{world.releases[MARKUP]}"),
        "an author": world.url(world.b, f"author/{author}"),
        "a fork": world.url(world.b, f"voice/{world.releases[FORK]}"),
        "a voice that is talked of": world.url(world.a, f"voice/{world.releases[VOICES[0][0]]}"),
        "an issue": world.url(world.a, f"said/{world.said['issue']}"),
        "a proposal": world.url(world.a, f"said/{world.said['proposal']}"),
        "training": world.url(world.a, "train"),
        "a draft": world.url(world.a, "draft/evening-stories"),
        "one's own node": world.url(world.a, "node"),
        "an error": world.url(world.b, "nowhere"),
    }


def opened(page: Page) -> None:
    """Open whatever can be opened, so that it is looked at, too."""
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")


def found_in(page: Page, options: dict[str, Any] = OPTIONS) -> list[str]:
    """What axe-core finds, with the elements where it does."""
    # It is read once a page: half a megabyte of script.
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    response = page.evaluate("options => axe.run(document, options)", options)
    return [
        f"{one['id']}: {node['html'][:200]} {node.get('failureSummary', '')[:300]}"
        for one in response["violations"]
        for node in one["nodes"]
    ]


def clean(page: Page) -> list[str]:
    """What axe-core finds on a page as it stands, in light and in dark: the same page in other colours."""
    found = found_in(page)
    page.emulate_media(color_scheme="dark")
    found += found_in(page, COLOURS)
    page.emulate_media(color_scheme="light")
    return found


@pytest.mark.parametrize("lang", list(LANGUAGES))
def test_nothing_stands_in_anyones_way(browser: Browser, world: World, lang: str) -> None:
    with window(browser, lang=LOCALES[lang]) as seen:
        page = seen.page
        for what, url in pages(world).items():
            page.goto(url)
            expect(page.locator("html")).to_have_attribute("lang", CODES[lang])
            opened(page)
            assert clean(page) == [], what
            for width in (PHONE, WIDE):
                page.set_viewport_size({"width": width, "height": 900})
                assert page.evaluate("document.scrollingElement.scrollWidth") <= width, what


def test_what_stands_in_the_way_is_found(browser: Browser, world: World) -> None:
    with window(browser) as seen:
        seen.page.goto(world.url(world.b))
        seen.page.evaluate("document.documentElement.removeAttribute('lang')")
        seen.page.evaluate("document.querySelector('.lead').style.color = '#ddd'")
        assert {line.partition(":")[0] for line in found_in(seen.page)} >= {"html-has-lang", "color-contrast"}


def test_headings_are_in_order_and_the_content_is_one_step_away(browser: Browser, world: World) -> None:
    with window(browser) as seen:
        for what, url in pages(world).items():
            seen.page.goto(url)
            levels = seen.page.evaluate(
                "[...document.querySelectorAll('h1,h2,h3,h4')].map(one => Number(one.tagName[1]))"
            )
            assert levels[0] == 1, what
            assert levels.count(1) == 1, what
            assert all(after - before <= 1 for before, after in pairwise(levels)), what
            seen.page.keyboard.press("Tab")
            seen.page.keyboard.press("Enter")
            assert seen.page.evaluate("document.activeElement.id") == "content", what


def test_the_reader_chooses_language_and_colours(browser: Browser, world: World) -> None:
    with window(browser, lang="zh-CN") as seen:
        page = seen.page
        page.goto(world.url(world.b, "?tag=yue"))
        expect(page.get_by_role("heading", level=1)).to_have_text(CHINESE["browse.title"])
        page.get_by_role("link", name="English").click()
        expect(page.get_by_role("heading", level=1)).to_have_text(ENGLISH["browse.title"])
        assert page.url.endswith("?tag=language%2Fyue") or page.url.endswith("?tag=yue")
        ground = "getComputedStyle(document.documentElement).backgroundColor"
        light = page.evaluate(ground)
        page.get_by_role("link", name="Dark").click()
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        assert page.evaluate(ground) != light
        # The choice holds on the next page.
        page.locator("article h3 a").first.click()
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        expect(page.locator("html")).to_have_attribute("lang", "en")


def test_the_page_is_read_without_scripts(browser: Browser, world: World) -> None:
    with window(browser, java_script_enabled=False) as seen:
        page = seen.page
        page.goto(world.url(world.b, "?tag=yue"))
        expect(page.locator("article.card")).to_have_count(1)
        expect(page.locator("article.card audio")).to_be_visible()
        expect(page.locator(".play")).to_be_hidden()
        page.locator("article h3 a").click()
        expect(page.get_by_role("heading", level=1)).to_have_text(VOICES[2][0])
        expect(page.get_by_text("CC-BY-4.0")).to_be_visible()
