"""Japanese and Korean through a real daemon: the sandboxed worker speaks, or the missing extra is named."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from p2pvoice.protocol.errors import UnsupportedLanguageError, UsageError
from p2pvoice.protocol.label import read_label

from .nodes import CHECKPOINTS, Daemon, bring, install_encoder, publish, refusal

SAID = {
    "ja": "こんにちは、元気ですか。",
    "ko": "안녕하세요, 반갑습니다.",
    "auto": "你好。こんにちは！안녕하세요.",
}
DICTIONARIES = {"ja": "pyopenjtalk", "ko": "mecab"}


def test_the_worker_speaks_them(daemons: Callable[[], Daemon], encoder: Path, clip: Path) -> None:
    for dictionary in DICTIONARIES.values():
        pytest.importorskip(dictionary)
    daemon = daemons().start()
    install_encoder(daemon, encoder)
    client = daemon.client
    *_, draft = client.import_voice(
        name="Hanako",
        sovits=client.upload(CHECKPOINTS / "tiny_v2.pth"),
        gpt=client.upload(CHECKPOINTS / "tiny_v2.ckpt"),
        clip=client.upload(clip),
        clip_name=clip.name,
        text=SAID["ja"],
        lang="ja",
    )
    assert draft["languages"] == ["ja"]
    for lang, text in SAID.items():
        spoken = client.speak({"draft": "hanako", "text": text, "lang": lang, "seed": 1})
        assert read_label(spoken.data) is not None
        assert float(spoken.headers["x-audio-seconds"]) > 0.3
    # The dictionaries were read in the room of a sandbox, without a word from them.
    held = client.status()["worker"]["sandbox"]
    assert held["sandbox"] in ("landlock+seccomp", "landlock", "seccomp")
    assert "WARNING" not in daemon.log
    # The preview is spoken in the voice's own language, which is also what it speaks when none is named.
    release = publish(daemon, "hanako", tags=["日语"])["release"]
    found = client.show(release)
    assert (found["languages"], found["tags"]) == (["ja"], ["language/ja"])
    spoken = client.speak({"voice": release, "text": "はい、そうです。"})
    assert float(spoken.headers["x-audio-seconds"]) > 0.3
    # No lite voice can be taught Japanese; it is not taught another language instead.
    refused = refusal(lambda: list(client.distil({"voice": release, "name": "small"})))
    assert isinstance(refused, UsageError)
    assert "speaks ja" in refused.message
    assert "--lang yue" in refused.hint


def test_without_the_extras_the_command_is_named(
    daemons: Callable[[], Daemon], encoder: Path, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Empty packages of those names come first on the path, so that installed ones are not found."""
    for dictionary in DICTIONARIES.values():
        (tmp_path / "path" / dictionary).mkdir(parents=True)
        (tmp_path / "path" / dictionary / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "path"))
    daemon = daemons().start()
    install_encoder(daemon, encoder)
    bring(daemon, clip)
    release = publish(daemon)["release"]
    for lang, language in (("ja", "Japanese"), ("ko", "Korean")):
        asked = {"voice": release, "text": SAID[lang], "lang": lang}
        assert isinstance(refusal(lambda asked=asked: daemon.client.speak(asked)), UnsupportedLanguageError)
        ran = subprocess.run(
            [sys.executable, "-m", "p2pvoice.cli.main", "speak", release, SAID[lang], "--lang", lang],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "P2PVOICE_HOME": str(daemon.home)},
            timeout=120,
            check=False,
        )
        assert ran.stderr.splitlines() == [
            f"error: {language} needs a dictionary that is not installed",
            f"hint: pip install 'p2pvoice[{lang}]'",
        ]
        assert (ran.returncode, ran.stdout, (tmp_path / "out.wav").exists()) == (1, "", False)
    # The worker lives on and speaks what it can.
    assert daemon.client.speak({"voice": release, "text": "Good evening.", "lang": "en"}).data
