"""The endpoints for the author key and for followed authors. Follows specs/rpc.md, keys.md, trust.md."""

import base64
import binascii
from collections.abc import Mapping
from functools import partial
from typing import Any

import trio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from p2pvoice.node import keys
from p2pvoice.node.catalog import BEGINNING_MINIMUM
from p2pvoice.node.following import PETNAME_LENGTH
from p2pvoice.node.parts import Parts
from p2pvoice.node.rpc.events import EventStream, Report
from p2pvoice.node.rpc.requests import author_path, flag, json_body, text
from p2pvoice.protocol.errors import NotFoundError, UsageError
from p2pvoice.protocol.keyfile import PASSPHRASE_LIMIT, SEALED_SIZE
from p2pvoice.protocol.successor import REASON_LENGTH


def passphrase(body: Mapping[str, Any], name: str = "passphrase") -> str:
    """A passphrase of a body, "" when it is missing."""
    return text(body, name, default="", limit=PASSPHRASE_LIMIT)


async def show(parts: Parts, request: Request) -> Response:
    """The author key as it may be shown."""
    return JSONResponse(await trio.to_thread.run_sync(keys.facts, parts, limiter=parts.disk))


async def change(parts: Parts, request: Request) -> Response | EventStream:
    """Unlock, lock, passphrase, export, import, rotate."""
    action = str(request.path_params["action"])
    body = await json_body(request)
    if action == "unlock":
        return JSONResponse(await keys.unlock(parts, passphrase(body)))
    if action == "lock":
        return JSONResponse(await keys.lock(parts))
    if action == "passphrase":
        new = passphrase(body, "new")
        if not new and not flag(body, "remove", default=False):
            raise UsageError("new is missing")
        return JSONResponse(await keys.set_passphrase(parts, passphrase(body), new))
    if action == "export":
        plain = flag(body, "plain", default=False)
        data = await keys.export(parts, passphrase(body), passphrase(body, "new"), plain=plain)
        return JSONResponse({"author": parts.author, "key": base64.b64encode(data).decode()})
    if action == "import":
        try:
            data = base64.b64decode(text(body, "key", limit=2 * SEALED_SIZE), validate=True)
        except (ValueError, binascii.Error) as error:
            raise UsageError("key is not base64") from error
        replacing = flag(body, "replace", default=False)
        return JSONResponse(await keys.bring(parts, data, passphrase(body), replacing=replacing))
    if action == "rotate":
        reason = text(body, "reason", default="", limit=REASON_LENGTH)

        async def work(report: Report) -> Mapping[str, Any]:
            return await keys.rotate(parts, passphrase(body), reason, report)

        return EventStream(work)
    raise NotFoundError(f"a key has no {action!r}")


async def following(parts: Parts, request: Request) -> Response:
    """Followed authors, and the moves that were not told of yet."""

    def read() -> dict[str, Any]:
        rows = [
            {
                "author": one.author,
                "name": one.name,
                "since": one.since,
                "moved_from": one.moved_from or None,
                "fork": parts.successors.rival(one.author) or parts.successors.rival(one.moved_from),
            }
            for one in parts.following.all()
        ]
        moved = [
            {"old": one.old, "new": one.new, "name": one.name, "at": one.at}
            for one in parts.following.untold()
        ]
        return {"following": rows, "moved": moved}

    return JSONResponse(await trio.to_thread.run_sync(read, limiter=parts.disk))


async def follow(parts: Parts, request: Request) -> Response:
    """Follow an author."""
    body = await json_body(request)
    name = text(body, "name", limit=PETNAME_LENGTH + 1) if body.get("name") is not None else None
    ref = text(body, "author", limit=256)

    def work() -> dict[str, Any]:
        author = parts.successors.current(author_named(parts, ref))
        one = parts.following.follow(author, name)
        return {"author": one.author, "name": one.name, "since": one.since}

    return JSONResponse(await trio.to_thread.run_sync(work, limiter=parts.disk))


async def unfollow(parts: Parts, request: Request) -> Response:
    """Follow an author no longer."""
    ref = author_path(request)

    def work() -> dict[str, Any]:
        one = parts.following.unfollow(author_named(parts, ref))
        return {"author": one.author, "name": one.name}

    return JSONResponse(await trio.to_thread.run_sync(work, limiter=parts.disk))


async def told(parts: Parts, request: Request) -> Response:
    """The user has seen that a followed key was given up."""
    body = await json_body(request)
    call = partial(parts.following.told, text(body, "old", limit=128))
    await trio.to_thread.run_sync(call, limiter=parts.disk)
    return JSONResponse({"told": True})


def author_named(parts: Parts, ref: str) -> str:
    """The author id that is meant: by the user's own name for it, or by a beginning of it."""
    named = [one.author for one in parts.following.all() if one.name == ref or one.author == ref]
    if named:
        return named[0]
    try:
        return parts.catalog.author_named(ref)
    except NotFoundError:
        # Whoever has only said something of a voice has published nothing, and is known all the same.
        signers = parts.community.logs.signers_named(ref) if len(ref) >= BEGINNING_MINIMUM else []
        if len(signers) > 1:
            message = f"{ref!r} could mean several authors: {', '.join(signers)}"
            raise UsageError(message, hint="give more of the name") from None
        if not signers:
            raise
        return signers[0]
