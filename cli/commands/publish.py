"""From your own files to a published voice: `import` makes a draft, `publish` signs and announces it.

The weight files are sent to the daemon as bytes: it opens no path that a caller names. Follows specs/cli.md
and specs/consent.md.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from p2pvoice.cli.commands.bring import Given
from p2pvoice.cli.commands.fetch import follow
from p2pvoice.cli.output import Output, json_option, short_id, size
from p2pvoice.cli.progress import Progress
from p2pvoice.cli.said import short_operation
from p2pvoice.cli.voices import bare_tags
from p2pvoice.node.rpc.client import Client
from p2pvoice.protocol.consent import SIGNED_LIMIT
from p2pvoice.protocol.errors import UsageError

LICENCE = "CC-BY-4.0"
"""The licence that examples show."""

SUBJECTS = ["self", "named", "synthetic", "public-domain-corpus", "deceased-estate"]
"""Whose voice it is; the manifest knows no other answers."""

PERMISSION_IMPLIED = {"self", "synthetic"}
"""Subjects for whom saying so is the permission: nobody else's voice is spoken with."""

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("import")
@click.option(
    "--sovits", type=FILE, help="The SoVITS weights (.pth), from GPT-SoVITS' SoVITS_weights folder."
)
@click.option("--gpt", type=FILE, help="The GPT weights (.ckpt), from its GPT_weights folder.")
@click.option(
    "--ref",
    "clips",
    type=FILE,
    multiple=True,
    help="A clean clip of the voice, 3 to 10 seconds; repeat for more.",
)
@click.option("--ref-text", "texts", multiple=True, help="What is said in the clip; one for each --ref.")
@click.option(
    "--ref-lang",
    "langs",
    multiple=True,
    help="The clip's language: yue, zh, en, ja or ko; one for each, or for all.",
)
@click.option("--name", help="A name for the draft and the voice.")
@click.option("--slug", help="The voice's name in references; made from the name when left out.")
@click.option(
    "--parent",
    "parents",
    multiple=True,
    metavar="VOICE",
    help="A voice that these weights were fine-tuned from, by GPT-SoVITS or anything else; repeat for more.",
)
@click.option("--bundled", is_flag=True, help="Import the small voice that comes with p2pvoice.")
@click.option(
    "--from-gpt-sovits",
    "root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Look through a folder of GPT-SoVITS and show the voices in it, or import one with --voice.",
)
@click.option("--voice", help="With --from-gpt-sovits: which of the voices that it shows.")
@click.option("--all", "every", is_flag=True, help="With --from-gpt-sovits: all that nothing is missing of.")
@json_option
@click.pass_obj
def import_voice(
    output: Output,
    sovits: Path | None,
    gpt: Path | None,
    clips: tuple[Path, ...],
    texts: tuple[str, ...],
    langs: tuple[str, ...],
    name: str | None,
    slug: str | None,
    parents: tuple[str, ...],
    bundled: bool,
    root: Path | None,
    voice: str | None,
    every: bool,
) -> None:
    """Turn your GPT-SoVITS files into a local draft.

    The files are read without running anything in them and stored as safetensors. A draft stays on this
    machine until it is published.
    """
    if root is not None:
        if bundled or (every and (voice or name or slug or parents or sovits or gpt or clips)):
            raise UsageError(
                "these options do not go together", hint="--all takes each voice as it was found"
            )
        refs = references(clips, texts, langs) if clips or texts or langs else []
        wanted = Given(name or "", slug or "", voice or "", every, sovits, gpt, refs, parents)
        from_installation(output, root, wanted)
        return
    if voice or every:
        raise UsageError("--voice and --all go with --from-gpt-sovits", hint="p2pvoice import --help")
    if not name:
        raise UsageError("missing --name", hint="p2pvoice import … --name NAME")
    given = {"--sovits": sovits, "--gpt": gpt, "--ref": clips, "--ref-text": texts, "--ref-lang": langs}
    client = Client()
    if bundled:
        if any(given.values()) or slug or parents:
            raise UsageError(
                "--bundled brings its own files", hint="p2pvoice import --bundled --name " + name
            )
        result = follow(output, client.import_bundled(name))
    else:
        missing = [option for option, value in given.items() if not value]
        if sovits is None or gpt is None or missing:
            raise UsageError(
                f"missing {', '.join(missing)}",
                hint=f"p2pvoice import --help; or: p2pvoice import --bundled --name {name}",
            )
        result = send(output, client, name, slug or "", sovits, gpt, references(clips, texts, langs), parents)
    if output.as_json:
        return
    draft = str(result.get("draft", name))
    output.line(draft)
    if result.get("bytes"):
        output.note(f"draft of {size(result['bytes'])}")
    if parents:
        output.hint(f"p2pvoice show {parents[0]}   (its licence and consent bind what is published)")
        return
    output.hint(f"p2pvoice publish {draft} --tag cantonese --license {LICENCE} --consent self")


