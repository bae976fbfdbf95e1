"""No path that a caller names is opened: names that are paths, in every field that upstream takes for one."""

import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from ..node.nodes import Daemon, publish
from .caller import Caller

WATCHED = Path(__file__).parent / "watched_daemon.py"

NAMES = (
    "{file}", "../../../../../../..{file}", "./参考音频/../..{file}", "file://{file}", "{link}",
    "{link}/x.wav", "storyteller/../../OUTSIDE.wav", "..\\..\\OUTSIDE.wav", "C:\\OUTSIDE.ckpt",
    "http://127.0.0.1:1/OUTSIDE.wav", "%2e%2e%2fOUTSIDE.wav", "OUTSIDE.wav\0", "~/OUTSIDE.wav",
    "\\\\host\\OUTSIDE.wav", "|cat OUTSIDE", "OUTSIDE", "voices/OUTSIDE", "keys/author.key",
)  # fmt: skip
"""``file`` is there and ``link`` leads to it: whoever opened either would wait for a writer for ever."""


def test_no_path_that_a_caller_names_is_opened(daemons: Callable[[], Daemon], tmp_path: Path) -> None:
    seen, outside = tmp_path / "seen", tmp_path / "OUTSIDE.wav"
    os.mkfifo(outside)
    one = daemons().start(program=(str(WATCHED), str(seen)))
    (one.home / "LINK-OUTSIDE.wav").symlink_to(outside)
    *_, draft = one.client.import_bundled("Storyteller")
    publish(one, draft["draft"])
    one.client.open_api(port=0)
    api, before = Caller(one), len(seen.read_bytes())
    assert b"author.key" in seen.read_bytes(), "nothing is seen at all"
    for name in NAMES:
        path = name.format(file=outside, link=one.home / "LINK-OUTSIDE.wav")
        body = {"text": "Yes.", "ref_audio_path": path, "aux_ref_audio_paths": [path], "prompt_text": path}
        # Without a voice of that name the only one speaks, as with any clip of theirs.
        assert api.ask("POST", "/tts", body).status == 200
        for field in ("target_voice", "media_type", "text_split_method", "text_lang"):
            assert api.ask("POST", "/", body | {field: path}).status == 400
        assert api.ask("POST", "/v1/audio/speech", {"input": "Yes.", "voice": path}).status == 404
        assert api.ask("GET", "/tts?text=Yes&ref_audio_path=" + quote(path)).status == 200
        for query in (
            "/set_gpt_weights?weights_path=", "/set_sovits_weights?weights_path=",
            "/set_refer_audio?refer_audio_path=",
        ):  # fmt: skip
            assert api.ask("GET", query + quote(path)).status == 400
        assert api.ask("GET", "/" + quote(path)).status in (400, 404)
    touched = seen.read_bytes()[before:].decode("utf-8", "replace")
    assert "OUTSIDE" not in touched
    assert "author.key" not in touched
