"""The worker's sandbox, tried from inside: what it takes away, and that it was there to be taken."""

import errno
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from p2pvoice.node import written
from p2pvoice.node.config import Config, WorkerConfig
from p2pvoice.node.engine import Engine
from p2pvoice.node.paths import Home
from p2pvoice.node.rooms import speaking_room, training_room
from p2pvoice.node.sandbox import limits, seccomp, syscalls
from p2pvoice.node.sandbox.environment import SETTINGS, worker_environment
from p2pvoice.node.sandbox.kernel import ARCHITECTURES
from p2pvoice.node.sandbox.room import Room, gpu_devices, system_folders
from p2pvoice.protocol.errors import DiskFullError, PolicyError

from .nodes import Daemon, bring, install_encoder, publish

Make = Callable[[], Daemon]

CAP = 1 << 20

#: Attempts that end otherwise than with one of the two errors of a refusal.
OTHERWISE = {
    "write past the cap": "EFBIG",
    # Landlock's word for a link between places of different rights, where seccomp does not speak first.
    "move a draft out": "EXDEV",
}

#: What ends with these without a sandbox: the permission was given, the rest is missing.
BEYOND = {"become a program": "ENOENT", "read a process's memory": "EFAULT"}


def tried(room: Room | None, facts: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What each attempt of inside.py ended with, in this room or free."""
    script = Path(__file__).parent / "inside.py"
    done = subprocess.run(
        [sys.executable, "-P", str(script), room.to_json() if room else "free", json.dumps(facts)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        cwd="/",
        env={**worker_environment(os.environ), "HOME": str(folder), "TMPDIR": str(folder)},
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return dict(json.loads(done.stdout))


def test_from_inside(daemons: Make, encoder: Path, clip: Path, tmp_path: Path) -> None:
    daemon = daemons()
    (daemon.home / "config.toml").write_text('[worker]\nsandbox = "require"\n')
    daemon.start()
    client = daemon.client
    assert client.status()["worker"]["sandbox"] is None
    assert client.status()["training"]["sandbox"] is None

    # A real worker, which must be held in, does all that a worker does.
    install_encoder(daemon, encoder)
    bring(daemon, clip)
    release = publish(daemon)["release"]
    assert client.speak({"voice": release, "text": "好", "lang": "yue", "seed": 1}).release == release
    said = client.status()["worker"]["sandbox"]
    assert (said["sandbox"], said["missing"]) == ("landlock+seccomp", [])
    assert list((daemon.home / "scratch" / "speaking").glob("b*")) == []

    # The same room, from within.
    home = Home(daemon.home.resolve())
    scratch, outside = home.scratch / "test", tmp_path / "outside"
    (home.drafts / "storyteller" / "bundle" / "preview.txt").write_text("x")
    outside.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind("\0p2pvoice-test-" + tmp_path.name)
        abstract.listen()
        facts = {
            "home": str(home.root),
            "scratch": str(scratch),
            "outside": str(outside),
            "user": str(Path.home()),
            "daemon": client.status()["pid"],
            "tcp": tcp.getsockname()[1],
            "abstract": abstract.getsockname().decode(),
            "cap": CAP,
        }
        config = Config(worker=WorkerConfig(sandbox="require"))
        room = msgspec.structs.replace(speaking_room(home, config), writes=(str(scratch),), file_bytes=CAP)
        scratch.mkdir()
        held = tried(room, facts, scratch)
        with tempfile.TemporaryDirectory(dir=home.scratch) as fresh:
            free = tried(None, facts | {"scratch": fresh}, Path(fresh))

    assert held.pop("in force")["sandbox"] == "landlock+seccomp"
    status, bounds = held.pop("status"), held.pop("limits")
    assert (status["NoNewPrivs"], status["Seccomp"], held.pop("dumpable")) == ("1", "2", 0)
    for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(status[kind], 16) == 0
    assert bounds["CORE"] == [0, 0]
    assert bounds["FSIZE"] == [CAP, CAP]
    assert bounds["NOFILE"][1] <= limits.OPEN_FILES
    assert bounds["NPROC"][1] <= limits.THREADS
    if not gpu_devices():
        assert bounds["DATA"][1] <= max(limits.LEAST_MEMORY, limits.machine_memory())
    allowed = {name for name in held if name.startswith("may: ")}
    assert {name: held[name] for name in allowed} == dict.fromkeys(allowed, "done")
    refused = {name: held[name] for name in held if name not in allowed}
    expected = {name: ("EACCES", "EPERM", OTHERWISE.get(name)) for name in refused}
    assert [(name, end) for name, end in refused.items() if end not in expected[name]] == []
    # Each of them would have worked without.
    assert free == {name: BEYOND.get(name, "done") for name in held}
    assert os.listdir(outside) == ["new"]


def test_a_training_worker_writes_its_own_training_only(tmp_path: Path) -> None:
    home = Home(tmp_path.resolve())
    home.prepare()
    config = Config()
    speaking, training = speaking_room(home, config), training_room(home, config)
    assert (speaking.writes, training.writes) == ((), ())
    assert str(home.uploads) in speaking.reads
    assert str(home.trainings) not in speaking.reads
    assert str(home.trainings) in training.reads
    for room in (speaking, training):
        assert not any(home.keys.is_relative_to(Path(folder)) for folder in room.reads)


async def test_a_worker_for_other_folders_is_another_worker(tmp_path: Path) -> None:
    room, scratch = Room("require"), tmp_path / "scratch"
    engine = Engine(WorkerConfig(), tmp_path / "log", room=room, scratch=scratch)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(engine.run)
            await engine.call("ping", {})
            (scratch / "left").write_text("x")
            await engine.call("ping", {})
            assert (engine.starts, (scratch / "left").exists()) == (1, True)
            await engine.call("ping", {}, writes=[tmp_path])
            assert (engine.starts, (scratch / "left").exists()) == (2, False)
            await engine.call("ping", {}, writes=[tmp_path])
            assert engine.starts == 2
            nursery.cancel_scope.cancel()


async def test_a_worker_that_writes_too_much_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("p2pvoice.node.written.LOOK_SECONDS", 0.05)
    monkeypatch.setattr("p2pvoice.node.written.WRITTEN_LIMIT", 1 << 20)
    scratch = tmp_path / "scratch"
    engine = Engine(WorkerConfig(), tmp_path / "log", room=Room("require"), scratch=scratch)
    bundle = {"out": str(scratch / "bundle"), "bases": []}
    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(engine.run)
            with pytest.raises(DiskFullError, match="may write 1048576"):
                await engine.call("import_bundled", bundle)
            assert engine.state == "stopped"
            # It is the amount that it was ended for: what may be written may be written.
            monkeypatch.setattr("p2pvoice.node.written.WRITTEN_LIMIT", 1 << 30)
            assert (await engine.call("ping", {}))["torch"] is False
            nursery.cancel_scope.cancel()


def test_what_a_worker_may_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [tmp_path / "a", tmp_path / "not there"]
    (folders[0] / "deep").mkdir(parents=True)
    (folders[0] / "deep" / "file").write_bytes(bytes(1 << 20))
    held = written.allocated(folders[0])
    assert held >= 1 << 20
    assert written.allocated(tmp_path / "not there") == 0
    for limit, told in ((held, ""), (held - 1, f"it wrote {held} bytes, and may write {held - 1}")):
        monkeypatch.setattr(written, "WRITTEN_LIMIT", limit)
        assert written.too_much(folders) == told
    monkeypatch.setattr(written, "WRITTEN_LIMIT", held)
    monkeypatch.setattr(written, "LEFT_FREE", 1 << 62)
    for always, told in ((held, ""), (held - 1, "the disk is full")):
        monkeypatch.setattr(written, "ALWAYS_ALLOWED", always)
        assert written.too_much(folders).startswith(told)
        assert bool(written.too_much(folders)) == bool(told)


async def test_require_starts_no_worker_with_less_and_auto_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A thread that was there before cannot be held in, so there is no sandbox to be had.
    (tmp_path / "sitecustomize.py").write_text(
        "import threading, time; threading.Thread(target=time.sleep, args=(60,), daemon=True).start()"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with trio.fail_after(60):
        for mode in ("require", "auto"):
            engine = Engine(WorkerConfig(), tmp_path / "log", room=Room(mode), scratch=tmp_path / "s")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(engine.run)
                if mode == "require":
                    with pytest.raises(PolicyError, match="had threads already"):
                        await engine.call("ping", {})
                    assert (engine.state, engine.sandbox) == ("stopped", None)
                else:
                    await engine.call("ping", {})
                    assert engine.sandbox is not None
                    assert engine.sandbox["sandbox"] == "none"
                    assert engine.sandbox["missing"] == ["the process had threads already"]
                nursery.cancel_scope.cancel()


@pytest.mark.parametrize("mode", ["require", "auto"])
def test_a_landlock_that_refuses_is_said(tmp_path: Path, mode: str) -> None:
    # The kernel stacks sixteen layers of rules; the seventeenth is refused.
    code = f"""
import json
from p2pvoice.node.sandbox import kernel, landlock
from p2pvoice.node.sandbox.room import Room, enter
kernel.prctl(38, 1)
for _ in range(16):
    landlock.restrict([__import__("pathlib").Path("/")], [], [])
try:
    print(json.dumps(enter(Room({mode!r})).to_dict()))
except Exception as error:
    print(json.dumps([type(error).__name__, str(error)]))
"""
    ran = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    told = "Landlock refused: Argument list too long"
    if mode == "require":
        assert json.loads(ran.stdout) == ["PolicyError", f"the worker's sandbox cannot be had: {told}"]
    else:
        assert json.loads(ran.stdout) == {"sandbox": "seccomp", "landlock": 0, "missing": [told]}


def test_a_users_home_on_the_path_is_not_let_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    packages.mkdir()
    for entry in ("/", str(tmp_path), str(packages)):
        monkeypatch.syspath_prepend(entry)
    found = system_folders((str(tmp_path / "home"),))
    assert packages in found
    assert tmp_path not in found
    assert Path("/") not in found


def test_a_setting_that_is_none_is_refused(daemons: Make) -> None:
    daemon = daemons()
    (daemon.home / "config.toml").write_text('[worker]\nsandbox = "sometimes"\n')
    with pytest.raises(AssertionError, match="sandbox"):
        daemon.start()


def test_environment_holds_no_secrets() -> None:
    given = {"PATH": "/bin", "LC_ALL": "C", "OMP_NUM_THREADS": "1", "AWS_SECRET_KEY": "x", "TOKEN": "x"}
    assert worker_environment(given) == {
        "PATH": "/bin",
        "LC_ALL": "C",
        "OMP_NUM_THREADS": "1",
        **SETTINGS,
    }


# -- the filter as a program, on both architectures ------------------------------------------------------


def verdict(machine: str, number: int, *arguments: int, architecture: int = 0, pid: int = 4711) -> int:
    """Run the filter on one system call as the kernel would, checking every jump."""
    values = [*arguments, *[0] * (6 - len(arguments))]
    data = number.to_bytes(4, "little") + (architecture or ARCHITECTURES[machine]).to_bytes(4, "little")
    data += bytes(8) + b"".join(value.to_bytes(8, "little") for value in values)
    lines, at, word = seccomp.program(machine, pid), 0, 0
    assert len(lines) < 4096
    while True:
        code, then, otherwise, constant = lines[at]
        assert max(then, otherwise) < 256
        at += 1
        match code:
            case seccomp.LOAD:
                word = int.from_bytes(data[constant : constant + 4], "little")
            case seccomp.RETURN:
                return constant
            case seccomp.JUMP_EQUAL:
                at += then if word == constant else otherwise
            case seccomp.JUMP_SET:
                at += then if word & constant else otherwise
            case seccomp.JUMP_GREATER_OR_EQUAL:
                at += then if word >= constant else otherwise
            case _:
                raise AssertionError(code)


REFUSED = seccomp.FAIL | errno.EPERM
READ = {"x86_64": 0, "aarch64": 63}


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_the_filter(machine: str) -> None:
    def of(name: str, *arguments: int) -> int:
        number = syscalls.number(name, machine)
        assert number is not None
        return verdict(machine, number, *arguments)

    for name in syscalls.FORBIDDEN:
        if syscalls.number(name, machine) is not None:
            assert of(name) == REFUSED, name
    assert verdict(machine, READ[machine]) == seccomp.ALLOW
    assert verdict(machine, 1 << 20) == seccomp.ALLOW
    assert of("clone3") == seccomp.FAIL | errno.ENOSYS
    threads = 0x3D0F00
    assert (of("clone", threads), of("clone", threads & ~seccomp.CLONE_THREAD)) == (seccomp.ALLOW, REFUSED)
    assert (of("clone", 17), of("clone", seccomp.CLONE_THREAD << 32)) == (REFUSED, REFUSED)
    assert (of("kill", 4711), of("kill", 1), of("kill", 2**64 - 1)) == (seccomp.ALLOW, REFUSED, REFUSED)
    assert (of("tgkill", 4711), of("tgkill", 4712)) == (seccomp.ALLOW, REFUSED)
    assert [of("prlimit64", pid) for pid in (0, 4711, 1)] == [seccomp.ALLOW, seccomp.ALLOW, REFUSED]
    assert [of("utimensat", 3, path) for path in (0, 1 << 40, 4096)] == [seccomp.ALLOW, REFUSED, REFUSED]
    assert [of("ioctl", 0, request) for request in (0x5412, 0x541C)] == [REFUSED, REFUSED]
    assert of("ioctl", 0, 0x5401) == seccomp.ALLOW
    for other, number in ARCHITECTURES.items():
        expected = seccomp.ALLOW if other == machine else REFUSED
        assert verdict(machine, READ[machine], architecture=number) == expected


def test_the_second_numbering_of_x86_64_is_refused() -> None:
    assert verdict("x86_64", seccomp.X32_BIT | 41) == REFUSED


def test_the_numbers_are_those_of_the_headers() -> None:
    """Held against the system's own header, where it is installed: x86_64's has them all."""
    header = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
    if not header.is_file():
        pytest.skip("no kernel headers here")
    words = [line.split() for line in header.read_text().splitlines() if line.startswith("#define __NR_")]
    known = {line[1].removeprefix("__NR_"): int(line[2]) for line in words}
    for name, (number, _) in (syscalls.FORBIDDEN | syscalls.JUDGED).items():
        if name in known:
            assert number == known[name], name