def from_installation(output: Output, root: Path, wanted: Given) -> None:
    """Import out of a folder of GPT-SoVITS."""
    from p2pvoice.cli.commands.bring import bring

    said = (wanted.name, wanted.slug, wanted.sovits, wanted.gpt, wanted.clips, wanted.parents)
    if any(said) and not wanted.voice:
        raise UsageError(
            "say which voice is meant", hint=f"p2pvoice import --from-gpt-sovits {root} --voice …"
        )
    made = bring(output, Client(), root, wanted)
    if made and not output.as_json:
        draft = made[0].get("draft", wanted.name)
        output.hint(f"p2pvoice publish {draft} --tag cantonese --license {LICENCE} --consent self")


def references(
    clips: Sequence[Path], texts: Sequence[str], langs: Sequence[str]
) -> list[tuple[Path, str, str]]:
    """Each clip with what is said in it and its language; one language may stand for all."""
    if len(langs) == 1:
        langs = [*langs] * len(clips)
    if not len(clips) == len(texts) == len(langs):
        raise UsageError(
            f"{len(clips)} clips, {len(texts)} texts and {len(langs)} languages do not go together",
            hint="give --ref-text and --ref-lang once for each --ref, in the same order",
        )
    return list(zip(clips, texts, langs, strict=True))


def send(
    output: Output,
    client: Client,
    name: str,
    slug: str,
    sovits: Path,
    gpt: Path,
    clips: Sequence[tuple[Path, str, str]],
    parents: Sequence[str] = (),
) -> dict[str, object]:
    """Send the files of a voice to the daemon, follow the import and return its result."""
    files = (sovits, gpt, *(path for path, _, _ in clips))
    with Progress(output) as progress:
        uploads = [client.upload(path, progress=progress.sending(path)) for path in files]
    first, *more = (
        {"clip": upload, "clip_name": path.name, "text": said, "lang": lang}
        for upload, (path, said, lang) in zip(uploads[2:], clips, strict=True)
    )
    events = client.import_voice(
        name=name, slug=slug, sovits=uploads[0], gpt=uploads[1], **first, more=more, parents=parents
    )
    return follow(output, events)


