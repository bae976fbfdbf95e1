"""The two READMEs say the same, what they point at is there, and the index of specs/ is complete.

The console examples are run by tests/transcripts, of the English page only: the Chinese one shows the same.
"""

import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent
ENGLISH, CHINESE = CHECKOUT / "README.md", CHECKOUT / "README.zh.md"

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

COMMENT = re.compile(r" +# .*$", re.MULTILINE)


def blocks(page: str) -> list[tuple[str, str]]:
    """Kind and text of the code blocks. What a comment in a shell block says is in the page's language."""
    return [(kind, COMMENT.sub("", text) if kind == "sh" else text) for kind, text in BLOCK.findall(page)]


def outline(page: str) -> list[str]:
    """What the prose consists of, in order: the levels of headings, and items of lists."""
    return re.findall(r"^(#+|-) ", BLOCK.sub("", page), re.MULTILINE)


def spans(page: str) -> list[str]:
    """The code in the prose of each section, sorted: each language has an order of its own."""
    found = []
    for number, section in enumerate(re.split(r"^#+ .*$", BLOCK.sub("", page), flags=re.MULTILINE)):
        named = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", section)]
        found += [f"{number} {span}" for span in sorted(named)]
    return found


def figures(page: str) -> list[str]:
    """Numbers with a fraction, sorted, those of the prose alone."""
    return sorted(re.findall(r"\d+\.\d+(?: %)?", re.sub(r"`[^`]+`", "", BLOCK.sub("", page))))


def test_both_readmes_show_the_same_commands_and_outputs() -> None:
    assert len(blocks(ENGLISH.read_text())) > 5
    assert blocks(CHINESE.read_text()) == blocks(ENGLISH.read_text())


def test_both_readmes_have_the_same_parts() -> None:
    assert len(outline(ENGLISH.read_text())) > 10
    assert outline(CHINESE.read_text()) == outline(ENGLISH.read_text())


def test_both_readmes_name_the_same_code_and_figures() -> None:
    english, chinese = ENGLISH.read_text(), CHINESE.read_text()
    assert spans(chinese) == spans(english)
    assert len(figures(english)) > 3
    assert figures(chinese) == figures(english)


@pytest.mark.parametrize("page", [ENGLISH, CHINESE], ids=lambda page: page.name)
def test_what_a_readme_points_at_is_there(page: Path) -> None:
    targets = re.findall(r"\]\(([^)]+)\)", page.read_text())
    other = CHINESE if page == ENGLISH else ENGLISH
    assert other.name in targets
    assert any(target.endswith(".png") for target in targets)
    named = re.findall(r"`((?:specs|sovits|node|cli|tests)/[\w./-]+)`", page.read_text())
    assert [one for one in (*targets, *named) if not (CHECKOUT / one).exists()] == []


def test_the_index_of_specs_lists_every_page_once() -> None:
    index = (CHECKOUT / "specs" / "README.md").read_text()
    table = re.search(r"^## Pages\n(.*?)^## ", index, re.MULTILINE | re.DOTALL)
    assert table
    listed = re.findall(r"\]\(([^)]+)\)", table[1])
    pages = [path.name for path in (CHECKOUT / "specs").glob("*.md") if path.name != "README.md"]
    assert sorted(listed) == sorted(pages)
