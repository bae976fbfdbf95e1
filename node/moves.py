"""Moving with an author: asking what came after the keys that matter here, and following there.

Keys matter whose owner is followed, or whose voice is installed. What is learned is told to whoever asked
for the work in which it was learned. Not for keeping records (successors.py). Follows specs/keys.md.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import trio

from p2pvoice.node.parts import Parts
from p2pvoice.protocol.successor import CHAIN_LIMIT

LOOK_WIDTH = 4
"""Authors looked up at the same time."""

LOOK_EVERY = 3600.0
"""Seconds after which a search looks up a followed author's key again; an update always does."""

Tell = Callable[[Mapping[str, Any]], Awaitable[None]]


async def look_up(parts: Parts, author: str, release: str | None, tell: Tell) -> str:
    """The author id that stands for this one now, after asking the network; moves who was followed.

    ``release`` is one of the author's whose providers are asked, too.
    """
    for _ in range(CHAIN_LIMIT):
        chain = await _disk(parts, partial(parts.successors.chain, author))
        # The whole chain is asked about: a second successor of an earlier key is a fork to be shown.
        found = [record for key in chain for record in await parts.network.find_successors(key, release)]
        parts.looked_up[author] = trio.current_time()
        news = [await _disk(parts, partial(parts.successors.add, record)) for record in found]
        for key in chain:
            rival = await _disk(parts, partial(parts.successors.rival, key))
            if rival is not None:
                message = f"{key} also named {rival} as its successor, which is not believed"
                await tell({"event": "warning", "message": message})
        if not any(news):
            break
    now: str = await _disk(parts, partial(parts.successors.current, author))
    if now != author:
        await follow_there(parts, author, now, tell)
    return now


async def follow_there(parts: Parts, author: str, now: str, tell: Tell) -> None:
    """Follow whoever came after a followed author, and tell of it once."""
    for key in await _disk(parts, partial(parts.successors.chain, author)):
        move = await _disk(parts, partial(parts.following.move, key, now)) if key != now else None
        if move is not None:
            name = move.name or move.old
            message = f"{name} has a new key, {move.new}; you follow that one now"
            await tell({"event": "warning", "message": message})
            await _disk(parts, partial(parts.following.told, move.old))


async def look_up_followed(parts: Parts, tell: Tell, *, always: bool) -> None:
    """Ask what came after each followed key; without ``always`` only of those not asked of lately."""
    now = trio.current_time()
    limiter = trio.CapacityLimiter(LOOK_WIDTH)

    async def look(author: str) -> None:
        async with limiter:
            await look_up(parts, author, None, tell)

    async with trio.open_nursery() as nursery:
        for one in await _disk(parts, parts.following.all):
            if always or now - parts.looked_up.get(one.author, -LOOK_EVERY) >= LOOK_EVERY:
                nursery.start_soon(look, one.author)


async def _disk(parts: Parts, call: Callable[[], Any]) -> Any:
    return await trio.to_thread.run_sync(call, limiter=parts.disk)
