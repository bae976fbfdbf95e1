"""Two real nodes with a page each, and a browser that notes whatever it asks for.

A has published a few voices, one of them with a name and a description that would like to be markup; B has
found them and fetched nothing yet. The voices are the packaged one under several names, so they can be heard.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page, Playwright, sync_playwright

from ..node.nodes import Daemon, publish

MARKUP = "<img src=x onerror=window.ran=1><script>window.ran=1</script>"
"""A name that would like to be markup."""

HOSTILE = (
    f"{MARKUP}\n"
    "[click](javascript:window.ran=1) ![](http://example.invalid/seen.png)\n"
    "<a href='http://example.invalid/'>here</a> {{ 7 * 7 }} ${window.ran=1}</textarea></title>"
)
"""A description that would like to be more than text."""

VOICES: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        "Evening stories",
        {
            "tags": ["english", "male", "storytelling", "warm"],
            "description": "Slow and close, for the hour before sleep.\nRecorded as synthetic speech.",
        },
    ),
    (
        "晨光",
        {
            "tags": ["普通话", "女声", "有声书", "清澈"],
            "description": "清晨的声音，适合读散文。",
            "license": "CC0-1.0",
        },
    ),
    ("阿婆讲古", {"tags": ["粤语", "老年", "讲故事"], "description": "慢慢讲，唔使急。"}),
    ("News at ten", {"tags": ["english", "female", "news", "crisp"], "description": "Short and dry."}),
)
"""Names and terms of A's voices."""

FORK = "Evening stories at sea"
"""A voice that A made from its first one."""

WIDE, PHONE = 1280, 360
"""Widths of a window, in CSS pixels."""

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@dataclass
class World:
    """A, the author, and B, who listens, with the release ids of A's voices by their names."""

    a: Daemon
    b: Daemon
    releases: dict[str, str] = field(default_factory=dict)
    #: Operations by their kind, which A has signed on the first voice.
    said: dict[str, str] = field(default_factory=dict)

    def url(self, node: Daemon, path: str = "") -> str:
        """An address of a node's page, opened if it is not."""
        return str(node.client.open_page()["url"]) + path


def talk(world: World) -> dict[str, str]:
    """Let A say one thing of every kind of its first voice; the operations by their kind."""
    client, release = world.a.client, world.releases[VOICES[0][0]]
    comment = client.act(release, "comment", text="The next version will be a little slower.")["operation"]
    client.act_on(comment, "comment", text="And warmer.")
    issue = client.act(release, "issue", title="“Wednesday” loses its middle", text="On every one.")
    client.act_on(issue["operation"], "label", add=["pronunciation", "english"])
    proposal = client.act(release, "proposal", release=world.releases[FORK], base=release, text="Softer s")
    client.act_on(proposal["operation"], "review", verdict="accept", text="Yes, please.")
    return {"comment": comment, "issue": issue["operation"], "proposal": proposal["operation"]}


def publish_one(node: Daemon, name: str, *, measured: bool = False, **terms: Any) -> str:
    """Publish the packaged voice under a name of its own; the release's id."""
    *_, draft = node.client.import_bundled(name)
    if measured:
        list(node.client.describe({"draft": draft["draft"]}))
    return str(publish(node, draft["draft"], **terms)["release"])


@contextmanager
def made(*, hostile: bool = True) -> Iterator[World]:
    """Two nodes that know each other; both are gone afterwards."""
    nodes = [Daemon(Path(tempfile.mkdtemp(prefix="p2pv-"))) for _ in range(2)]
    try:
        a, b = nodes
        world = World(a.start(), b)
        wanted = [*VOICES, *([(MARKUP, {"tags": ["english"], "description": HOSTILE})] if hostile else [])]
        for name, terms in wanted:
            world.releases[name] = publish_one(a, name, measured=name == VOICES[0][0], **terms)
        *_, draft = a.client.fork(world.releases[VOICES[0][0]], FORK)
        world.releases[FORK] = publish(a, draft["draft"], tags=["english"], description="")["release"]
        world.said = talk(world)
        b.start(a)
        b.meet(a)
        known = [event for event in b.client.find(timeout=10) if event["event"] == "voice"]
        assert len(known) == len(world.releases)
        yield world
    finally:
        for node in nodes:
            if node.process is not None:
                with suppress(ProcessLookupError):
                    node.end()
            shutil.rmtree(node.home, ignore_errors=True)


def find_browser(playwright: Playwright) -> str | None:
    """The system's Chromium, or the one that Playwright has installed."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    own = playwright.chromium.executable_path
    return found or (own if os.path.exists(own) else None)


@contextmanager
def launched() -> Iterator[Browser]:
    """A headless browser; the test is skipped where there is none."""
    with sync_playwright() as playwright:
        path = find_browser(playwright)
        if path is None:
            pytest.skip("no browser to test the page with: apt install chromium")
        # Chromium's own sandbox refuses to be started by root, as CI does.
        options = ["--no-sandbox"] if os.getuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=path, args=options)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Watched:
    """A browser's window whose requests, errors and complaints are kept."""

    context: BrowserContext
    page: Page
    asked: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def check(self, root: str) -> None:
        """Nothing but the page below ``root`` was asked, and no script failed or was stopped."""
        # A sound that a script holds has an address of the page's origin, without a path of the page.
        away = [url for url in self.asked if not url.startswith((root, "blob:" + root.partition("/k/")[0]))]
        assert away == []
        assert self.complaints == []
        with suppress(Error):
            assert self.page.evaluate("window.ran") is None


@contextmanager
def window(
    browser: Browser, *, lang: str = "en-GB", scheme: str = "light", width: int = WIDE, **options: Any
) -> Iterator[Watched]:
    """A window with a cookie jar of its own."""
    context = browser.new_context(
        locale=lang, color_scheme=scheme, viewport={"width": width, "height": 900}, **options
    )
    context.set_default_timeout(15_000)
    seen = Watched(context, context.new_page())
    context.on("request", lambda request: seen.asked.append(request.url))
    context.on("console", lambda message: _complain(seen, message))
    seen.page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    try:
        yield seen
    finally:
        context.close()


def _complain(seen: Watched, message: Any) -> None:
    if message.type in ("error", "warning"):
        seen.complaints.append(message.text)
