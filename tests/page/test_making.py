"""Speaking, publishing and one's own node in a browser, with real daemons and the packaged voice."""

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from p2pvoice.protocol.label import read_label

from .test_access import clean
from .world import VOICES, World, window

EVENING, MORNING = VOICES[0][0], VOICES[1][0]
SENTENCE = "The evening train was late again."


def spoken(page: Page, length: float = 0.5) -> None:
    """Wait until the page's player holds a sound of at least so many seconds."""
    position = page.get_by_role("slider", name="Position in what was said")
    expect(position).to_have_attribute("aria-valuetext", re.compile(r"\d+:\d\d of \d+:\d\d"), timeout=60_000)
    lengths = page.evaluate(LENGTHS)
    assert lengths
    assert min(lengths) > length


LENGTHS = "window.sounds.map(one => one.duration)"
"""Seconds of every sound that a script has made."""

WATCH = """
window.sounds = [];
window.Audio = new Proxy(window.Audio, {construct(kind, given) {
  const sound = new kind(...given);
  window.sounds.push(sound);
  return sound;
}});
"""
"""Keeps the sounds that scripts make, which stand in no document."""


def test_a_voice_speaks_by_keyboard_and_is_saved(browser: Browser, world: World) -> None:
    release = world.releases[EVENING]
    with window(browser, accept_downloads=True) as seen:
        page = seen.page
        page.add_init_script(WATCH)
        page.goto(world.url(world.a, f"voice/{release}"))
        page.get_by_label("What to say").focus()
        page.keyboard.type(SENTENCE)
        expect(page.locator("#speak-count")).to_have_text(f"{len(SENTENCE)} of 20,000 characters")
        page.get_by_label("Speed").press("ArrowRight")
        expect(page.get_by_label("Speed")).to_have_attribute("aria-valuetext", "1.05×")
        page.get_by_text("More", exact=True).press("Enter")
        page.get_by_label("Seed").fill("7")
        with page.expect_request("**/v1/speak") as asked:
            page.get_by_label("What to say").press("Control+Enter")
        body = asked.value.post_data_json
        assert body == {"voice": release, "text": SENTENCE, "lang": "en", "speed": 1.05, "seed": 7}
        spoken(page)
        expect(page.locator("#said")).to_have_text(re.compile(r"Done: [\d.]+ s of speech\.|Playing"))
        box = page.locator("[data-spoken]")
        expect(box).to_contain_text("Synthetic speech")
        expect(box).to_contain_text(release)
        # What was drawn is the sound's outline, and arrow keys move within it.
        path = box.locator(".wave path").first.get_attribute("d") or ""
        assert path.count("M") == 56
        assert len(set(re.findall(r"v([\d.]+)", path))) > 10
        box.get_by_role("button", name="Play what was said").press("Enter")
        position = box.get_by_role("slider")
        position.focus()
        page.keyboard.press("End")
        page.keyboard.press("Home")
        before = position.input_value()
        for _ in range(3):
            page.keyboard.press("ArrowRight")
        assert int(position.input_value()) > int(before)
        with page.expect_download() as saved:
            page.get_by_role("link", name="Save as a file").press("Enter")
        name = saved.value.suggested_filename
        assert re.fullmatch(r"evening-stories \d{4}-\d\d-\d\d \d\d\.\d\d\.\d\d\.wav", name)
        label = read_label(saved.value.path().read_bytes())
        assert label is not None
        assert label.release == release
        # The same seed says the same; both stay at hand.
        page.get_by_label("What to say").press("Control+Enter")
        expect(box.locator(".before button")).to_have_count(2, timeout=60_000)
        box.locator(".before button").last.press("Enter")
        expect(box.locator(".player")).to_have_attribute("data-state", "playing")
        assert clean(page) == []
        seen.check(world.url(world.a))


def test_the_language_follows_the_script_until_it_is_chosen(browser: Browser, world: World) -> None:
    with window(browser) as seen:
        page = seen.page
        page.goto(world.url(world.a, f"voice/{world.releases[EVENING]}"))
        lang = page.get_by_label("Language", exact=True)
        assert lang.locator("option").first.get_attribute("value") == "en"
        page.get_by_label("What to say").fill("今日天氣好好")
        expect(lang).to_have_value("auto")
        page.get_by_label("What to say").fill("Hello")
        expect(lang).to_have_value("en")
        # A lite voice has no sounds for Japanese and Korean: not offered, but taken where they are.
        assert not {"ja", "ko"} & {one.get_attribute("value") for one in lang.locator("option").all()}
        page.get_by_label("What to say").fill("今日は")
        expect(lang).to_have_value("en")
        lang.evaluate("box => box.append(new Option('Japanese', 'ja'), new Option('Korean', 'ko'))")
        page.get_by_label("What to say").fill("今日は！")
        expect(lang).to_have_value("ja")
        page.get_by_label("What to say").fill("오늘은")
        expect(lang).to_have_value("ko")
        lang.select_option("yue")
        page.get_by_label("What to say").fill("Hello there")
        expect(lang).to_have_value("yue")


