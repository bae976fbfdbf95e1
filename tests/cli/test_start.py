"""The command line is light: what it imports decides what it costs, and that is what is checked here."""

import importlib
import json
import subprocess
import sys

import pytest

from p2pvoice.cli.main import COMMANDS

HEAVY = {
    "torch",
    "libp2p",
    "trio",
    "numpy",
    "httpx",
    "rich",
    "starlette",
    "hypercorn",
    "multiaddr",
    "cryptography",
}


def modules_after(statement: str, *words: str) -> set[str]:
    """The top-level modules in a fresh interpreter after one statement."""
    script = f"""
import sys, json, os
sys.argv = ['p2pvoice', *{list(words)!r}]
sys.stdout = open(os.devnull, 'w')
sys.stderr = open(os.devnull, 'w')
try:
    {statement}
except SystemExit:
    pass
print(json.dumps(sorted(sys.modules)), file=sys.__stdout__)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    names = set(json.loads(done.stdout))
    assert "p2pvoice.cli.main" in names
    return names


@pytest.mark.parametrize(
    "words",
    [["--help"], ["status"], ["status", "--json"], ["find", "--tag", "yue"], ["demo", "--help"], ["doctor"]],
)
def test_a_command_imports_nothing_heavy(words: list[str]) -> None:
    loaded = modules_after("from p2pvoice.cli.main import main; main()", *words)
    assert {name.split(".")[0] for name in loaded} & HEAVY == set()


def test_help_imports_no_command() -> None:
    loaded = modules_after("from p2pvoice.cli.main import main; main()", "--help")
    assert {name for name in loaded if name.startswith("p2pvoice.cli.commands")} == set()
    assert not any(name.startswith("p2pvoice.node") for name in loaded)


@pytest.mark.parametrize("name", list(COMMANDS))
def test_the_table_says_what_the_command_says(name: str) -> None:
    module, attribute, text = COMMANDS[name]
    command = getattr(importlib.import_module(module), attribute)
    # The table is shorter, but it must not promise something else: the same verb, and the same name.
    assert command.get_short_help_str(limit=200).split()[0] == text.split()[0]
    assert command.name == name
