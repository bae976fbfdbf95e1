"""A request whose answer is a stream of JSON lines: progress while it works, then a result or an error.

The work belongs to the request: when the caller goes away it is cancelled. Each line is handed to the
transport on its own, so that a waiting reader sees it at once. Follows specs/rpc.md, "Streams".
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
import trio
from starlette.types import Receive, Scope, Send

from p2pvoice.node.rpc.errors import error_response, to_error

#: Tells the caller something before the end; the keys beside "event" depend on the endpoint.
Report = Callable[[Mapping[str, Any]], Awaitable[None]]

#: Work that reports as it goes and returns what the final event carries.
Job = Callable[[Report], Awaitable[Mapping[str, Any]]]


class EventStream:
    """An ASGI response that runs a job and writes its events as NDJSON.

    A job that fails before its first event is answered with the error's own status, like any request.
    """

    def __init__(self, job: Job) -> None:
        self._job = job

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False
        lock = trio.Lock()

        async def write(event: Mapping[str, Any], *, last: bool = False) -> None:
            nonlocal started
            async with lock:
                if not started:
                    started = True
                    await send(
                        {
                            "type": "http.response.start",
                            "status": 200,
                            "headers": [(b"content-type", b"application/x-ndjson")],
                        }
                    )
                body = msgspec.json.encode(event) + b"\n"
                await send({"type": "http.response.body", "body": body, "more_body": not last})

        async with trio.open_nursery() as nursery:
            nursery.start_soon(_until_gone, receive, nursery.cancel_scope)
            try:
                result = await self._job(write)
            except Exception as error:
                known = to_error(error)
                if started:
                    await write({"event": "error", "error": known.to_dict()}, last=True)
                else:
                    await error_response(known)(scope, receive, send)
            else:
                await write({"event": "result", **result}, last=True)
            nursery.cancel_scope.cancel()


async def _until_gone(receive: Receive, scope: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


async def while_connected(receive: Receive, work: Callable[[], Awaitable[None]]) -> bool:
    """Run ``work`` unless the caller goes away first; False when it did."""
    done = False
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_until_gone, receive, nursery.cancel_scope)
        await work()
        done = True
        nursery.cancel_scope.cancel()
    return done
