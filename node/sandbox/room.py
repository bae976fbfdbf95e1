"""The room a worker lives in: what it may see and write, and entering it. Read this first.

A worker enters before its first request, while it has one thread; libraries are imported afterwards, within.
Whatever a system cannot give is named in what comes back, and whoever asked for the sandbox by ``require``
gets no worker then. Follows specs/sandbox.md.
"""

import importlib.util
import os
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from p2pvoice.node.sandbox import kernel, landlock, limits, seccomp
from p2pvoice.protocol.errors import PolicyError

Mode = Literal["auto", "require", "off"]

LIBRARIES = ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share", "/lib", "/lib64")
"""Folders of shared libraries, where a system has them."""

FACTS = (
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/sys/vm",
    "/sys/devices/system",
    "/sys/fs/cgroup",
)
"""What libraries read of the machine and of themselves."""

PLAIN_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")

GPU_DEVICES = ("nvidia*", "nvidia-caps/*", "dri/*", "kfd")
"""Device files of graphics drivers below /dev; those that exist at the start are allowed, with ioctl."""

GPU_FACTS = (
    "/proc/driver/nvidia",
    "/proc/devices",
    "/proc/modules",
    "/sys/bus/pci",
    "/sys/devices",
    "/sys/class/drm",
    "/usr/local",
    "/opt/rocm",
)
"""What a graphics driver reads besides; allowed only where a device was found."""


class Room(msgspec.Struct, frozen=True):
    """What one worker process is given, as its daemon says it on the command line."""

    mode: Mode
    #: Folders of the home that may be read.
    reads: tuple[str, ...] = ()
    #: Folders that may be written, too.
    writes: tuple[str, ...] = ()
    #: What must stay out of sight, so that no setting of Python's path lets it in.
    hidden: tuple[str, ...] = ()
    #: Largest file that may be written, in bytes.
    file_bytes: int = limits.FILE_BYTES

    def to_json(self) -> str:
        """The room on a command line."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str) -> "Room":
        """The room of a command line."""
        return msgspec.json.decode(text, type=cls)


@dataclass(frozen=True)
class InForce:
    """What holds this process now. ``name`` is ``landlock+seccomp``, one of the two, or ``none``."""

    landlock: int
    seccomp: bool
    missing: tuple[str, ...]

    @property
    def name(self) -> str:
        parts = [name for name, held in (("landlock", self.landlock), ("seccomp", self.seccomp)) if held]
        return "+".join(parts) or "none"

    def to_dict(self) -> dict[str, Any]:
        """As the worker tells its daemon, and ``status`` shows it."""
        return {"sandbox": self.name, "landlock": self.landlock, "missing": list(self.missing)}


def enter(room: Room) -> InForce:
    """Hold this process in for good, as well as the system allows.

    Raises PolicyError when the room's mode is ``require`` and something is missing.
    """
    if room.mode == "off":
        return InForce(0, False, ("turned off in config.toml",))
    devices = gpu_devices()
    limits.give_up(gpu=bool(devices), file_bytes=room.file_bytes)
    missing = []
    held, filtered = 0, False
    if not kernel.architecture():
        missing.append("this system has neither Landlock nor a seccomp filter that we know")
    elif kernel.threads() != 1:
        missing.append("the process had threads already")
    else:
        facts = [Path(name) for name in (*FACTS, *(GPU_FACTS if devices else ()))]
        reads = [*system_folders(room.hidden), *facts, *map(Path, room.reads)]
        try:
            held = landlock.restrict(reads, map(Path, room.writes), [*map(Path, PLAIN_DEVICES), *devices])
        except OSError as error:
            missing.append(f"Landlock refused: {error.strerror}")
        else:
            if not held:
                missing.append("the kernel has no Landlock, or it is turned off")
        filtered = seccomp.restrict()
        if not filtered:
            missing.append("the kernel has no seccomp filters, or they are turned off")
    found = InForce(held, filtered, tuple(missing))
    if missing and room.mode == "require":
        raise PolicyError(
            f"the worker's sandbox cannot be had: {missing[0]}",
            hint='set sandbox = "auto" under [worker] in config.toml to work with less',
        )
    return found


def system_folders(hidden: tuple[str, ...]) -> list[Path]:
    """Where the interpreter, its packages and their shared libraries lie.

    A folder that holds one of ``hidden`` is left out: somebody's whole home on Python's path lets nobody in.
    """
    places = [*LIBRARIES, *filter(None, sys.path), *os.environ.get("LD_LIBRARY_PATH", "").split(":")]
    for prefix in {sys.prefix, sys.base_prefix, sys.exec_prefix}:
        places += [f"{prefix}/lib", f"{prefix}/lib64", f"{prefix}/pyvenv.cfg"]
    places += [sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    # In a development install our own packages lie elsewhere than the others.
    for package in ("p2pvoice.protocol", "p2pvoice.node", "p2pvoice.sovits"):
        found = importlib.util.find_spec(package)
        places += list((found and found.submodule_search_locations) or ())
    secret = [Path(name).resolve() for name in hidden]
    folders = dict.fromkeys(Path(place).resolve() for place in places if place and os.path.isabs(place))
    return [folder for folder in folders if not any(one.is_relative_to(folder) for one in secret)]


def gpu_devices() -> list[Path]:
    """The device files of graphics drivers that exist now."""
    return [path for pattern in GPU_DEVICES for path in sorted(Path("/dev").glob(pattern))]
