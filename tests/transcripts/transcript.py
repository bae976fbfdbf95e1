"""Runs the console examples of a Markdown page and compares what they print with what the page shows.

In a ```console block a line that starts with `$ ` is typed into a shell; the lines up to the next one are
what a person sees on the terminal (stdout and stderr together). What differs from run to run may differ:
numbers, units, amounts of white space, and ids, but an id is the same id wherever the page repeats it, also
in the commands that follow. A line `…` stands for any number of lines, `[exit N]` for the exit code (0
when left out).

`python tests/transcripts/transcript.py PAGE` runs a page and writes what was printed into it. Where the
page shows `…` and fits otherwise, it goes on doing so.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

COMMAND_TIMEOUT = 300
"""Seconds one command of a page may take."""

PEER = r"12D3KooW[A-Za-z0-9]{6,}"

OPERATION = r"\bop(?!erat|port|posit|tim)[a-z2-7]{8,}\b"
"""The id of an operation; no English word of that form is one."""

ID = (
    rf"/ip4/[0-9.]+/tcp/[0-9]+/p2p/{PEER}|(?:did:key:)?z6Mk[A-Za-z0-9]{{6,}}|{PEER}|ba[a-z2-7]{{12,}}"
    rf"|{OPERATION}"
)
"""Addresses and author, peer, release and operation ids, whole or as the beginnings that tables show."""

UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"

VARYING = re.compile(
    rf"(?P<id>{ID})|(?P<uuid>{UUID})|(?P<date>\d{{4}}-\d\d-\d\d \d\d:\d\d)"
    r"|(?P<time>\d+ (?:min|h)(?: \d+ (?:s|min))?)"
    r"|(?P<amount>\d+(?:\.\d+)? (?:B|kB|MB|GB|ms|s)(?:/s)?\b)|(?P<number>\d+(?:\.\d+)?)|(?P<space>\s+)"
)

SAVED = re.compile(r", sent as [\d.]+ [kM]?B,")
"""What compressing saved: whether it was worth its time depends on how busy the machine was."""

PATTERNS = {
    "uuid": UUID,
    "date": r"\d{4}-\d\d-\d\d \d\d:\d\d",
    "time": r"(?:\d+ (?:min|h)(?: \d+ (?:s|min))?|\d+(?:\.\d+)? m?s)",
    "amount": r"\d+(?:\.\d+)? (?:B|kB|MB|GB|ms|s|min \d+ s)(?:/s)?",
    "number": r"\d+(?:\.\d+)?",
    "space": r"\s+",
}


@dataclass
class Example:
    """One typed command, what the page shows below it, and where."""

    command: str
    expected: list[str]
    line: int
    exit_code: int = 0


@dataclass
class Names:
    """Which id of the page stands for which id of this run."""

    actual: dict[str, str] = field(default_factory=dict)

    def learn(self, shown: str, found: str) -> None:
        known = self.actual.setdefault(shown, found)
        assert known == found, f"the page's {shown} was {known} before and is {found} now"

    def translate(self, command: str) -> str:
        return re.sub(ID, lambda match: self._of(match.group()), command)

    def _of(self, shown: str) -> str:
        for known, found in self.actual.items():
            if known == shown or known.startswith(shown):
                return found[: len(shown)] if len(shown) < len(known) else found
        return shown


def examples(page: str) -> Iterator[Example]:
    """The examples of a page, in order."""
    inside, current = False, None
    for number, line in enumerate(page.splitlines(), 1):
        if line.startswith("```"):
            if current:
                yield current
            inside, current = line.strip() == "```console", None
        elif inside and line.startswith("$ "):
            if current:
                yield current
            current = Example(line[2:], [], number)
        elif inside and current and (code := re.fullmatch(r"\[exit (\d+)\]", line.strip())):
            current.exit_code = int(code[1])
        elif inside and current:
            current.expected.append(line)


def matches(expected: list[str], found: list[str], names: Names) -> bool:
    """Whether the lines found are those expected; learns the ids on the way."""
    if not expected:
        return not found
    if expected[0].strip() == "…":
        return any(matches(expected[1:], found[skip:], names) for skip in range(len(found) + 1))
    if not found:
        return False
    seen = _line(expected[0], found[0])
    if seen is None or not matches(expected[1:], found[1:], names):
        return False
    for shown, actual in seen:
        names.learn(shown, actual)
    return True


def _line(expected: str, found: str) -> list[tuple[str, str]] | None:
    """The pairs of ids when the line fits, else None."""
    pattern, ids, at = "", [], 0
    expected, found = (SAVED.sub("", line.rstrip()) for line in (expected, found))
    for match in VARYING.finditer(expected):
        pattern += re.escape(expected[at : match.start()])
        if match.lastgroup == "id":
            ids.append(match.group())
            pattern += f"({ID})"
        else:
            pattern += PATTERNS[str(match.lastgroup)]
        at = match.end()
    pattern += re.escape(expected[at:])
    # `…` inside a line stands for anything, such as a path of this machine.
    hit = re.fullmatch(pattern.replace("…", ".*"), found)
    return list(zip(ids, hit.groups(), strict=True)) if hit else None


def elided(expected: list[str], found: list[str]) -> list[str] | None:
    """The lines found, with a `…` wherever the page leaves lines out; None when the page does not fit."""
    if not expected:
        return None if found else []
    if expected[0].strip() == "…":
        rests = (elided(expected[1:], found[skip:]) for skip in range(len(found) + 1))
        rest = next((one for one in rests if one is not None), None)
        return None if rest is None else ["…", *rest]
    if not found or _line(expected[0], found[0]) is None:
        return None
    rest = elided(expected[1:], found[1:])
    return None if rest is None else [found[0], *rest]


def nodes_of(folder: Path) -> tuple[Path, Path]:
    """The homes that a page's commands use: the one without `--home`, and `--home friend`."""
    return folder / "me", folder / "here" / "friend"


