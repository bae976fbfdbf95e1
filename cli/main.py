"""The entry point: finds the command, runs it, and turns whatever happens into an exit code.

Commands are imported when they are typed, not before: `p2pvoice --help` reads its one-line texts from the
table below, so it costs little more than Python's own start. This file holds no behaviour of any command.
Follows specs/cli.md.
"""

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from p2pvoice.cli.errors import exit_code_of, report
from p2pvoice.cli.output import Output, json_option
from p2pvoice.protocol.errors import UsageError

# name -> (module, attribute, one line for --help), in the order in which a newcomer meets them.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "demo": ("p2pvoice.cli.commands.demo", "demo", "Run the whole path between three nodes on this machine."),
    "daemon": ("p2pvoice.cli.commands.daemon", "daemon", "Run, start, stop or ask about this node's daemon."),
    "status": ("p2pvoice.cli.commands.network", "status", "Show what the running daemon is doing."),
    "open": ("p2pvoice.cli.commands.page", "open_page", "Open this node's page in your browser."),
    "doctor": (
        "p2pvoice.cli.commands.doctor",
        "doctor",
        "Check this node and this machine, and say what to do about each finding.",
    ),
    "api": (
        "p2pvoice.cli.commands.api",
        "api",
        "Let programs made for OpenAI's or GPT-SoVITS's API speak.",
    ),
    "import": (
        "p2pvoice.cli.commands.publish",
        "import_voice",
        "Turn your GPT-SoVITS files into a local draft.",
    ),
    "train": ("p2pvoice.cli.commands.training", "train", "Train a voice from a minute of recordings."),
    "trainings": (
        "p2pvoice.cli.commands.training",
        "trainings",
        "List trainings, stop one, or delete one with its clips.",
    ),
    "tune": (
        "p2pvoice.cli.commands.training",
        "tune",
        "Tune a voice with recorded sentences that it gets wrong.",
    ),
    "distil": (
        "p2pvoice.cli.commands.training",
        "distil",
        "Distil a voice into a lite one that is small and fast.",
    ),
    "describe": (
        "p2pvoice.cli.commands.measuring",
        "describe",
        "Describe a draft or a recording by measurement.",
    ),
    "similarity": (
        "p2pvoice.cli.commands.measuring",
        "similarity",
        "Tell how alike two speakers are: voices, drafts or recordings.",
    ),
    "stability": ("p2pvoice.cli.commands.measuring", "stability", "Tell how well a voice stays itself."),
    "consent": (
        "p2pvoice.cli.commands.consent",
        "consent",
        "Sign a consent to an AI voice of yours, or show one.",
    ),
    "diff": ("p2pvoice.cli.commands.merging", "diff", "Show what differs between two voices."),
    "merge": ("p2pvoice.cli.commands.merging", "merge", "Merge a proposal or a release into your voice."),
    "publish": ("p2pvoice.cli.commands.publish", "publish", "Sign a draft and announce it to the network."),
    "find": ("p2pvoice.cli.commands.voices", "find", "Find voices by tag or free text."),
    "show": ("p2pvoice.cli.commands.show", "show", "Show everything a release says about itself."),
    "card": ("p2pvoice.cli.commands.card", "card", "Print a release's card as Markdown."),
    "listen": (
        "p2pvoice.cli.commands.show",
        "listen",
        "Get a voice's preview clip before fetching the voice.",
    ),
    "fetch": ("p2pvoice.cli.commands.fetch", "fetch", "Fetch a voice from the peers that hold it."),
    "fork": ("p2pvoice.cli.commands.lineage", "fork", "Fork a voice into a draft of your own."),
    "lineage": (
        "p2pvoice.cli.commands.lineage",
        "lineage",
        "Draw what a voice was made from, and what was made from it.",
    ),
    "update": ("p2pvoice.cli.commands.fetch", "update", "Fetch the latest release of installed voices."),
    "speak": ("p2pvoice.cli.commands.speak", "speak", "Speak a text with an installed voice."),
    "bench": ("p2pvoice.cli.commands.bench", "bench", "Measure speaking and updates on this machine."),
    "pronounce": (
        "p2pvoice.cli.commands.pronounce",
        "pronounce",
        "How words are read: your own dictionary, and that of a voice.",
    ),
    "export": (
        "p2pvoice.cli.commands.export",
        "export",
        "Write a voice or a draft as the files that GPT-SoVITS loads.",
    ),
    "list": ("p2pvoice.cli.commands.voices", "list_voices", "List installed voices and your own."),
    "pin": ("p2pvoice.cli.commands.mirror", "pin", "Pin a voice, so that nothing lets go of it."),
    "unpin": ("p2pvoice.cli.commands.mirror", "unpin", "Unpin a voice."),
    "seed": ("p2pvoice.cli.commands.mirror", "seed", "Offer a voice to others, or stop that."),
    "mirror": (
        "p2pvoice.cli.commands.mirror",
        "mirror",
        "Keep the voices of an author or a tag alive, and show how that stands.",
    ),
    "rm": ("p2pvoice.cli.commands.voices", "rm", "Remove a voice from this node."),
    "verify": (
        "p2pvoice.cli.commands.upkeep",
        "verify",
        "Check the stored files of voices and repair damaged ones.",
    ),
    "gc": ("p2pvoice.cli.commands.upkeep", "gc", "Free the space of files that no voice needs."),
    "star": ("p2pvoice.cli.commands.community", "star", "Star a voice."),
    "unstar": ("p2pvoice.cli.commands.community", "unstar", "Take your star back."),
    "comment": (
        "p2pvoice.cli.commands.community",
        "comment",
        "Comment on a voice, answer a comment, or read the thread.",
    ),
    "issue": (
        "p2pvoice.cli.commands.issues",
        "issue",
        "Open, list, show, label and close issues of a voice.",
    ),
    "log": ("p2pvoice.cli.commands.community", "log", "Show what was said and done about a voice."),
    "propose": ("p2pvoice.cli.commands.proposals", "propose", "Offer a voice of yours for another one."),
    "proposals": (
        "p2pvoice.cli.commands.proposals",
        "proposals",
        "List what was proposed for a voice, or show one proposal.",
    ),
    "review": ("p2pvoice.cli.commands.proposals", "review", "Accept or reject a proposal."),
    "credits": ("p2pvoice.cli.commands.community", "credits", "Count what an author has given."),
    "evaluate": (
        "p2pvoice.cli.commands.evaluate",
        "evaluate",
        "Measure all voices of a collection and write a table.",
    ),
    "collection": (
        "p2pvoice.cli.commands.collections",
        "collection",
        "Lists of voices with one card: an archive of a dialect, a set for research.",
    ),
    "revoke": ("p2pvoice.cli.commands.recall", "revoke", "Call back a voice of yours, or one that is yours."),
    "revocations": ("p2pvoice.cli.commands.recall", "revocations", "List what was revoked, by whom and why."),
    "follow": ("p2pvoice.cli.commands.following", "follow_author", "Follow an author's key."),
    "unfollow": ("p2pvoice.cli.commands.following", "unfollow", "Unfollow an author."),
    "following": ("p2pvoice.cli.commands.following", "following", "List the authors you follow."),
    "key": ("p2pvoice.cli.commands.keys", "key", "Show, lock, export, import or rotate your author key."),
    "peers": (
        "p2pvoice.cli.commands.network",
        "peers",
        "List the peers this node knows, and why any was dropped.",
    ),
    "limit": (
        "p2pvoice.cli.commands.limit",
        "limit",
        "Show how fast chunks may leave and come, or change it.",
    ),
    "connect": ("p2pvoice.cli.commands.network", "connect", "Connect to a peer by its multiaddress."),
    "base": (
        "p2pvoice.cli.commands.bases",
        "base",
        "Add, share and fetch base models (HuBERT, speaker network, BERT, recogniser).",
    ),
    "inspect": (
        "p2pvoice.cli.commands.inspect",
        "inspect",
        "Read a file's AIGC label or safetensors header.",
    ),
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one only to run it or to show its own help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            raise UsageError(
                f"no such command: {args[0]}", hint=f"p2pvoice {close[0] if close else '--help'}"
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])


