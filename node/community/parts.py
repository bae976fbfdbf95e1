"""What the community's side of a daemon consists of, and how it is put together.

Only a list of parts, like node/parts.py. Follows specs/community.md.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import trio

from p2pvoice.node.catalog import Catalog
from p2pvoice.node.community.acting import Acting
from p2pvoice.node.community.lines import Lines
from p2pvoice.node.community.log import Logs
from p2pvoice.node.community.standing import Standing
from p2pvoice.node.community.states import States
from p2pvoice.node.community.views import Views
from p2pvoice.node.database import Database
from p2pvoice.node.following import Following
from p2pvoice.node.identity import Identity
from p2pvoice.node.names import Names
from p2pvoice.node.successors import Successors
from p2pvoice.protocol.ids import author_id


@dataclass(frozen=True)
class Community:
    """The logs of voices and everything that reads and writes them."""

    logs: Logs
    lines: Lines
    standing: Standing
    states: States
    acting: Acting
    views: Views


def open_community(
    database: Database,
    catalog: Catalog,
    following: Following,
    successors: Successors,
    names: Names,
    identity: Identity,
    disk: trio.CapacityLimiter,
    *,
    clock: Callable[[], float] = time.time,
) -> Community:
    """The community's parts over the node's database."""

    def own() -> str:
        return author_id(identity.author_public)

    lines = Lines(database, catalog, successors, own, clock=clock)
    standing = Standing(following, successors, own)
    logs = Logs(database, lambda voice: standing.on(lines.of_voice(voice)), clock=clock)
    states = States(logs)
    return Community(
        logs=logs,
        lines=lines,
        standing=standing,
        states=states,
        acting=Acting(logs, lines, states, identity, disk),
        views=Views(logs, states, standing, names, lines.own_keys),
    )
