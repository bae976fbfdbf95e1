"""The few JSON schemas that request bodies are described with, and what an operation is.

A body is a mapping of field to schema; a field whose name ends in ``?`` may be left out. The checks are those
of requests.py: a schema tells a program what they will accept. Follows specs/openapi.md.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from starlette.requests import Request

if TYPE_CHECKING:
    from p2pvoice.node.parts import Parts

Schema = dict[str, Any]

#: What an endpoint is before it is bound to a daemon.
Unbound = Callable[["Parts", Request], Awaitable[Any]]

#: What an operation answers with: a JSON object, NDJSON events, an audio file, a tar archive, plain text.
Answer = Literal["json", "events", "audio", "archive", "text"]


def words(limit: int, *, among: tuple[str, ...] = ()) -> Schema:
    """A text of at most so many characters, or one of a few."""
    return {"type": "string", "maxLength": limit} | ({"enum": list(among)} if among else {})


def maybe(schema: Schema) -> Schema:
    """The same, or null, which means that it was left out."""
    return {"anyOf": [schema, {"type": "null"}]}


def number(low: float, high: float, *, whole: bool = False) -> Schema:
    """A number within its range."""
    return {"type": "integer" if whole else "number", "minimum": low, "maximum": high}


def many(schema: Schema, limit: int) -> Schema:
    """A list of at most so many."""
    return {"type": "array", "items": schema, "maxItems": limit}


def record(fields: Mapping[str, Schema]) -> Schema:
    """An object."""
    named = {name.removesuffix("?"): schema for name, schema in fields.items()}
    found: Schema = {"type": "object", "properties": named}
    needed = [name for name in fields if not name.endswith("?")]
    if needed:
        found["required"] = needed
    return found


FLAG: Schema = {"type": "boolean"}

UPLOAD: Schema = {"type": "string", "maxLength": 64, "description": "the id of an upload"}

REF: Schema = {
    "type": "string",
    "maxLength": 256,
    "description": "a voice: a release id, AUTHOR/SLUG, or the beginning of either",
}


@dataclass(frozen=True)
class Operation:
    """One thing a caller may ask.

    ``path`` is as it is documented, ``route`` as the server matches it where one endpoint answers several
    paths. ``query`` has the parameters of the address.
    """

    method: str
    path: str
    endpoint: Unbound
    summary: str
    answer: Answer = "json"
    body: Schema | None = None
    query: Mapping[str, Schema] = field(default_factory=dict)
    route: str = ""
    #: Whether the body is bytes of a file and no JSON.
    raw: bool = False

    @property
    def matched(self) -> str:
        """The path in the words of the server's router."""
        return self.route or self.path
