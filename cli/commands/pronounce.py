"""How words are read: `pronounce add|list|rm|test|import|export`.

Follows specs/cli.md and specs/pronunciation.md.
"""

import sys
import unicodedata
from pathlib import Path
from typing import Any

import click

from p2pvoice.cli.files import check_output, write_output
from p2pvoice.cli.output import Output, json_option, printable
from p2pvoice.node.rpc.client import Client
from p2pvoice.protocol.errors import NotFoundError, UsageError
from p2pvoice.protocol.pronunciation import LANGUAGES, USER_BYTES, entry, text_of

VOICE = click.option(
    "--voice", default="", metavar="DRAFT", help="A draft of yours, not your own dictionary."
)
SHOWN_VOICE = click.option("--voice", default="", metavar="VOICE", help="Also by that of a voice or a draft.")
LANG = click.option(
    "--lang", type=click.Choice(LANGUAGES), help="The word's language; Latin letters mean en."
)


@click.group()
def pronounce() -> None:
    """How words are read: your own dictionary, and that of a voice.

    A reading is pinyin (zh: chong2 qing4), jyutping (yue: cung4 hing3), ARPAbet (en: K W EH1 N), kana (ja) or
    hangul (ko). Your dictionary counts for every voice, and wins over the voice's own.
    """


@pronounce.command()
@click.argument("word")
@click.argument("reading")
@LANG
@VOICE
@json_option
@click.pass_obj
def add(output: Output, word: str, reading: str, lang: str | None, voice: str) -> None:
    """Say how WORD is read; it counts from the next sentence on."""
    row = {"lang": lang or language_of(word), "word": word, "reading": reading}
    told(output, Client().add_words([row], voice=voice), voice)


@pronounce.command("list")
@click.option("--voice", default="", metavar="VOICE", help="That of a voice or a draft.")
@json_option
@click.pass_obj
def list_words(output: Output, voice: str) -> None:
    """List a dictionary's words: yours, or a voice's."""
    found = Client().words(voice=voice)
    if output.as_json:
        output.document(found)
    elif found["entries"]:
        output.table(
            ["LANG", "~WORD", "~READING"],
            [[row["lang"], row["word"], row["reading"]] for row in found["entries"]],
        )
    else:
        output.note("no word has a reading of its own")
        output.hint(f"p2pvoice pronounce add WORD READING --lang yue{of_voice(voice)}")


@pronounce.command()
@click.argument("word")
@LANG
@VOICE
@json_option
@click.pass_obj
def rm(output: Output, word: str, lang: str | None, voice: str) -> None:
    """Remove WORD from a dictionary; it is read as before."""
    client = Client()
    found = client.remove_word(lang or only_language(client, word, voice), word, voice=voice)
    if output.as_json:
        output.document(found)
        return
    for row in found["removed"]:
        output.line(f"{row['lang']}  {printable(row['word'])}  {printable(row['reading'])}")


@pronounce.command()
@click.argument("text")
@click.option("--lang", default="auto", show_default=True, help="As for speak.")
@SHOWN_VOICE
@click.option("--upstream-text", is_flag=True, help="As GPT-SoVITS reads it, where it is wrong, too.")
@click.option("--plain", is_flag=True, help="Without any dictionary.")
@json_option
@click.pass_obj
def test(output: Output, text: str, lang: str, voice: str, upstream_text: bool, plain: bool) -> None:
    """Show how TEXT is read, word by word, in the notation that `add` takes."""
    found = Client().read_text(text, lang, voice=voice, upstream=upstream_text, plain=plain)
    if output.as_json:
        output.document(found)
        return
    for part in found["parts"]:
        words = part["words"]
        output.pairs(
            [
                (part["language"], part["norm_text"]),
                ("read", "  ".join(f"{row['text']} {row['reading'] or '(silent)'}" for row in words)),
                ("phones", " ".join(part["phones"])),
                ("dictionary", ", ".join(f"{row['text']} ({row['from']})" for row in words if row["from"])),
            ]
        )


@pronounce.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@VOICE
@json_option
@click.pass_obj
def import_words(output: Output, file: Path, voice: str) -> None:
    """Add the words of FILE: a line each, of language, tab, word, tab, reading (- reads stdin)."""
    if str(file) == "-":
        data = sys.stdin.buffer.read(USER_BYTES + 1)
    else:
        with file.open("rb") as opened:
            data = opened.read(USER_BYTES + 1)
    told(output, Client().add_words(file=text_of(data), voice=voice), voice)


@pronounce.command("export")
@click.option(
    "-o",
    "--output",
    "target",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    default=Path("-"),
    help="Where to write the file; stdout otherwise.",
)
@click.option("--voice", default="", metavar="VOICE", help="That of a voice or a draft.")
@click.pass_obj
def export_words(output: Output, target: Path, voice: str) -> None:
    """Write a dictionary as a file that `import` reads."""
    check_output(target)
    rows = Client().words(voice=voice)["entries"]
    lines = [entry(row["lang"], row["word"], row["reading"]).line for row in rows]
    write_output(target, "".join(f"{line}\n" for line in lines).encode())
    if str(target) != "-":
        output.line(str(target))


def told(output: Output, made: dict[str, Any], voice: str) -> None:
    """What was added, and to what."""
    if output.as_json:
        output.document(made)
        return
    for row in (*made["added"], *made["replaced"]):
        output.line(f"{row['lang']}  {printable(row['word'])}  {printable(row['reading'])}")
    count = made["entries"]
    whose = f"the dictionary of {voice}" if voice else "your dictionary"
    output.note(f"{whose} has {count} word{'' if count == 1 else 's'}")
    first = (*made["added"], *made["replaced"])[0]
    output.hint(
        f'p2pvoice pronounce test "{printable(first["word"])}" --lang {first["lang"]}{of_voice(voice)}'
    )


def of_voice(voice: str) -> str:
    """The option that names the voice, where there is one."""
    return f" --voice {voice}" if voice else ""


def language_of(word: str) -> str:
    """English for Latin letters; for others the language must be said."""
    letters = [one for one in word if one.isalpha()]
    if letters and all("LATIN" in unicodedata.name(one, "") for one in letters):
        return "en"
    raise UsageError(
        f"say in which language {printable(word)[:40]} is read so",
        hint="--lang zh (pinyin), --lang yue (jyutping) …",
    )


def only_language(client: Client, word: str, voice: str) -> str:
    """The language in which a dictionary has a word, when it is one."""
    # Latin letters that differ in case alone are one English word, and other scripts have no case.
    wanted = unicodedata.normalize("NFC", word).lower()
    found = {row["lang"] for row in client.words(voice=voice)["entries"] if row["word"].lower() == wanted}
    if len(found) > 1:
        raise UsageError(
            f"{printable(word)[:40]} has readings in {' and '.join(sorted(found))}",
            hint=f"--lang {sorted(found)[0]}",
        )
    if not found:
        raise NotFoundError(
            f"the dictionary has no word {printable(word)[:40]!r}",
            hint=f"p2pvoice pronounce list{of_voice(voice)}",
        )
    return str(found.pop())
