"""The pictures of speaking, training, publishing and one's own node; screenshots.py calls this."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, Page

from ..node.conftest import make_clip, make_encoder
from .test_training import begin, finished, made_recordings, made_trainer
from .world import PHONE, VOICES, World, window

SENTENCE = "The evening train was late again, so we walked home along the river."

Picture = Callable[..., None]


def take(browser: Browser, world: World, folder: Path, picture: Picture) -> None:
    """Take all of them."""
    release = world.releases[VOICES[0][0]]
    with window(browser, scheme="dark") as seen:
        speak(seen.page, world.url(world.a, f"voice/{release}"), SENTENCE)
        picture(seen.page.locator("#speak"), folder / "speak-en-dark.png")
    with window(browser, lang="zh-CN", width=PHONE) as seen:
        seen.page.goto(world.url(world.a, "draft/evening-stories"))
        seen.page.get_by_role("radio", name="他人的声音").check()
        seen.page.locator("#licence").select_option("CC-BY-SA-4.0")
        seen.page.evaluate("document.querySelectorAll('#publish details').forEach(one => one.open = false)")
        picture(seen.page.locator("#publish"), folder / "publish-zh-phone.png")
    with window(browser, lang="zh-CN") as seen:
        seen.page.goto(world.url(world.a, "node"))
        picture(seen.page, folder / "node-zh-light.png")
    scratch = Path(tempfile.mkdtemp())
    try:
        (scratch / "encoder").mkdir()
        (scratch / "recordings").mkdir()
        recordings = made_recordings(scratch / "recordings")
        with made_trainer(make_encoder(scratch / "encoder"), make_clip(scratch / "clip.wav")) as one:
            url = one.client.open_page()["url"] + "train"
            with window(browser) as seen:
                seen.page.goto(url)
                begin(seen.page, recordings, "Evening", "0.3")
                finished(seen.page)
                picture(seen.page.locator("#running"), folder / "training-en-light.png")
            with window(browser, lang="zh-CN", scheme="dark") as seen:
                seen.page.goto(url)
                seen.page.locator("#clips").set_input_files(recordings)
                picture(seen.page, folder / "train-zh-dark.png")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def speak(page: Page, url: str, text: str) -> None:
    """Let a voice speak, and wait until half of it was heard."""
    page.goto(url)
    page.get_by_label("What to say").fill(text)
    page.get_by_label("What to say").press("Control+Enter")
    page.locator(".spoken .player[data-state=playing]").wait_for(timeout=60_000)
    page.wait_for_timeout(1500)
