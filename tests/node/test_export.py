"""A Pro voice from its author's files to a listener who has no base, and out again on both machines."""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from click.testing import CliRunner

from p2pvoice.cli.commands.export import unpack
from p2pvoice.cli.main import cli
from p2pvoice.cli.output import Output
from p2pvoice.protocol.errors import ConflictError, DaemonUnavailableError, NotFoundError, UsageError
from p2pvoice.sovits.checkpoint import read_checkpoint

from ..sovits import bench
from .nodes import CHECKPOINTS, TEXT, Daemon, install_encoder, publish, refusal


@pytest.fixture(scope="module")
def pair(
    encoder: Path, clip: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Daemon, Daemon]]:
    """An author with a v2Pro voice of two references, published, and a listener who fetched it."""
    with (
        TemporaryDirectory(prefix="p2pv-", ignore_cleanup_errors=True) as one,
        TemporaryDirectory(prefix="p2pv-", ignore_cleanup_errors=True) as other,
    ):
        author, listener = Daemon(Path(one)), Daemon(Path(other))
        try:
            author.start()
            prepare(author, listener.start(author), encoder, clip, tmp_path_factory.mktemp("pro"))
            yield author, listener
        finally:
            for daemon in (author, listener):
                if daemon.process is not None:
                    daemon.end()


def prepare(author: Daemon, listener: Daemon, encoder: Path, clip: Path, folder: Path) -> None:
    """Import with every base that is needed, publish, fetch."""
    install_encoder(author, encoder)
    network = bench.published_speaker(folder / "sv")
    files = {path.name: author.client.upload(path) for path in network.iterdir()}
    *_, added = author.client.add_base("sv", files)
    assert added["kind"] == "speaker"
    sovits, gpt, first, second = (
        author.client.upload(path)
        for path in (CHECKPOINTS / "tiny_v2Pro.pth", CHECKPOINTS / "tiny_v2.ckpt", clip, clip)
    )
    *_, draft = author.client.import_voice(
        name="Pro",
        sovits=sovits,
        gpt=gpt,
        clip=first,
        clip_name="clip.wav",
        text=TEXT,
        lang="yue",
        more=[{"clip": second, "clip_name": "clip.wav", "text": "你好，你好", "lang": "zh"}],
    )
    release = publish(author, draft["draft"])["release"]
    *_, fetched = listener.client.fetch(release)
    assert fetched["release"] == release


def exported(daemon: Daemon, what: dict[str, str], target: Path) -> dict[str, bytes]:
    place, files = unpack(daemon.client.export(what, "gpt-sovits"), target)
    return {str(path.relative_to(place)): path.read_bytes() for path in files}


def test_a_pro_voice_travels_speaks_and_comes_out_again(pair: tuple[Daemon, Daemon], tmp_path: Path) -> None:
    author, listener = pair
    (voice,) = listener.client.voices()
    shown = listener.client.show(voice["release"])
    assert shown["engine"]["version"] == "v2Pro"
    assert shown["engine"]["bases"]["speaker"] == "speaker"
    # The listener has neither content encoder nor speaker network.
    body = {"voice": voice["release"], "text": "好", "lang": "yue", "top_k": 65, "temperature": 2.0}
    body["seed"] = 3
    alone, both = (
        listener.client.speak({**body, **more}) for more in ({}, {"reference": 0, "also_references": [1]})
    )
    assert alone.seconds == both.seconds > 0.4
    assert alone.data != both.data
    for wrong in ([64], [-1], ["0"], [True], "0", [0] * 17):
        assert isinstance(
            refusal(lambda wrong=wrong: listener.client.speak({**body, "also_references": wrong})), UsageError
        )
    assert isinstance(refusal(lambda: listener.client.speak({**body, "also_references": [2]})), UsageError)

    draft = exported(author, {"draft": "pro"}, tmp_path / "draft")
    given = exported(listener, {"voice": voice["release"]}, tmp_path / "given")
    assert list(given) == [
        "pro.pth", "pro.ckpt", "reference/0.wav", "reference/1.wav", "pro.list", "TERMS.txt",
    ]  # fmt: skip
    assert {name: data for name, data in given.items() if name != "TERMS.txt"} == {
        name: data for name, data in draft.items() if name != "TERMS.txt"
    }
    terms = given["TERMS.txt"].decode()
    assert voice["release"] in terms
    assert "licence: CC-BY-4.0" in terms
    assert "whose voice: synthetic" in terms
    assert "not published" in draft["TERMS.txt"].decode()
    brought = read_checkpoint(CHECKPOINTS / "tiny_v2Pro.pth").tensors
    back = read_checkpoint(tmp_path / "given" / "pro.pth").tensors
    assert all(torch.equal(back[name], tensor) for name, tensor in brought.items())

    refused = {
        "unknown": ({"voice": "nobody"}, "gpt-sovits", NotFoundError),
        "no form": ({"draft": "pro"}, "onnx", UsageError),
        "both": ({"draft": "pro", "voice": "pro"}, "gpt-sovits", UsageError),
        "neither": ({}, "gpt-sovits", UsageError),
    }
    for what, form, kind in refused.values():
        assert isinstance(refusal(lambda what=what, form=form: list(author.client.export(what, form))), kind)


def test_the_command_writes_a_new_folder_whole_or_not_at_all(
    pair: tuple[Daemon, Daemon], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = pair[1]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("P2PVOICE_HOME", str(listener.home))
    (voice,) = listener.client.voices()
    ran = CliRunner().invoke(cli, ["export", voice["release"], "--json"], obj=Output(as_json=True))
    assert ran.exit_code == 0, ran.output
    told = json.loads(ran.stdout)
    assert told["folder"] == "pro"
    assert told["files"][0] == "pro.pth"
    assert told["bytes"] == sum(path.stat().st_size for path in Path("pro").rglob("*.*") if path.is_file())
    # What is there stays, and what is refused leaves nothing.
    before = sorted(path.name for path in tmp_path.iterdir())
    for target in (None, Path("pro")):
        with pytest.raises(ConflictError):
            unpack(listener.client.export({"voice": voice["release"]}, "gpt-sovits"), target)
    with pytest.raises(NotFoundError):
        unpack(listener.client.export({"voice": "nobody"}, "gpt-sovits"), Path("new"))
    whole = b"".join(listener.client.export({"voice": voice["release"]}, "gpt-sovits"))
    for data in (whole[:1000], whole[: len(whole) - 3000], whole[:-3584], b"", b"x" * 2048):
        with pytest.raises(DaemonUnavailableError):
            unpack(iter([data]), Path("new"))
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_an_archive_that_reaches_out_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, kind in (("../out", tarfile.REGTYPE), ("x/link", tarfile.SYMTYPE), ("/abs", tarfile.REGTYPE)):
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = kind, "/etc/passwd"
        last = tarfile.TarInfo("x/TERMS.txt")
        with pytest.raises((DaemonUnavailableError, UsageError)):
            unpack(iter([entry.tobuf(), last.tobuf(), bytes(1024)]), tmp_path / "target")
        assert list(tmp_path.iterdir()) == []
