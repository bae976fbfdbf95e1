"""The distribution holds what the folders hold, and what is tested is what was installed."""

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import p2pvoice.protocol

CHECKOUT = Path(__file__).parent.parent
FOLDERS = ("protocol", "node", "sovits", "cli")


def test_every_package_folder_is_listed() -> None:
    settings = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["setuptools"]
    found = {
        "p2pvoice." + ".".join(path.parent.relative_to(CHECKOUT).parts)
        for folder in FOLDERS
        for path in (CHECKOUT / folder).rglob("__init__.py")
    }
    assert set(settings["packages"]) == found
    assert {name: "p2pvoice." + path.replace("/", ".") for name, path in settings["package-dir"].items()} == {
        name: name for name in found
    }


def test_every_folder_with_code_is_a_package() -> None:
    modules = [path for folder in FOLDERS for path in (CHECKOUT / folder).rglob("*.py")]
    assert modules
    assert [path for path in modules if not (path.parent / "__init__.py").exists()] == []


def test_ci_tests_the_installed_wheel() -> None:
    found = Path(p2pvoice.protocol.__file__)
    if os.environ.get("CI") == "true":
        assert Path(sysconfig.get_paths()["purelib"]) in found.parents
    else:
        assert found.name == "__init__.py"


def test_nothing_of_ours_lands_outside_p2pvoice() -> None:
    # Asked from elsewhere: the checkout's own folders are no witnesses.
    script = f"import importlib.util as util; print([name for name in {FOLDERS} if util.find_spec(name)])"
    answer = subprocess.run(
        [sys.executable, "-c", script], cwd="/", capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"


def test_pages_that_are_named_exist() -> None:
    pages = [CHECKOUT / "README.md", *(CHECKOUT / "specs").glob("*.md")]
    code = [path for folder in FOLDERS for path in (CHECKOUT / folder).rglob("*.py")]
    named = {
        (str(path.relative_to(CHECKOUT)), name)
        for path in pages + code
        for name in re.findall(r"\bspecs/[a-z0-9-]+\.md", path.read_text())
    }
    assert named
    assert sorted(pair for pair in named if not (CHECKOUT / pair[1]).exists()) == []