def _show_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        # importlib.metadata costs 30 ms: it is paid by those who ask.
        from importlib.metadata import version

        click.echo(f"p2pvoice {version('p2pvoice')}")
        ctx.exit()


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
@click.option("--home", type=click.Path(file_okay=False), help="The node's home (default: $P2PVOICE_HOME).")
@click.option("-q", "--quiet", is_flag=True, help="No notes, hints or progress on stderr; errors stay.")
@json_option
@click.pass_obj
def cli(output: Output, home: str | None, quiet: bool) -> None:
    """Publish, find, fetch and speak with GPT-SoVITS voices, from peer to peer, without a server.

    Start here: `p2pvoice demo`. VOICE is a release id, AUTHOR/SLUG, or an unambiguous beginning of either.
    """
    output.quiet = output.quiet or quiet
    if home:
        os.environ["P2PVOICE_HOME"] = os.path.abspath(home)


def run(args: Sequence[str], output: Output) -> int:
    """Run one command line and return its exit code; every error has been reported by then."""
    try:
        result: Any = cli.main(args=list(args), prog_name="p2pvoice", standalone_mode=False, obj=output)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output went away (`p2pvoice list | head`): there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except BaseException as error:
        report(error, output)
        return exit_code_of(error)
    return result if isinstance(result, int) else 0


def main() -> None:
    """The console script."""
    args = sys.argv[1:]
    # A mistake in the command line itself must be told in the form that was asked for, so `--json` is seen
    # before anything is parsed.
    sys.exit(run(args, Output(as_json="--json" in args)))


if __name__ == "__main__":
    main()