@click.command()
@click.argument("draft")
@click.option("--tag", "tags", multiple=True, help="A tag, in Chinese or English; repeat for more.")
@click.option("--license", "licence", help="An SPDX licence id, such as CC-BY-4.0.")
@click.option("--consent", "consent", type=click.Choice(SUBJECTS), help="Whose voice it is.")
@click.option(
    "--permission",
    is_flag=True,
    help="State that the speaker permits an AI voice of theirs (self and synthetic imply it).",
)
@click.option("--subject", help="Who the speaker is, with --consent named.")
@click.option("--consent-file", type=FILE, help="The speaker's signed consent (p2pvoice consent sign).")
@click.option(
    "--clips-may-travel",
    is_flag=True,
    help="Publish the reference recordings themselves, not clips that the voice speaks in their place.",
)
@click.option("--description", help="What others read about the voice.")
@json_option
@click.pass_obj
def publish(
    output: Output,
    draft: str,
    tags: tuple[str, ...],
    licence: str | None,
    consent: str | None,
    permission: bool,
    subject: str | None,
    consent_file: Path | None,
    clips_may_travel: bool,
    description: str | None,
) -> None:
    """Sign a draft and announce it to the network.

    Owning a recording is not permission to make an AI voice of its speaker: --consent says whose voice it
    is, and for anyone but yourself --consent-file brings what they signed, or --permission claims that they
    agreed. Publishing without a licence and consent is refused; a fork takes its parent's licence and tags
    when none are given, and cannot loosen what its parent forbids. Recordings of a person stay here unless
    that person lets them travel. What others have fetched cannot be called back.
    """
    client = Client()
    if consent_file is not None and consent_file.stat().st_size > SIGNED_LIMIT:
        raise UsageError(f"{consent_file} is no signed consent: it has more than {SIGNED_LIMIT} bytes")
    upload = client.upload(consent_file) if consent_file is not None else None
    result = follow(
        output,
        client.publish(
            request(
                draft,
                tags,
                licence=licence,
                consent=consent,
                permission=permission,
                subject=subject,
                description=description,
                consent_upload=upload,
                clips_may_travel=clips_may_travel,
            )
        ),
    )
    if output.as_json:
        return
    output.line(str(result.get("release", "")))
    output.note(f"published {result.get('slug', draft)} ({size(result.get('bytes', 0))})")
    taken = inherited(result, tags=tags, licence=licence, consent=consent)
    if taken:
        kinds = {parent.get("kind") for parent in result.get("parents", ())}
        merged = {"revision-of", "merged-from"} <= kinds
        before = "the release before" if merged else "what it was forked from"
        output.note(f"as in {before}: " + ", ".join(taken))
    if (result.get("consent") or {}).get("references_may_travel") is False:
        output.note("recordings stay here: its reference clips are the voice's own speech")
    if result.get("announced") is False:
        output.note("no peer has heard of it yet: it is announced again as soon as one connects")
    settled(output, result.get("proposal"))
    if result.get("proposed_tags"):
        output.note("measured, not used as tags: " + " ".join(result["proposed_tags"]))
    query = f"--tag {tags[0]}" if tags else f'"{result.get("slug", draft)}"'
    output.hint(
        f"p2pvoice find {query}   (on any node; or: p2pvoice show {short_id(str(result.get('release', '')))})"
    )


def inherited(
    result: Mapping[str, Any], *, tags: tuple[str, ...], licence: str | None, consent: str | None
) -> list[str]:
    """What a fork took over from its parent because it was not said."""
    found = []
    if not licence and result.get("license"):
        found.append(f"licence {result['license']}")
    if not tags and result.get("tags"):
        found.append("tags " + bare_tags(result["tags"]))
    if not consent and result.get("consent"):
        found.append(f"consent {result['consent'].get('subject')}")
    return found


def settled(output: Output, proposal: dict[str, Any] | None) -> None:
    """What publishing has said of the proposal that the draft was merged from."""
    if not proposal:
        return
    name = short_operation(proposal["proposal"])
    if proposal.get("error"):
        output.note(f"the proposal {name} stays as it is: {proposal['error'].get('message', '')}")
    else:
        output.note(f"merged the proposal {name}")


def request(
    draft: str,
    tags: tuple[str, ...],
    *,
    licence: str | None,
    consent: str | None,
    permission: bool = False,
    subject: str | None = None,
    description: str | None = None,
    consent_upload: str | None = None,
    clips_may_travel: bool = False,
) -> dict[str, object]:
    """The RPC's request to publish. What was not said is left out: the daemon says what is missing."""
    body: dict[str, object] = {
        "draft": draft,
        "tags": list(tags),
        "ai_voice_permission": permission or consent in PERMISSION_IMPLIED,
        "clips_may_travel": clips_may_travel,
    }
    optional = {
        "license": licence,
        "consent": consent,
        "subject": subject,
        "description": description,
        "consent_upload": consent_upload,
    }
    return body | {name: value for name, value in optional.items() if value is not None}
