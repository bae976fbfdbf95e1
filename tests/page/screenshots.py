"""Takes the pictures in specs/page, with real nodes: `python -m tests.page.screenshots [FOLDER]`."""

import sys
from pathlib import Path

from playwright.sync_api import Browser, Locator, Page

from . import screenshots_making as making
from .world import PHONE, VOICES, World, launched, made, window

HERE = Path(__file__).parent.parent.parent / "specs" / "page"

EVENING, MORNING = VOICES[0][0], VOICES[1][0]


def picture(page: Page | Locator, path: Path, *, whole: bool = False) -> None:
    """Take one picture, of a page or of a part of it."""
    if isinstance(page, Page):
        page.screenshot(path=path, full_page=whole, animations="disabled")
    else:
        page.screenshot(path=path, animations="disabled")
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


def talk(world: World) -> None:
    """Let B say something of the voice that A has spoken of already."""
    release = world.releases[EVENING]
    list(world.b.client.fetch(release))
    for client in (world.a.client, world.b.client):
        client.act(release, "star")
    world.b.client.act(release, "comment", text="The breath before the last sentence is very human.")


def take(browser: Browser, world: World, folder: Path) -> None:
    """Take all of them."""
    talk(world)
    with window(browser) as seen:
        page = seen.page
        page.goto(world.url(world.b))
        for card in page.locator("article.card .player").all():
            card.locator(".play").click()
            card.and_(page.locator("[data-state=playing]")).wait_for()
        page.reload()
        page.wait_for_selector("text=Other nodes were asked")
        picture(page, folder / "browse-en-light.png")
        page.goto(world.url(world.a, f"voice/{world.releases[EVENING]}"))
        page.locator("details.others summary").first.click()
        page.evaluate("document.getElementById('about').scrollIntoView()")
        picture(page, folder / "talk-en-light.png")
        page.evaluate("document.getElementById('lineage').scrollIntoView()")
        picture(page, folder / "lineage-en-light.png")
    with window(browser, lang="zh-CN", scheme="dark") as seen:
        page = seen.page
        page.goto(world.url(world.b, f"voice/{world.releases[MORNING]}"))
        page.locator(".play").click()
        page.locator(".hero [data-state=playing], .hero[data-state=playing]").wait_for()
        page.locator(".play").click()
        middle = "one => { one.value = 420; one.dispatchEvent(new Event('input')) }"
        page.locator(".hero input").evaluate(middle)
        picture(page, folder / "voice-zh-dark.png")
    with window(browser, lang="zh-CN", width=PHONE) as seen:
        page = seen.page
        page.goto(world.url(world.b))
        page.wait_for_selector("text=已询问其他节点")
        picture(page, folder / "browse-zh-phone.png")
        page.goto(world.url(world.a, f"said/{world.said['issue']}"))
        picture(page, folder / "issue-zh-phone.png")


def main() -> None:
    """The pictures of specs/page."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    folder.mkdir(exist_ok=True)
    with made(hostile=False) as world, launched() as browser:
        take(browser, world, folder)
        making.take(browser, world, folder, picture)


if __name__ == "__main__":
    main()
