"""Takes the pictures in specs/page, with real nodes: `python -m tests.page.screenshots [FOLDER]`."""

import sys
from pathlib import Path

from playwright.sync_api import Browser, Page

from .world import FORK, PHONE, VOICES, World, launched, made, window

HERE = Path(__file__).parent.parent.parent / "specs" / "page"

EVENING, MORNING = VOICES[0][0], VOICES[1][0]


def picture(page: Page, path: Path) -> None:
    """Take one picture, of what a window shows."""
    page.screenshot(path=path, animations="disabled")
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


def talk(world: World) -> str:
    """Let both say something of a voice; the issue's operation."""
    release = world.releases[EVENING]
    a, b = world.a.client, world.b.client
    list(b.fetch(release))
    for one in (a, b):
        one.act(release, "star")
    b.act(release, "comment", text="The breath before the last sentence is very human.")
    said = a.act(release, "comment", text="The next version will be a little slower.")["operation"]
    a.act_on(said, "comment", text="And warmer.")
    issue = str(a.act(release, "issue", title="“Wednesday” loses its middle", text="On every one.")["operation"])
    a.act_on(issue, "label", add=["pronunciation", "english"])
    a.act(release, "proposal", release=world.releases[FORK], base=release, text="Softer s sounds")
    return issue


def take(browser: Browser, world: World, folder: Path) -> None:
    """Take all of them."""
    issue = talk(world)
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
        page.locator(".hero input").evaluate("one => { one.value = 420; one.dispatchEvent(new Event('input')) }")
        picture(page, folder / "voice-zh-dark.png")
    with window(browser, lang="zh-CN", width=PHONE) as seen:
        page = seen.page
        page.goto(world.url(world.b))
        page.wait_for_selector("text=已询问其他节点")
        picture(page, folder / "browse-zh-phone.png")
        page.goto(world.url(world.a, f"said/{issue}"))
        picture(page, folder / "issue-zh-phone.png")


def main() -> None:
    """The pictures of specs/page."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    folder.mkdir(exist_ok=True)
    with made(hostile=False) as world, launched() as browser:
        take(browser, world, folder)


if __name__ == "__main__":
    main()
