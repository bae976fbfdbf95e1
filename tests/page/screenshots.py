"""Takes the pictures in specs/page, with real nodes: `python -m tests.page.screenshots [FOLDER]`."""

import sys
from pathlib import Path

from playwright.sync_api import Browser, Locator, Page

from . import screenshots_making as making
from .world import PHONE, VOICES, World, launched, made, window

HERE = Path(__file__).parent.parent.parent / "specs" / "page"


def picture(page: Page | Locator, path: Path, *, whole: bool = False) -> None:
    """Take one picture, of a page or of a part of it."""
    if isinstance(page, Page):
        page.screenshot(path=path, full_page=whole, animations="disabled")
    else:
        page.screenshot(path=path, animations="disabled")
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


def take(browser: Browser, world: World, folder: Path) -> None:
    """Take all of them."""
    with window(browser) as seen:
        page = seen.page
        page.goto(world.url(world.b))
        for button in page.locator("article.card .play").all():
            button.click()
            page.wait_for_timeout(700)
        page.reload()
        page.wait_for_selector("text=Other nodes were asked")
        picture(page, folder / "browse-en-light.png")
    with window(browser, lang="zh-CN", scheme="dark") as seen:
        page = seen.page
        page.goto(world.url(world.b, f"voice/{world.releases[VOICES[1][0]]}"))
        page.locator(".play").click()
        page.wait_for_timeout(1200)
        picture(page, folder / "voice-zh-dark.png", whole=True)
    with window(browser, lang="zh-CN", width=PHONE) as seen:
        seen.page.goto(world.url(world.b))
        seen.page.wait_for_selector("text=已询问其他节点")
        picture(seen.page, folder / "browse-zh-phone.png")


def main() -> None:
    """The pictures of specs/page."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    with made(hostile=False) as world, launched() as browser:
        take(browser, world, folder)
        making.take(browser, world, folder, picture)


if __name__ == "__main__":
    main()
