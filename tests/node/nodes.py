"""Helpers of the tests with real daemons: one process and one home each, on loopback.

The voices are tiny and say nothing intelligible, but they go through every step that a real one goes
through: upstream-format checkpoints, a content encoder installed as a base, import, publish.
"""

import json
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from p2pvoice.node.rpc.client import Client
from p2pvoice.protocol.errors import P2PVoiceError
from p2pvoice.sovits.checkpoint import read_checkpoint
from p2pvoice.sovits.hubert import HubertSettings

LOOPBACK = "/ip4/127.0.0.1/tcp/0"
CHECKPOINTS = Path(__file__).parent.parent / "golden" / "checkpoints" / "good"

#: A content encoder of the width that the tiny golden checkpoints were made for.
ENCODER = HubertSettings(
    conv_dims=(8,) * 7, width=48, heads=4, layers=2, feed_forward=96, position_kernel=16, position_groups=4
)

TEXT = "今日天氣好好。"

PATIENCE = 60.0
"""Seconds until something that peers do by themselves must have happened."""

PROGRAM = ("-m", "p2pvoice.node.daemon")
"""What Python is told to run as a daemon."""


@dataclass
class Daemon:
    """A daemon process and its home."""

    home: Path
    process: "subprocess.Popen[bytes] | None" = None
    addresses: list[str] = field(default_factory=list)
    peer_id: str = ""

    @property
    def client(self) -> Client:
        return Client(self.home, timeout=120)

    @property
    def log(self) -> str:
        return (self.home / "daemon.log").read_text()

    def start(self, *bootstrap: "Daemon", file_limit: int = 0, program: Sequence[str] = PROGRAM) -> "Daemon":
        """Start it and wait for its ready line; ``program`` is what runs in the place of the daemon."""
        command = [sys.executable, *program, "--home", str(self.home), "--listen", LOOPBACK]
        for other in bootstrap:
            command += ["--bootstrap", other.addresses[0]]

        def limits() -> None:
            if file_limit:
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))

        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=limits, start_new_session=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            _, errors = self.process.communicate()
            raise AssertionError(f"the daemon did not start: {errors.decode()}")
        ready = json.loads(line)
        self.addresses, self.peer_id = ready["addresses"], ready["peer_id"]
        return self

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send it a signal and wait until it is gone; its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(30)
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()
        self.process = None
        return code

    def meet(self, other: "Daemon") -> None:
        """Connect it to another one."""
        self.client.connect(other.addresses[0])


def install_encoder(daemon: Daemon, encoder: Path) -> None:
    """Add the content encoder as a base, as `p2pvoice base add` does."""
    files = {path.name: daemon.client.upload(path) for path in encoder.iterdir()}
    list(daemon.client.add_base("chinese-hubert-base", files, license="MIT"))


def bring(
    daemon: Daemon,
    clip: Path,
    *,
    gpt: Path = CHECKPOINTS / "tiny_v2.ckpt",
    name: str = "Storyteller",
    parents: Sequence[str] = (),
) -> Any:
    """Import the tiny voice, or one with another GPT, as a draft; its result event."""
    client = daemon.client
    uploads = [client.upload(path) for path in (CHECKPOINTS / "tiny_v2.pth", gpt, clip)]
    *_, result = client.import_voice(
        name=name,
        sovits=uploads[0],
        gpt=uploads[1],
        clip=uploads[2],
        clip_name=clip.name,
        text=TEXT,
        lang="yue",
        parents=parents,
    )
    return result


def publish(daemon: Daemon, draft: str = "storyteller", **changed: object) -> Any:
    """Publish a draft; its result event."""
    body: dict[str, object] = {
        "draft": draft,
        "tags": ["cantonese", "male", "narration"],
        "license": "CC-BY-4.0",
        # A voice of nobody: what it was given as a clip is no recording of a person, so it travels as it is.
        "consent": "synthetic",
        "ai_voice_permission": True,
        "description": "溫暖嘅聲，啱講故事。",
    }
    *_, result = daemon.client.publish(body | changed)
    return result


def refusal(call: Callable[[], object]) -> P2PVoiceError:
    """The error that a call ends with."""
    with pytest.raises(P2PVoiceError) as caught:
        call()
    return caught.value


def eventually(look: Callable[[], Any]) -> Any:
    """What ``look`` returns as soon as that is true; it is asked again and again until then."""
    end = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)
    return found


def large_gpt(path: Path, *, feed: int, seed: int, layers: int = 2) -> Path:
    """A GPT checkpoint in upstream's form with random weights; a layer has ``feed`` * 128 bytes."""
    tiny = read_checkpoint(CHECKPOINTS / "tiny_v2.ckpt")
    generator = torch.Generator().manual_seed(seed)
    first = "model.h.layers.0."
    tensors = {name: tensor for name, tensor in tiny.tensors.items() if ".layers." not in name}
    for layer in range(layers):
        block = {name: tensor for name, tensor in tiny.tensors.items() if name.startswith(first)}
        tensors |= {name.replace(".0.", f".{layer}.", 1): tensor for name, tensor in block.items()}
    weight = {}
    for name, tensor in tensors.items():
        shape = [feed if size == 128 and ".linear" in name else size for size in tensor.shape]
        if list(tensor.shape) == shape:
            weight[name] = tensor.clone().half()
        else:
            weight[name] = (torch.randn(shape, generator=generator) * 0.01).half()
    config = {"model": {"head": tiny.settings.heads}, "data": {}}
    torch.save({"weight": weight, "config": config, "info": "GPT-e1"}, path)
    return path


def running(pid: int) -> bool:
    """Whether a process still runs (a zombie does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (OSError, IndexError):
        return False
    return state != "Z"