def execute(typed: str, folder: Path) -> tuple[int, str]:
    """Exit code and output of one shell command, typed in the folder `here`."""
    here = folder / "here"
    here.mkdir(exist_ok=True)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["/bin/sh", "-c", typed],
        cwd=here,
        env={
            **os.environ,
            "P2PVOICE_HOME": str(nodes_of(folder)[0]),
            "PATH": path,
            "PAGES": str(Path(__file__).parent),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=COMMAND_TIMEOUT,
        check=False,
    )
    return done.returncode, done.stdout.decode()


def run_page(page: Path, folder: Path) -> int:
    """Run the page's examples in `folder`; returns how many. AssertionError at the first that differs."""
    names = Names()
    count = 0
    for example in examples(page.read_text()):
        typed = names.translate(example.command)
        code, shown = execute(typed, folder)
        where = f"{page.name}:{example.line}: $ {typed}\n"
        assert code == example.exit_code, f"{where}exit code {code}\n{shown}"
        expected = "\n".join(example.expected).strip("\n").splitlines()
        told = f"{where}-- expected\n" + "\n".join(expected) + f"\n-- printed\n{shown}"
        assert matches(expected, shown.strip("\n").splitlines(), names), told
        count += 1
    return count


def write_page(page: Path) -> None:
    """Run the page's examples and put what they print in the place of what it shows."""
    names, written, lines = Names(), [], page.read_text().splitlines()
    found = {example.line: example for example in examples(page.read_text())}
    with tempfile.TemporaryDirectory(prefix="p2pv-") as folder:
        skip = False
        for number, line in enumerate(lines, 1):
            if line.startswith("```"):
                skip = False
            if example := found.get(number):
                # The ids typed are those of the last writing: what they were shown as is what they are now.
                typed = names.translate(example.command)
                code, shown = execute(typed, Path(folder))
                rows = shown.strip("\n").splitlines()
                expected = "\n".join(example.expected).strip("\n").splitlines()
                # What a page leaves out it leaves out again.
                rows = elided(expected, rows) or rows
                for before, now in zip(expected, rows, strict=False):
                    names.actual.update(zip(re.findall(ID, before), re.findall(ID, now), strict=False))
                # A path of this machine says nothing on a page.
                kept = [row.rstrip().replace(folder, "…") for row in rows]
                written += [f"$ {typed}", *kept, *([f"[exit {code}]"] if code else [])]
                skip = True
            elif not skip:
                written.append(line)
    # How many milestones a transfer tells of depends on the machine; that it ends is what a page shows.
    text = re.sub(r"(?m)^(fetching: .*\n)+(?=fetching: )", "…\n", "\n".join(written) + "\n")
    page.write_text(text)


if __name__ == "__main__":
    write_page(Path(sys.argv[1]))
