"""Training in a browser, with a daemon that really trains: start, leave, resume, finish, what is told."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy
import pytest
import soundfile
from playwright.sync_api import Browser, Page, expect

from p2pvoice.sovits.packaged import packaged_voice

from ..node.conftest import clip, encoder
from ..node.nodes import Daemon, bring, install_encoder, publish
from .test_access import clean
from .world import Watched, window

__all__ = ["clip", "encoder"]


@contextmanager
def made_trainer(encoder: Path, clip: Path) -> Iterator[Daemon]:
    """A node with a voice so small that training it takes seconds."""
    one = Daemon(Path(tempfile.mkdtemp(prefix="p2pv-")))
    # On a busy machine a process that stands back would stand still.
    (one.home / "config.toml").write_text("quota_bytes = 5000000000\n[training]\nnice = 0\n")
    try:
        one.start()
        install_encoder(one, encoder)
        bring(one, clip)
        publish(one)
        yield one
    finally:
        if one.process is not None:
            one.end()
        shutil.rmtree(one.home, ignore_errors=True)


@pytest.fixture(scope="module")
def trainer(encoder: Path, clip: Path) -> Iterator[Daemon]:
    """Such a node for the tests of this file."""
    with made_trainer(encoder, clip) as one:
        yield one


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Recordings for the tests of this file."""
    return made_recordings(tmp_path_factory.mktemp("recordings"))


def made_recordings(folder: Path) -> list[Path]:
    """Three recordings of one speaker, each with a text of its own name beside it."""
    came = packaged_voice()
    samples, rate = soundfile.read(came.clip)
    for number in range(3):
        soundfile.write(folder / f"clip {number}.wav", samples, int(rate * (1 + 0.03 * number)))
        (folder / f"clip {number}.txt").write_text(came.text, "utf-8")
    return sorted(folder.iterdir())


def filled(page: Page, files: list[Any], name: str, **chosen: str) -> None:
    """Fill the form in; what is chosen is by the fields' labels."""
    page.locator("#clips").set_input_files(files)
    page.get_by_label("Name of the voice").fill(name)
    page.get_by_label("Language spoken").select_option(packaged_voice().lang)
    page.get_by_role("radio", name="Nobody's").check()
    page.get_by_label("Where the recordings come from").fill("Made for a test.")
    page.get_by_label("An AI voice may be made of these recordings.").check()
    page.locator("summary", has_text="More").click()
    for label, value in chosen.items():
        page.get_by_label(label).select_option(label=value)


def state(daemon: Daemon, name: str) -> str:
    return next((row["state"] for row in daemon.client.trainings() if row["training"] == name), "")


def until(seen: Watched, daemon: Daemon, name: str, wanted: str) -> None:
    """Wait until a training is in a state; the browser's clock measures the time."""
    for _ in range(300):
        if state(daemon, name) == wanted:
            return
        seen.page.wait_for_timeout(200)
    raise AssertionError(f"{name} is {state(daemon, name)}, not {wanted}")


def begin(page: Page, recordings: list[Path], name: str, minutes: str) -> None:
    """Fill the form in for a training that takes seconds, and start it from the keyboard."""
    filled(page, recordings, name, **{"Start from": "Storyteller"})
    expect(page.locator("[data-sum]")).to_contain_text("3 recordings")
    expect(page.locator(".clip textarea").first).to_have_value(packaged_voice().text)
    page.get_by_label("What is trained").select_option("last-layers")
    page.get_by_label("Minutes of computing").fill(minutes)
    page.get_by_role("button", name="Start training").press("Enter")
    expect(page.get_by_role("heading", name=f"Training: {name}")).to_be_focused()


def finished(page: Page) -> None:
    """Wait for the end of a training, and look at what the page says of it."""
    expect(page.locator("figure svg polyline").first).to_be_attached(timeout=90_000)
    text = page.locator("#chart-text li").first
    expect(text).to_have_text(re.compile(r"Learning how it \w+: \d+ looks, from [\d.e+-]+ to [\d.e+-]+"))
    expect(page.locator("[data-running] [data-open]")).to_be_focused(timeout=120_000)
    rows = page.locator("[data-verdicts] tbody tr")
    expect(rows).to_have_count(3)
    expect(rows.first).to_contain_text("clip 0.wav")


def test_a_voice_is_trained_and_its_draft_opened(
    browser: Browser, trainer: Daemon, recordings: list[Path]
) -> None:
    url = trainer.client.open_page()["url"]
    with window(browser) as seen:
        page = seen.page
        page.goto(url + "train")
        # The drop zone is the label of a real file input, which the keyboard reaches.
        page.locator("#clips").focus()
        expect(page.locator("#clips")).to_be_focused()
        begin(page, recordings, "Quick", "0.05")
        finished(page)
        assert clean(page) == []
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("Quick")
        declared = "Nobody's: the recordings are synthetic speech: Made for a test."
        expect(page.get_by_text(declared)).to_be_visible()
        seen.check(url)
    assert [draft["slug"] for draft in trainer.client.drafts() if draft["name"] == "Quick"] == ["quick"]


