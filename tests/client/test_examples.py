"""What the documentation shows is run: the docstrings' examples, and the blocks of specs/python-client.md."""

import doctest
import importlib
import re
from pathlib import Path

import pytest

from ..node.nodes import Daemon

PAGE = Path(__file__).parent.parent.parent / "specs" / "python-client.md"


@pytest.mark.parametrize("module", ["p2pvoice.node.client", "p2pvoice.node.client.asynchronous"])
def test_docstrings(node: Daemon, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    monkeypatch.setenv("P2PVOICE_HOME", str(node.home))
    ran = doctest.testmod(importlib.import_module(module))
    assert ran.attempted > 2
    assert ran.failed == 0


def test_the_page(
    node: Daemon, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("P2PVOICE_HOME", str(node.home))
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 4
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)
    said = capsys.readouterr().out.splitlines()
    assert (tmp_path / "out.wav").read_bytes()[:4] == b"RIFF"
    assert "0" in said
    assert "True" in said
    assert said[-1].startswith("not_found")
