"""The OpenAPI document of the RPC, made of the table of operations. Follows specs/openapi.md."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from p2pvoice.node.parts import VERSION
from p2pvoice.node.rpc.requests import BODY_LIMIT
from p2pvoice.node.rpc.schemas import Operation, Schema
from p2pvoice.node.uploads import UPLOAD_LIMIT

_PARAMETER = re.compile(r"{(\w+)}")

_OBJECT: Schema = {"type": "object"}

#: An answer's media type, its schema, and what is to be known of it.
_ANSWERS: Mapping[str, tuple[str, Schema, str]] = {
    "json": ("application/json", _OBJECT, "What specs/rpc.md says of this request."),
    "events": (
        "application/x-ndjson",
        {"$ref": "#/components/schemas/Event"},
        "One event a line as it happens; the last one is result or error. Hanging up cancels the work.",
    ),
    "audio": ("audio/*", {"type": "string", "format": "binary"}, "An audio file that says it is synthetic."),
    "archive": ("application/x-tar", {"type": "string", "format": "binary"}, "A tar archive."),
    "text": ("text/plain", {"type": "string"}, "Plain text."),
}

_ERROR: Schema = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "hint", "retryable"],
            "properties": {
                "code": {"type": "string"},
                "message": {"type": "string"},
                "hint": {"type": "string", "description": "what to do next"},
                "retryable": {"type": "boolean"},
            },
        }
    },
}

_EVENT: Schema = {
    "type": "object",
    "required": ["event"],
    "properties": {"event": {"type": "string", "description": "progress, voice, …, result or error"}},
}


def document(operations: Iterable[Operation]) -> dict[str, Any]:
    """The document: OpenAPI 3.1, self-contained."""
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        paths.setdefault(one.path, {})[one.method.lower()] = _described(one)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "p2pvoice",
            "version": VERSION,
            "description": (
                "What the user's own programs ask of a node, over the unix socket rpc.sock of its home. "
                "A name in a path is percent-encoded, its slash as %2F."
            ),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "http://localhost", "description": "the unix socket"}],
        "paths": paths,
        "components": {"schemas": {"Error": _ERROR, "Event": _EVENT}},
    }


def _described(one: Operation) -> dict[str, Any]:
    media, schema, words = _ANSWERS[one.answer]
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(one.path)
    ]
    parameters += [{"name": name, "in": "query", "schema": schema} for name, schema in one.query.items()]
    found: dict[str, Any] = {
        "operationId": _name(one),
        "summary": one.summary,
        "responses": {
            "200": {"description": words, "content": {media: {"schema": schema}}},
            "default": {
                "description": "An error of specs/errors.md, with its own status.",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
            },
        },
    }
    if parameters:
        found["parameters"] = parameters
    if one.raw:
        raw = {"type": "string", "format": "binary", "maxLength": UPLOAD_LIMIT}
        found["requestBody"] = {"required": True, "content": {"application/octet-stream": {"schema": raw}}}
    elif one.body is not None:
        found["requestBody"] = {
            "description": f"At most {BODY_LIMIT} bytes.",
            "required": "required" in one.body,
            "content": {"application/json": {"schema": one.body}},
        }
    return found


def _name(one: Operation) -> str:
    """A name for generated clients: ``post_voices_ref_fetch``."""
    words = re.findall(r"[a-z]+", one.path.removeprefix("/v1").lower())
    return "_".join([one.method.lower(), *words])
