"""``python -m p2pvoice.cli.fetch_torrent``: one side of a fetch by BitTorrent, a process of its own.

``seed FILE TORRENT`` makes the torrent, serves the file, and says what it took when its stdin ends;
``fetch TORRENT PORT FOLDER`` gets it from that port of loopback, and says what it took when all of it is
verified and written. Each says one line of JSON. This is the only place that imports libtorrent, which is no
dependency (extra ``bench``). Follows specs/exchange.md, "Figures".
"""

import argparse
import importlib
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

PIECE = 1 << 20
"""Bytes of a piece: as many as a chunk of ours has at most."""

CALM = {
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "allow_multiple_connections_per_ip": True,
}
"""Two sessions on loopback: nothing else is to be found."""

TUNED = {
    "enable_outgoing_utp": False,
    "enable_incoming_utp": False,
    "out_enc_policy": 2,
    "in_enc_policy": 2,
    "request_queue_time": 10,
    "max_out_request_queue": 2000,
    "max_allowed_in_request_queue": 4000,
    "send_buffer_watermark": 4 << 20,
    "send_buffer_low_watermark": 1 << 20,
    "send_buffer_watermark_factor": 150,
    "send_socket_buffer_size": 1 << 20,
    "recv_socket_buffer_size": 1 << 20,
    "aio_threads": 2,
    "hashing_threads": 1,
    "max_queued_disk_bytes": 16 << 20,
    "suggest_mode": 0,
}
"""TCP alone, no encrypted handshake, long queues, large buffers, few threads."""


def session(tuned: bool) -> Any:
    """A session on a free port of loopback."""
    libtorrent = importlib.import_module("libtorrent")
    settings = {"listen_interfaces": "127.0.0.1:0", "alert_mask": 0, **CALM, **(TUNED if tuned else {})}
    return libtorrent.session(settings)


def spent() -> float:
    """CPU-seconds of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def say(**facts: Any) -> None:
    """One line on stdout."""
    print(json.dumps(facts), flush=True)


def make(file: Path, version: int) -> bytes:
    """A torrent of one file; version 1 hashes pieces with SHA-1, version 2 blocks with SHA-256."""
    libtorrent = importlib.import_module("libtorrent")
    storage = libtorrent.file_storage()
    libtorrent.add_files(storage, str(file))
    flags = libtorrent.create_torrent.v1_only if version == 1 else libtorrent.create_torrent.v2_only
    made = libtorrent.create_torrent(storage, PIECE, flags)
    libtorrent.set_piece_hashes(made, str(file.parent))
    return bytes(libtorrent.bencode(made.generate()))


def seed(file: Path, torrent: Path, tuned: bool, version: int) -> None:
    """Serve until stdin ends."""
    libtorrent = importlib.import_module("libtorrent")
    torrent.write_bytes(make(file, version))
    mine = session(tuned)
    parameters = libtorrent.load_torrent_file(str(torrent))
    parameters.save_path = str(file.parent)
    # It made the hashes itself just now.
    parameters.flags |= libtorrent.torrent_flags.seed_mode
    handle = mine.add_torrent(parameters)
    while not handle.status().is_seeding:
        time.sleep(0.01)
    began = spent()
    say(port=mine.listen_port())
    sys.stdin.read()
    say(cpu=spent() - began)


def fetch(torrent: Path, port: int, folder: Path, tuned: bool) -> None:
    """Get the file. libtorrent does not sync what it writes."""
    libtorrent = importlib.import_module("libtorrent")
    mine = session(tuned)
    parameters = libtorrent.load_torrent_file(str(torrent))
    parameters.save_path = str(folder)
    handle = mine.add_torrent(parameters)
    while handle.status().state == libtorrent.torrent_status.checking_files:
        time.sleep(0.005)
    began, clock = spent(), time.monotonic()
    handle.connect_peer(("127.0.0.1", port))
    while not handle.status().is_seeding:
        time.sleep(0.02)
    facts = {"cpu": spent() - began, "wall": time.monotonic() - clock}
    status = handle.status()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    say(**facts, peak=peak, size=int(status.total_wanted_done), wire=int(status.total_download))


def main() -> None:
    """The side that was asked for."""
    parser = argparse.ArgumentParser(prog="p2pvoice-bench-torrent")
    parser.add_argument("--tuned", action="store_true")
    parser.add_argument("--version", type=int, choices=(1, 2), default=1)
    sides = parser.add_subparsers(dest="side", required=True)
    serving = sides.add_parser("seed")
    serving.add_argument("file", type=Path)
    serving.add_argument("torrent", type=Path)
    fetching = sides.add_parser("fetch")
    fetching.add_argument("torrent", type=Path)
    fetching.add_argument("port", type=int)
    fetching.add_argument("folder", type=Path)
    options = parser.parse_args()
    if options.side == "seed":
        seed(options.file, options.torrent, options.tuned, options.version)
    else:
        fetch(options.torrent, options.port, options.folder, options.tuned)


if __name__ == "__main__":
    main()
