"""A Pro voice from its author's files to a listener who has no base, and out again on both machines."""

import io
import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from click.testing import CliRunner, Result

from p2pvoice.cli.commands.export import unpack
from p2pvoice.cli.main import cli
from p2pvoice.cli.output import Output
from p2pvoice.protocol.errors import ConflictError, DaemonUnavailableError, NotFoundError, UsageError
from p2pvoice.sovits.checkpoint import read_checkpoint

from ..cli.gpt_sovits import installation
from ..sovits import bench
from .nodes import CHECKPOINTS, Daemon, publish, refusal


@pytest.fixture(scope="module")
def pair(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Daemon, Daemon]]:
    """An author with a v2Pro voice of three references, published, and a listener who fetched it."""
    with (
        TemporaryDirectory(prefix="p2pv-", ignore_cleanup_errors=True) as one,
        TemporaryDirectory(prefix="p2pv-", ignore_cleanup_errors=True) as other,
    ):
        author, listener = Daemon(Path(one)), Daemon(Path(other))
        try:
            author.start()
            prepare(author, listener.start(author), encoder, tmp_path_factory.mktemp("pro"))
            yield author, listener
        finally:
            for daemon in (author, listener):
                if daemon.process is not None:
                    daemon.end()


def prepare(author: Daemon, listener: Daemon, encoder: Path, folder: Path) -> None:
    """Import out of a folder of GPT-SoVITS with every base that lies there, publish, fetch."""
    root = installation(folder / "GPT-SoVITS")
    models = root / "GPT_SoVITS" / "pretrained_models"
    shutil.copytree(encoder, models / "chinese-hubert-base")
    bench.published_speaker(models / "sv")
    shown = run(author, "import", "--from-gpt-sovits", str(root))
    assert [line.split()[0] for line in shown.stdout.splitlines()[1:]] == [
        "alone", "narrator-v2", "narrator-v2Pro", "later",
    ]  # fmt: skip
    assert author.client.bases() == []
    told = run(author, "import", "--from-gpt-sovits", str(root), "--voice", "narrator-v2Pro", "--name", "Pro")
    assert told.stdout == "pro\n"
    assert "narrator_e8_s200.pth, narrator-e15.ckpt, b.wav_0.wav, a.wav_0.wav, f.wav_0.wav" in told.stderr
    assert "output/asr_opt/slicer_opt.list" in told.stderr
    assert {row["kind"] for row in author.client.bases()} == {"hubert", "speaker"}
    release = publish(author, "pro")["release"]
    *_, fetched = listener.client.fetch(release)
    assert fetched["release"] == release


def run(daemon: Daemon, *words: str) -> Result:
    """A command against one daemon, which must succeed."""
    output, home = Output(as_json="--json" in words), {"P2PVOICE_HOME": str(daemon.home)}
    ran = CliRunner().invoke(cli, words, obj=output, env=home)
    assert ran.exit_code == 0, (ran.output, ran.exception)
    return ran


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
        listener.client.speak({**body, **more}) for more in ({}, {"reference": 0, "also_references": [1, 2]})
    )
    assert alone.seconds == both.seconds > 0.4
    assert alone.data != both.data
    for wrong in ([64], [-1], ["0"], [True], "0", [0] * 17):
        assert isinstance(
            refusal(lambda wrong=wrong: listener.client.speak({**body, "also_references": wrong})), UsageError
        )
    assert isinstance(refusal(lambda: listener.client.speak({**body, "also_references": [3]})), UsageError)

    draft = exported(author, {"draft": "pro"}, tmp_path / "draft")
    given = exported(listener, {"voice": voice["release"]}, tmp_path / "given")
    assert list(given) == [
        "pro.pth", "pro.ckpt", "reference/0.wav", "reference/1.wav", "reference/2.wav", "pro.list",
        "TERMS.txt",
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

    sent = {"name": "x", "sovits": "0" * 32, "gpt": "0" * 32, "clip": "0" * 32, "text": "x", "lang": "zh"}
    for more in ("x", {"clip": "0" * 32}, ["x"], [{}], [{"clip": "x", "text": "x", "lang": "zh"}] * 16):
        body = {**sent, "more": more}
        asked = refusal(lambda body=body: list(author.client.stream("POST", "/v1/drafts", body)))
        assert isinstance(asked, UsageError)
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
    (voice,) = listener.client.voices()
    told = json.loads(run(listener, "export", voice["release"], "--plain-config", "--json").stdout)
    data = Path("pro", "pro.pth").read_bytes()
    config = torch.load(io.BytesIO(b"PK" + data[2:]), weights_only=True)["config"]
    assert config["model"]["version"] == "v2Pro"
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