def test_what_cannot_be_spoken_is_told_with_its_hint(browser: Browser, world: World) -> None:
    with window(browser) as seen:
        page = seen.page
        page.goto(world.url(world.a, f"voice/{world.releases[EVENING]}"))
        page.get_by_label("What to say").press("Control+Enter")
        problem = page.locator("#speak [data-problem]")
        expect(problem).to_have_text("Write something to say first.")
        page.get_by_label("Language", exact=True).select_option("en")
        page.get_by_label("What to say").fill("今日")
        page.get_by_role("button", name="Speak").click()
        expect(problem).to_contain_text("That did not work: the text has nothing in it that can be spoken")
        expect(problem.locator(".hint")).to_contain_text("languages: yue zh en")
        expect(page.get_by_role("button", name="Speak")).to_be_focused()
        # The request is given up with the button, and the daemon lets go of it.
        page.route("**/v1/speak", lambda route: None)
        page.get_by_role("button", name="Speak").press("Enter")
        cancel = page.get_by_role("button", name="Cancel")
        expect(cancel).to_be_focused()
        expect(page.get_by_role("progressbar", name="Speaking")).to_be_visible()
        page.keyboard.press("Enter")
        expect(problem).to_have_text("Cancelled.")


def test_a_voice_speaks_as_soon_as_it_was_fetched(browser: Browser, world: World) -> None:
    with window(browser) as seen:
        page = seen.page
        page.add_init_script(WATCH)
        page.goto(world.url(world.b, f"voice/{world.releases[MORNING]}"))
        expect(page.locator("#speak")).to_be_hidden()
        expect(page.get_by_label("What to say")).to_have_count(0)
        page.get_by_role("button", name="Get this voice").press("Enter")
        page.get_by_label("What to say").fill(SENTENCE, timeout=60_000)
        page.get_by_label("What to say").press("Control+Enter")
        spoken(page)
        # The same voice, taken away on the page of the node.
        page.goto(world.url(world.b, "node"))
        page.get_by_role("button", name=f"Remove {MORNING}").press("Enter")
        page.get_by_role("dialog").get_by_role("button", name="Remove").press("Enter")
        expect(page.get_by_role("heading", name="Installed voices")).to_be_focused()
        expect(page.locator("#voices")).not_to_contain_text(MORNING)
        assert all(row["name"] != MORNING for row in world.b.client.voices())
        seen.check(world.url(world.b))


def test_a_draft_is_heard_and_published_and_found_elsewhere(browser: Browser, world: World) -> None:
    *_, draft = world.a.client.import_bundled("From the form")
    with window(browser) as seen:
        page = seen.page
        page.add_init_script(WATCH)
        page.goto(world.url(world.a, "train"))
        page.get_by_role("link", name="From the form").press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("From the form")
        page.wait_for_load_state()  # so that the buttons work
        page.get_by_label("What to say").fill("Good evening.")
        page.keyboard.press("Control+Enter")
        spoken(page)
        expect(page.locator("[data-spoken]")).to_contain_text("A draft that is not published")
        # What is missing is said, and is where the focus goes.
        go = page.get_by_role("button", name="Sign and publish")
        problem = page.locator("#publish [data-problem]")
        go.press("Enter")
        expect(problem).to_contain_text("Whose voice is it?")
        own = page.get_by_role("radio", name="My own voice")
        expect(own).to_be_focused()
        page.keyboard.press("Space")
        expect(page.get_by_label("Publish the reference recordings as well")).to_be_visible()
        expect(page.get_by_label("Name of the person")).to_be_hidden()
        page.keyboard.press("ArrowDown")
        expect(page.get_by_label("Name of the person")).to_be_visible()
        page.keyboard.press("ArrowDown")
        expect(page.get_by_role("radio", name="Nobody's")).to_be_checked()
        expect(page.get_by_label("Name of the person")).to_be_hidden()
        page.get_by_label("Licence", exact=True).select_option("CC-BY-SA-4.0")
        expect(page.locator("#licence-says")).to_contain_text("under the same licence")
        page.get_by_text("Language", exact=True).last.press("Enter")
        page.get_by_role("checkbox", name="English", exact=True).press("Space")
        page.get_by_label("Words of your own").fill("hearth, 灯火")
        expect(page.locator("[data-chosen]")).to_have_text("3 tags chosen")
        page.get_by_label("Description").fill("Two lines.\n<b>No markup.</b>")
        go.press("Enter")
        expect(page.get_by_role("heading", name="Published")).to_be_focused(timeout=60_000)
        expect(page.locator("[data-said]")).to_contain_text("announced to other nodes")
        release = page.locator("[data-published] [data-release]").inner_text()
        assert clean(page) == []
        page.get_by_role("link", name="See it as others do").press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("From the form")
        page.goto(world.url(world.a, f"draft/{draft['draft']}"))
        expect(page.get_by_role("link", name="Open the published one")).to_be_visible()
        seen.check(world.url(world.a))
    told = world.b.client.find(tags=["hearth"], timeout=10)
    found = {row["release"]: row for row in told if row["event"] == "voice"}
    assert found[release]["license"] == "CC-BY-SA-4.0"
    assert set(found[release]["tags"]) == {"language/en", "tag/hearth", "tag/灯火"}
    assert found[release]["consent"]["subject"] == "synthetic"
    assert found[release]["description"] == "Two lines.\n<b>No markup.</b>"