@pytest.mark.slow
def test_a_training_is_stopped_left_alone_resumed_and_finished(
    browser: Browser, trainer: Daemon, recordings: list[Path]
) -> None:
    url = trainer.client.open_page()["url"]
    with window(browser) as seen:
        page = seen.page
        page.goto(url + "train")
        begin(page, recordings, "Me", "0.3")
        line = page.locator("[data-running] [data-line]")
        expect(line).to_contain_text("Learning how it", timeout=90_000)
        assert state(trainer, "me") == "running"
        page.get_by_role("button", name="Stop, and keep what is learnt").press("Enter")
        expect(line).to_have_text("Stopped. What was learnt is kept; it can be resumed.", timeout=60_000)
        expect(page.locator("[data-training=me]")).to_contain_text("Stopped")
        page.get_by_role("button", name="Resume Me").press("Enter")
        expect(line).to_contain_text("Learning how it", timeout=90_000)
        # Leaving asks first, and leaving all the same stops it after a checkpoint.
        asked: list[str] = []
        page.once("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
        with page.expect_event("dialog"):
            page.close(run_before_unload=True)
        assert asked == ["beforeunload"]
        expect(page.get_by_role("button", name="Stop, and keep what is learnt")).to_be_visible()
        seen.check(url)
        page.close()
    with window(browser) as seen:
        page = seen.page
        page.goto(url + "train")
        until(seen, trainer, "me", "stopped")
        # The list looks after it by itself.
        row = page.locator("[data-training=me]")
        expect(row).to_contain_text("Stopped")
        expect(row).to_contain_text("3 recordings")
        page.get_by_role("button", name="Resume Me").press("Enter")
        finished(page)
        expect(row).to_contain_text("Done")
        seen.check(url)
    assert [draft["slug"] for draft in trainer.client.drafts() if draft["name"] == "Me"] == ["me"]


def test_unfit_recordings_are_told_of_with_what_to_do(
    browser: Browser, trainer: Daemon, tmp_path: Path
) -> None:
    url = trainer.client.open_page()["url"]
    rate = 32_000
    soundfile.write(tmp_path / "短.wav", 0.1 * numpy.sin(numpy.arange(rate) / 30), rate)
    soundfile.write(tmp_path / "静.wav", numpy.zeros(6 * rate), rate)
    with window(browser, lang="zh-CN") as seen:
        page = seen.page
        page.goto(url + "train")
        page.locator("#clips").set_input_files([tmp_path / "短.wav", tmp_path / "静.wav"])
        for box in page.locator(".clip textarea").all():
            box.fill("今天天气真好。")
        page.get_by_label("声音的名字").fill("不行")
        page.get_by_label("录音的语言").select_option("zh")
        page.get_by_role("radio", name="我自己的声音").check()
        page.get_by_label("我确认可以用这些录音制作 AI 声音。").check()
        page.get_by_role("button", name="开始训练").click()
        problem = page.locator("[data-running] [data-problem]")
        expect(problem).to_contain_text("没有成功：", timeout=60_000)
        rows = page.locator("[data-verdicts] tbody tr")
        expect(rows.filter(has_text="短.wav")).to_contain_text("未采用太短")
        expect(rows.filter(has_text="短.wav")).to_contain_text("至少录一句完整的话")
        expect(rows.filter(has_text="静.wav")).to_contain_text("几乎没有声音")
        assert clean(page) == []
        # The form is there again, as it was filled in.
        expect(page.get_by_label("声音的名字")).to_have_value("不行")
        expect(page.locator("[data-training]", has_text="不行")).to_contain_text("失败")
        page.get_by_role("button", name="删除 不行").press("Enter")
        page.get_by_role("button", name="确认删除").press("Enter")
        expect(page.get_by_role("heading", name="训练记录")).to_be_focused()
        expect(page.locator("[data-training]", has_text="不行")).to_have_count(0)
        seen.check(url)


def test_what_is_missing_is_said_where_it_is_missing(
    browser: Browser, trainer: Daemon, recordings: list[Path]
) -> None:
    url = trainer.client.open_page()["url"]
    sounds = [path for path in recordings if path.suffix == ".wav"]
    with window(browser) as seen:
        page = seen.page
        page.goto(url + "train")
        start = page.get_by_role("button", name="Start training")
        problem = page.locator("#train > [data-problem]")
        start.click()
        expect(problem).to_have_text("Choose a recording first.")
        expect(page.locator("#clips")).to_be_focused()
        # Dropped like chosen: the same files, by the mouse.
        page.locator("#clips").set_input_files(sounds[:1])
        page.evaluate(
            "() => { const t = new DataTransfer(); t.items.add(new File(['RIFF'], 'dropped.wav'));"
            " t.items.add(new File(['x'], 'notes.pdf')); t.items.add(new File(['a  b'], 'dropped.txt'));"
            " document.querySelector('[data-drop]').dispatchEvent("
            "new DragEvent('drop', {dataTransfer: t, cancelable: true})); }"
        )
        expect(page.locator(".clip")).to_have_count(2)
        expect(problem).to_have_text("notes.pdf is no recording.")
        expect(page.locator(".clip textarea").last).to_have_value("a b")
        page.locator("#clips").set_input_files(sounds[:1])
        expect(problem).to_have_text("There is a recording called clip 0.wav already.")
        start.click()
        expect(problem).to_have_text("Write what is said in clip 0.wav, or give a list.")
        expect(page.locator(".clip textarea").first).to_be_focused()
        page.get_by_role("button", name="Leave out clip 0.wav").press("Enter")
        expect(page.locator("#clips")).to_be_focused()
        start.click()
        expect(page.get_by_label("Name of the voice")).to_be_focused()
        page.get_by_label("Name of the voice").fill("x")
        start.click()
        expect(page.get_by_role("radio", name="My own voice")).to_be_focused()
        assert trainer.client.trainings() == [] or state(trainer, "x") == ""
        seen.check(url)
