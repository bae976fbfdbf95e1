"""What people say of a voice, from page to page: stars, comments, issues and proposals of two real nodes."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from .world import HOSTILE, VOICES, World, window

NAME = VOICES[3][0]


@pytest.fixture(scope="module")
def release(world: World) -> Iterator[str]:
    """A voice that B has as well, so that what is said of it is kept there."""
    found = world.releases[NAME]
    list(world.b.client.fetch(found))
    yield found
    world.b.client.remove(found)


def until(page: Page, text: str) -> None:
    """Load the page again until it says something; what nodes tell each other takes a moment."""
    for _ in range(40):
        if page.get_by_text(text).count():
            return
        page.wait_for_timeout(250)
        page.reload()
    raise AssertionError(f"{text!r} did not appear")


def test_a_listener_stars_and_comments_and_the_author_answers(
    browser: Browser, world: World, release: str
) -> None:
    with window(browser) as seen, window(browser) as other:
        b, a = seen.page, other.page
        b.goto(world.url(world.b, f"voice/{release}"))
        expect(b.get_by_text("Nobody has said anything yet.")).to_be_visible()
        star = b.get_by_role("button", name="Star", exact=True)
        star.press("Enter")
        again = b.get_by_role("button", name="Starred")
        expect(again).to_have_attribute("aria-pressed", "true")
        expect(again).to_be_focused()
        expect(b.locator("#star")).to_contain_text("1 star")
        b.get_by_label("Your comment").fill(f"Lovely in the evening.\n{HOSTILE}")
        b.get_by_role("button", name="Send").first.press("Enter")
        expect(b.locator(".comment .prose")).to_contain_text(HOSTILE.splitlines()[-1])
        assert b.locator(".comment a[href^='http'], .comment img").count() == 0

        # To the author this is a stranger: the star is not counted, the comment is folded.
        a.goto(world.url(world.a, f"voice/{release}"))
        until(a, "1 from others (1 you do not follow)")
        expect(a.locator("#star")).to_contain_text("0 stars · 1 more from people you do not follow")
        expect(a.locator(".comment")).to_be_hidden()
        a.get_by_text("1 from others").click()
        a.locator(".comment summary", has_text="Reply").click()
        a.get_by_label("Your reply").fill("谢谢！")
        a.locator(".comment").get_by_role("button", name="Send").click()
        # What somebody who counts has answered is not folded any more.
        expect(a.locator(".comment")).to_have_count(2)
        expect(a.locator(".comment .prose").last).to_have_text("谢谢！")
        expect(a.get_by_text("from others")).to_have_count(0)

        b.reload()
        until(b, "谢谢！")
        expect(b.locator(".comment.depth-1 .trust-author")).to_have_text("Author")
        mine = b.locator(".comment.depth-0")
        mine.locator("summary", has_text="Edit").click()
        b.get_by_label("New text").fill("Lovely, really.")
        b.get_by_role("button", name="Save").click()
        expect(mine).to_contain_text("edited")
        expect(mine.locator(".prose")).to_have_text("Lovely, really.")
        mine.get_by_role("button", name="Take back").click()
        expect(b.get_by_text("Taken back by whoever wrote it.")).to_be_visible()
        again.click()
        expect(b.get_by_role("button", name="Star", exact=True)).to_be_visible()
        seen.check(world.url(world.b))
        other.check(world.url(world.a))


def test_an_issue_is_reported_labelled_closed_and_opened_again(
    browser: Browser, world: World, release: str
) -> None:
    with window(browser, lang="zh-CN") as seen:
        page = seen.page
        page.goto(world.url(world.a, f"voice/{release}"))
        page.locator("summary", has_text="反馈问题").click()
        page.get_by_label("标题").fill("“四”读成“十”")
        page.get_by_label("遇到了什么").fill("每次都这样。")
        page.get_by_role("button", name="提交").click()
        page.get_by_role("link", name="“四”读成“十”").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("“四”读成“十”")
        page.wait_for_selector("[data-alive]")
        page.locator("summary", has_text="标签").click()
        page.get_by_label("标签（用逗号分隔）").fill("发音，bug")
        page.get_by_role("button", name="添加").click()
        expect(page.locator(".label")).to_have_text(["发音", "bug"])
        page.get_by_role("button", name="移除标签：bug").click()
        expect(page.locator(".label")).to_have_text(["发音"])
        page.get_by_label("写评论").fill("正在看。")
        page.get_by_role("button", name="发布").click()
        expect(page.locator(".comment .prose")).to_have_text("正在看。")
        page.locator("summary", has_text="关闭").click()
        page.get_by_label("关闭原因").fill("重新训练了")
        page.locator(".say").get_by_role("button", name="关闭").click()
        expect(page.locator(".hero .badge")).to_have_text("已关闭")
        expect(page.get_by_text("重新训练了")).to_be_visible()
        page.get_by_role("button", name="重新打开").click()
        expect(page.locator(".hero .badge")).to_have_text("待处理")
        [row] = world.a.client.said(release, "issues")["issues"]
        assert (row["labels"], row["state"], row["comments"]) == (["发音"], "open", 1)
        seen.check(world.url(world.a))


def test_a_proposal_is_reviewed_by_the_author(browser: Browser, world: World, release: str) -> None:
    other = world.releases[VOICES[0][0]]
    made = world.b.client.act(release, "proposal", release=other, base=release, text="Warmer\nTry it.")
    with window(browser) as seen:
        page = seen.page
        page.goto(world.url(world.a, f"voice/{release}"))
        until(page, "1 from others")
        page.locator("[aria-labelledby=proposals] summary").click()
        page.get_by_role("link", name="Warmer").click()
        expect(page).to_have_url(world.url(world.a, f"said/{made['operation']}"))
        page.wait_for_selector("[data-alive]")
        page.locator("summary", has_text="Review").click()
        page.get_by_label("What you think of it").fill("Yes, please.")
        page.get_by_role("button", name="Accept").click()
        expect(page.locator(".hero .badge")).to_have_text("Accepted")
        expect(page.locator("#reviews .comment")).to_contain_text("Yes, please.")
        # Only who proposed it may withdraw it, and only who wrote it may change it.
        expect(page.get_by_role("button", name="Withdraw")).to_have_count(0)
        page.goto(world.url(world.b, f"said/{made['operation']}"))
        page.get_by_role("button", name="Withdraw").click()
        expect(page.locator(".hero .badge")).to_have_text("Withdrawn")
        seen_by_b = page.get_by_role("link", name=NAME)
        expect(seen_by_b).to_be_visible()


def test_what_cannot_be_said_is_told_where_it_was_tried(browser: Browser, world: World, release: str) -> None:
    with window(browser) as seen:
        page = seen.page
        page.goto(world.url(world.b, f"voice/{release}"))
        page.route("**/act", lambda route: route.abort())
        page.get_by_label("Your comment").fill("Into the void")
        page.get_by_role("button", name="Send").first.click()
        expect(page.locator("form.say [data-problem]").last).to_be_hidden()
        expect(page.get_by_text("The node does not answer.").first).to_be_visible()
        # What was written is still there.
        expect(page.get_by_label("Your comment")).to_have_value("Into the void")
        expect(page.get_by_role("button", name="Send").first).to_be_enabled()