def test_a_refused_publication_says_why(browser: Browser, world: World) -> None:
    *_, draft = world.a.client.import_bundled("Refused")
    with window(browser) as seen:
        page = seen.page
        page.goto(world.url(world.a, f"draft/{draft['draft']}"))
        page.get_by_role("radio", name="Another person's").check()
        page.get_by_label("Name of the person").fill("Ada")
        page.get_by_label("Licence", exact=True).select_option("other")
        page.get_by_label("SPDX id").fill("WTF-1.0")
        go = page.get_by_role("button", name="Sign and publish")
        go.click()
        expect(page.get_by_label("An AI voice of this person may be made and published.")).to_be_focused()
        page.keyboard.press("Space")
        go.click()
        problem = page.locator("#publish [data-problem]")
        expect(problem).to_contain_text("'WTF-1.0' is not a licence id known here")
        expect(problem.locator(".hint")).to_contain_text("CC-BY-4.0")
        page.get_by_label("Licence", exact=True).select_option("CC-BY-4.0")
        # A file that is no signed consent.
        nothing = {"name": "c", "mimeType": "", "buffer": b"no consent"}
        page.get_by_label("Signed consent").set_input_files(nothing)
        expect(page.get_by_label("An AI voice of this person may be made and published.")).to_be_hidden()
        go.click()
        expect(problem).to_contain_text("That did not work:")
        expect(problem).not_to_contain_text("licence")
        expect(go).to_be_enabled()
        assert clean(page) == []


def test_ones_own_node_is_shown_and_stays_fresh(browser: Browser, world: World) -> None:
    status = world.a.client.status()
    with window(browser) as seen:
        page = seen.page
        seen.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.goto(world.url(world.a, "node"))
        row = page.get_by_role("row", name=re.compile(world.b.peer_id[-8:]))
        expect(row).to_contain_text("Connected")
        page.get_by_role("button", name="Copy the address 1").press("Enter")
        expect(page.locator("#said")).to_have_text("Copied")
        assert page.evaluate("navigator.clipboard.readText()") == status["addresses"][0]
        expect(page.get_by_role("img", name=re.compile("Author key: did:key:"))).to_be_visible()
        expect(page.locator("#settings")).to_contain_text(str(world.a.home))
        # Somebody is followed elsewhere; the time goes on, and nothing that stayed the same was touched.
        page.evaluate("window.kept = document.querySelector('#settings tbody tr')")
        uptime = page.locator("#now dd").nth(8)
        before = uptime.inner_text()
        expect(uptime).not_to_have_text(before, timeout=10_000)
        assert page.evaluate("window.kept.isConnected")
        seen.check(world.url(world.a))


def test_the_check_up_is_read_row_by_row(browser: Browser, world: World) -> None:
    with window(browser) as seen:
        page = seen.page
        page.goto(world.url(world.a, "node"))
        page.get_by_role("button", name="Check now").press("Enter")
        expect(page.locator("[data-doctor] [data-line]")).to_contain_text("Done:", timeout=60_000)
        rows = page.locator("[data-doctor] tbody tr")
        checks = set(rows.locator("th").all_inner_texts())
        assert {"addresses", "peers", "store", "sandbox", "speech"} <= checks
        expect(rows.filter(has_text="speech")).to_contain_text("Good")
        assert clean(page) == []
        seen.check(world.url(world.a))


@pytest.mark.parametrize("path", ["train", "node", "draft"])
def test_these_pages_are_read_without_scripts(browser: Browser, world: World, path: str) -> None:
    *_, draft = world.a.client.import_bundled("Read only")
    with window(browser, java_script_enabled=False) as seen:
        seen.page.goto(world.url(world.a, f"draft/{draft['draft']}" if path == "draft" else path))
        expect(seen.page.get_by_role("heading", level=1)).to_be_visible()
        expect(seen.page.locator("main button:visible")).to_have_count(0)
        assert seen.page.locator("main").inner_text().count("\n") > 5
