"""`speak`: a text in, a labelled audio file out, or sound as it is made.

Follows specs/cli.md, specs/label.md and specs/streaming.md.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
from click.core import ParameterSource

from p2pvoice.cli import playing
from p2pvoice.cli.files import check_output, write_output
from p2pvoice.cli.output import Output, json_option, seconds, size
from p2pvoice.node.rpc.client import AudioStream, Client
from p2pvoice.protocol.errors import UsageError

TEXT_LIMIT = 64 * 1024
"""Bytes of text taken from stdin: about an hour of speech, and the daemon's own limit is lower."""


@click.command()
@click.argument("voice")
@click.argument("text")
@click.option(
    "--lang",
    default="auto",
    show_default=True,
    help="yue, zh, en, ja, ko, or auto / auto_yue for mixed text; ja and ko need 'p2pvoice[ja,ko]'.",
)
@click.option(
    "-o",
    "--output",
    "target",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    default=Path("out.wav"),
    show_default=True,
    help="Where to write the audio; - for stdout.",
)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), help="The same seed speaks the same way again.")
@click.option("--speed", type=click.FloatRange(0.25, 4.0), default=1.0, show_default=True)
@click.option(
    "--reference",
    "references",
    type=click.IntRange(0, 63),
    multiple=True,
    help="Which of the voice's references to speak like; repeat to average their timbre, the first leads.",
)
@click.option("--upstream-text", is_flag=True, help="Read as GPT-SoVITS does where it is wrong, too: 1,234 …")
@click.option(
    "--format",
    "audio_format",
    type=click.Choice(["wav", "flac"]),
    help="Default: what the output's name ends with, else wav.",
)
@click.option("--play", is_flag=True, help="Play it while it is made, instead of writing a file.")
@json_option
@click.pass_context
def speak(
    ctx: click.Context,
    voice: str,
    text: str,
    lang: str,
    target: Path,
    seed: int | None,
    speed: float,
    references: tuple[int, ...],
    upstream_text: bool,
    audio_format: str | None,
    play: bool,
) -> None:
    """Speak TEXT with an installed voice (- reads the text from stdin).

    The audio file says in its own metadata that it is synthetic, and with which release it was made. With
    --play, and with -o - into a pipe, sound comes while the text is still being spoken.
    """
    output: Output = ctx.obj
    if play and ctx.get_parameter_source("target") is not ParameterSource.DEFAULT:
        raise UsageError("--play writes no file", hint="leave out --play or -o")
    program = playing.player() if play else ""
    if text == "-":
        raw = sys.stdin.buffer.read(TEXT_LIMIT + 1)
        if len(raw) > TEXT_LIMIT:
            raise UsageError(
                f"the text on stdin is longer than {TEXT_LIMIT} bytes", hint="speak it chapter by chapter"
            )
        text = raw.decode("utf-8", "replace").strip()
    if str(target) == "-" and sys.stdout.isatty() and not play:
        raise UsageError("audio would go to the terminal", hint="p2pvoice speak … -o out.wav")
    check_output(target)
    chosen = audio_format or ("flac" if target.suffix.lower() == ".flac" else "wav")
    piped = str(target) == "-" and chosen == "wav" and playing.is_stream(sys.stdout.fileno())
    if play or piped:
        chosen = "pcm" if play else "wav"
    started = time.monotonic()
    asked = request(
        voice,
        text,
        lang,
        seed=seed,
        speed=speed,
        references=references,
        audio_format=chosen,
        upstream_text=upstream_text,
    )
    if play or piped:
        with Client().speak_stream(asked) as sound:
            pieces = heard(output, sound, started, playing_it=play)
            if play:
                playing.play(program, sound.rate, pieces)
            else:
                playing.pour(pieces)
        return
    spoken = Client().speak(asked)
    took = time.monotonic() - started
    write_output(target, spoken.data)
    if str(target) == "-":
        return
    if output.as_json:
        output.document(
            {
                "file": str(target),
                "bytes": len(spoken.data),
                "release": spoken.release,
                "missing_base": spoken.missing_base,
                "audio_seconds": spoken.seconds,
                "seconds": round(took, 3),
            }
        )
        return
    output.line(str(target))
    if spoken.missing_base:
        output.note("the Chinese BERT is not installed, so Mandarin sounds flatter than it could")
        output.hint(f"p2pvoice base fetch {spoken.missing_base}")
    output.note(f"{seconds(spoken.seconds)} of speech ({size(len(spoken.data))}) in {seconds(took)}")
    output.hint(f"p2pvoice inspect {target}")


def heard(output: Output, sound: AudioStream, started: float, *, playing_it: bool) -> Iterator[bytes]:
    """The pieces of a stream, telling when the first one came and, at the end, of all of them."""
    first, size = 0.0, 0
    for piece in sound:
        if not size:
            first = time.monotonic() - started
            if not output.as_json:
                output.note(f"first audio after {first * 1000:.0f} ms")
        size += len(piece)
        yield piece
    took, length = time.monotonic() - started, size / 2 / sound.rate
    if output.as_json and playing_it:
        output.document(
            {
                "release": sound.headers.get("x-release-id", ""),
                "audio_seconds": round(length, 3),
                "first_audio_seconds": round(first, 3),
                "seconds": round(took, 3),
            }
        )
    elif not output.as_json:
        output.note(f"{seconds(length)} of speech in {seconds(took)}")


def request(
    voice: str,
    text: str,
    lang: str,
    *,
    seed: int | None = None,
    speed: float = 1.0,
    references: tuple[int, ...] = (),
    audio_format: str = "wav",
    upstream_text: bool = False,
) -> dict[str, object]:
    """The RPC's request to speak; without a seed the daemon draws one."""
    body: dict[str, object] = {
        "voice": voice,
        "text": text,
        "lang": lang,
        "speed": speed,
        "format": audio_format,
    }
    if references:
        body |= {"reference": references[0], "also_references": list(references[1:])}
    if upstream_text:
        body["upstream_text"] = True
    return body if seed is None else {**body, "seed": seed}
