"""What a user may set: config.toml in the home, and the few things the command line overrides.

Not for state: nothing in here is ever written by the daemon. Follows specs/home.md.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from p2pvoice.node.paths import Home
from p2pvoice.protocol.amounts import parse_rate
from p2pvoice.protocol.errors import UsageError

#: Largest config.toml that is read, in bytes.
CONFIG_LIMIT = 64 * 1024

#: Where Wyoming listens when it is asked for and nothing else is said: the port that Home Assistant proposes.
WYOMING_LISTEN = "127.0.0.1:10200"

Addresses = Annotated[tuple[str, ...], msgspec.Meta(max_length=64)]


#: Whose Noise session and Yamux connection run below the streams: libp2p's or ours (specs/wire.md).
Wire = Literal["stock", "own"]


#: What is meant when nothing is said.
DEFAULT_WIRE: Wire = "stock"


def default_wire() -> Wire:
    """What ``P2PVOICE_WIRE`` says, which is for tests; :data:`DEFAULT_WIRE` when it says neither."""
    said = os.environ.get("P2PVOICE_WIRE")
    return "own" if said == "own" else "stock" if said == "stock" else DEFAULT_WIRE


class WorkerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The inference worker's process."""

    #: Seconds without a job after which the worker process ends and gives its memory back.
    idle_seconds: Annotated[float, msgspec.Meta(ge=0)] = 300.0
    #: Voices kept loaded at the same time.
    voices: Annotated[int, msgspec.Meta(ge=1, le=16)] = 2
    #: Threads of one synthesis; 0 lets torch decide.
    threads: Annotated[int, msgspec.Meta(ge=0, le=256)] = 0
    #: How exactly a voice computes when a request does not say; ``auto`` leaves it to the device
    #: (specs/speed.md).
    precision: Literal["auto", "exact", "fast"] = "auto"
    #: ``auto`` holds both worker processes in as well as the system can, ``require`` starts none with less
    #: than all of it, ``off`` leaves them free (specs/sandbox.md).
    sandbox: Literal["auto", "require", "off"] = "auto"


class TrainingConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The training worker's process."""

    #: Seconds without a job after which the process ends and gives its memory back.
    idle_seconds: Annotated[float, msgspec.Meta(ge=0)] = 30.0
    #: Cores a training may take; 0 means all of them.
    threads: Annotated[int, msgspec.Meta(ge=0, le=256)] = 0
    #: How far it stands back behind other programs: speaking must not suffer.
    nice: Annotated[int, msgspec.Meta(ge=0, le=19)] = 10

    def worker(self) -> WorkerConfig:
        """The settings of its process in a worker's words."""
        threads = self.threads or len(os.sched_getaffinity(0))
        return WorkerConfig(idle_seconds=self.idle_seconds, voices=1, threads=threads)


class WyomingConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The port for Home Assistant (specs/wyoming.md)."""

    #: HOST:PORT to listen on; empty means not at all.
    listen: str = ""
    #: Networks (CIDR) whose hosts may connect; may be left out on loopback only.
    networks: Annotated[tuple[str, ...], msgspec.Meta(max_length=64)] = ()
    #: Whether to tell of it by mDNS, when it is not on loopback.
    advertise: bool = True


class ApiConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The compatible APIs (specs/api.md)."""

    #: Whether their port opens with the daemon.
    enabled: bool = False
    #: The port on 127.0.0.1, that of GPT-SoVITS's own server; 0 picks a free one.
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 9880
    #: Web pages that may use it, each ``scheme://host[:port]``.
    origins: Annotated[tuple[str, ...], msgspec.Meta(max_length=16)] = ()
    #: The voice that speaks when a request names none that is here; empty: the only one installed.
    voice: Annotated[str, msgspec.Meta(max_length=256)] = ""


class NetworkConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the node is reached, finds others (specs/reach.md), and what its connections run on."""

    #: Whether to tell of it, and hear of others, by mDNS; left out: when it listens beyond loopback.
    mdns: bool | None = None
    #: ``client`` calls through relays and has a place at one when nobody can dial this node otherwise;
    #: ``server`` is also a relay for others.
    relay: Literal["off", "client", "server"] = "client"
    #: Of a relay: the places it has, and the bytes and seconds of one circuit.
    relay_places: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 64
    relay_bytes: Annotated[int, msgspec.Meta(ge=1 << 16, le=1 << 40)] = 1 << 30
    relay_seconds: Annotated[int, msgspec.Meta(ge=10, le=86_400)] = 3600
    #: Whose Noise session and Yamux connection run below the streams (specs/wire.md).
    wire: Wire = msgspec.field(default_factory=default_wire)
    #: Most bytes per second of chunks that are sent and received, as a number or a word such as ``2 MB``;
    #: 0 is no limit (specs/mirror.md).
    up: int | str = 0
    down: int | str = 0
    #: Whether peers on the LAN, and on this machine, are limited, too.
    limit_lan: bool = False


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A node's settings."""

    #: Multiaddresses to listen on; port 0 picks a free one.
    listen: Addresses = ("/ip4/0.0.0.0/tcp/0",)
    #: Multiaddresses (ending in /p2p/<peer id>) of nodes to meet first.
    bootstrap: Addresses = ()
    #: Most bytes the store may occupy on disk; 0 means no quota.
    quota_bytes: Annotated[int, msgspec.Meta(ge=0)] = 0
    #: Most bytes of encoded deltas that are kept to be sent again; 0 keeps none.
    delta_cache_bytes: Annotated[int, msgspec.Meta(ge=0)] = 256 << 20
    #: Least level of our own records that the log keeps.
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    network: NetworkConfig = msgspec.field(default_factory=NetworkConfig)
    worker: WorkerConfig = WorkerConfig()
    training: TrainingConfig = TrainingConfig()
    wyoming: WyomingConfig = WyomingConfig()
    api: ApiConfig = ApiConfig()


def load_config(
    home: Home,
    *,
    listen: Sequence[str] = (),
    bootstrap: Sequence[str] = (),
    wyoming: str | None = None,
    wyoming_networks: Sequence[str] = (),
    api: int | None = None,
    up: str | None = None,
    down: str | None = None,
) -> Config:
    """Read the home's config.toml, if there is one, and lay the given overrides over it.

    ``wyoming`` is HOST:PORT, or empty for the file's, or else the default. ``api`` opens the compatible APIs:
    at that port, or with -1 at the one that the file says. ``up`` and ``down`` are rates as people type them.

    Raises UsageError naming the file and the field when the file makes no sense.
    """
    config = _read(home.config)
    if listen:
        config = msgspec.structs.replace(config, listen=tuple(listen))
    if bootstrap:
        config = msgspec.structs.replace(config, bootstrap=tuple(bootstrap))
    if wyoming is not None or wyoming_networks:
        face = config.wyoming
        face = msgspec.structs.replace(
            face,
            listen=wyoming or face.listen or (WYOMING_LISTEN if wyoming is not None else ""),
            networks=tuple(wyoming_networks) or face.networks,
        )
        config = msgspec.structs.replace(config, wyoming=face)
    if api is not None:
        port = config.api.port if api < 0 else api
        opened = msgspec.structs.replace(config.api, enabled=True, port=port)
        config = msgspec.structs.replace(config, api=opened)
    rates = {name: parse_rate(text) for name, text in (("up", up), ("down", down)) if text is not None}
    return msgspec.structs.replace(config, network=msgspec.structs.replace(config.network, **rates))


def _read(path: Path) -> Config:
    try:
        with path.open("rb") as file:
            data = file.read(CONFIG_LIMIT + 1)
    except FileNotFoundError:
        return Config()
    if len(data) > CONFIG_LIMIT:
        raise UsageError(f"{path} is larger than {CONFIG_LIMIT} bytes")
    try:
        config = msgspec.toml.decode(data, type=Config)
        for rate in (config.network.up, config.network.down):
            parse_rate(rate)
        return config
    except UsageError as error:
        raise UsageError(f"{path}: {error.message}", hint=error.hint) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}", hint="specs/home.md lists the settings") from error
