"""The RPC's face of the error tree: each error of protocol/errors.py as a status and a JSON body.

Anything that is not in the tree is a bug: it is logged with its traceback and shown as BugError without
details. Follows specs/rpc.md, "Errors".
"""

import logging
from pathlib import Path

from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from p2pvoice.node.partial import FULL, storage_error
from p2pvoice.protocol.errors import BugError, P2PVoiceError, UsageError

log = logging.getLogger("p2pvoice.rpc")


def to_error(error: BaseException) -> P2PVoiceError:
    """The error of our tree that stands for whatever was raised.

    A nursery raises groups; the first error of ours in one is the reason, the rest follow from it.
    """
    found = _first(error)
    if found is not None:
        return found
    if isinstance(error, ClientDisconnect):
        return UsageError("the request ended before its body did")
    log.error("unexpected error", exc_info=error)
    return BugError()


def error_response(error: P2PVoiceError) -> Response:
    """The HTTP answer that carries an error."""
    return JSONResponse({"error": error.to_dict()}, status_code=type(error).http_status)


def _first(error: BaseException) -> P2PVoiceError | None:
    if isinstance(error, P2PVoiceError):
        return error
    if isinstance(error, OSError) and error.errno in FULL:
        # Wherever it happened: a full disk is nobody's bug.
        return storage_error(error, Path(error.filename or "a file"))
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            found = _first(part)
            if found is not None:
                return found
    return None
