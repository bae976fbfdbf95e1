"""The rows of the table that concern published voices: find, fetch, speak, what people say, collections."""

from p2pvoice.node import evaluating, speech
from p2pvoice.node.ranking import CURSOR_LENGTH
from p2pvoice.node.rpc import collections, community, voices
from p2pvoice.node.rpc.operations_making import COMPARING
from p2pvoice.node.rpc.schemas import FLAG, REF, Operation, Schema, many, maybe, number, record, words
from p2pvoice.protocol.acts import LABELS_LIMIT, TEXT_LENGTH, TITLE_LENGTH
from p2pvoice.protocol.collection import CARD_LENGTH, ITEMS_LIMIT, NAME_LENGTH, NOTE_LENGTH
from p2pvoice.protocol.keyfile import PASSPHRASE_LIMIT
from p2pvoice.protocol.revocation import REASON_LENGTH

_VOICE = "/v1/voices/{rest:path}"
_OPERATION = "/v1/operations/{rest:path}"
_COLLECTION = "/v1/collections/{rest:path}"

#: 0 or 1 in an address.
_SWITCH: Schema = {"type": "string", "enum": ["0", "1"]}

_OPTIONS: dict[str, Schema] = {
    f"{name}?": maybe(number(low, high, whole=kind is int))
    for name, (kind, low, high) in speech.OPTIONS.items()
}

_SPEAK = record(
    {
        "voice?": maybe(REF),
        "draft?": maybe(words(200)),
        "text": words(voices.TEXT_LIMIT),
        "lang?": maybe(words(16)),
        "format?": maybe(words(8)),
        "stream?": FLAG,
        **_OPTIONS,
        "upstream_text?": FLAG,
        "precision?": maybe(words(8, among=speech.PRECISIONS)),
        "also_references?": maybe(many(number(0, 63, whole=True), speech.ALSO_LIMIT)),
    }
)

#: How a caller wants two voices merged.
_MERGE: dict[str, Schema] = {
    "mode": words(16),
    "weight?": maybe(number(0.0, 1.0)),
    "parts?": maybe(many(words(100), 32)),
    "sentences?": maybe(many(words(1_000), 32)),
    "lang?": maybe(words(16)),
    "asr?": maybe(words(100)),
    "unrelated?": FLAG,
}

_TEXT = maybe(words(2 * TEXT_LENGTH))
_TITLE = maybe(words(2 * TITLE_LENGTH))

_ACT = record(
    {
        "act": words(32, among=("star", "unstar", "comment", "issue", "proposal")),
        "text?": _TEXT,
        "title?": _TITLE,
        "target?": maybe(words(64)),
        "release?": maybe(words(128)),
        "base?": maybe(words(128)),
    }
)

_ACT_ON = record(
    {
        "act": words(32, among=("comment", "edit", "retract", "label", "close", "reopen", "review")),
        "text?": _TEXT,
        "title?": _TITLE,
        "add?": maybe(many(words(100), LABELS_LIMIT)),
        "remove?": maybe(many(words(100), LABELS_LIMIT)),
        "verdict?": maybe(words(16)),
    }
)

_NAMED = many(REF, ITEMS_LIMIT)


def _of_voice(action: str, summary: str, answer: str = "json", body: Schema | None = None) -> Operation:
    path = f"/v1/voices/{{ref}}/{action}"
    made = Operation("POST", path, voices.change_voice, summary, body=body, route=_VOICE)
    return _answering(made, answer)


def _answering(made: Operation, answer: str) -> Operation:
    if answer == "json":
        return made
    return Operation(
        made.method, made.path, made.endpoint, made.summary, "events", made.body, route=made.route
    )


def _read(action: str, summary: str, *parameters: str) -> Operation:
    query = dict.fromkeys(parameters, _SWITCH)
    path = f"/v1/voices/{{ref}}/{action}"
    return Operation("GET", path, voices.read_voice, summary, query=query, route=_VOICE)


def _of_collection(action: str, summary: str, answer: str = "json", body: Schema | None = None) -> Operation:
    path = f"/v1/collections/{{ref}}/{action}"
    made = Operation("POST", path, collections.change, summary, body=body, route=_COLLECTION)
    return _answering(made, answer)


VOICES: tuple[Operation, ...] = (
    Operation("POST", "/v1/speak", voices.speak_text, "Speak a text", "audio", body=_SPEAK),
    Operation(
        "GET",
        "/v1/find",
        voices.find,
        "Voices as they are found, here first and then in the network",
        "events",
        query={
            "tag": many(words(256), 16),
            "text": words(1_000),
            "limit": number(1, voices.FIND_LIMIT),
            "timeout": number(0, 300),
            "cursor": words(CURSOR_LENGTH),
        },
    ),
    Operation("GET", "/v1/voices", voices.installed, "Installed voices"),
    Operation("GET", "/v1/voices/{ref}", voices.read_voice, "One voice in full", route=_VOICE),
    Operation("DELETE", "/v1/voices/{ref}", voices.remove_voice, "Remove an installed voice", route=_VOICE),
    Operation(
        "GET", "/v1/voices/{ref}/preview", voices.read_voice, "The preview clip", "audio", route=_VOICE
    ),
    _read("lineage", "What it was made from, and what was made from it", "fetch"),
    Operation(
        "GET",
        "/v1/voices/{ref}/holders",
        voices.read_voice,
        "Who else says that they have it",
        query={"timeout": number(0.1, 60)},
        route=_VOICE,
    ),
    _read("log", "All that was said of it", "all", "sync"),
    _read("comments", "Its comments", "sync"),
    _read("issues", "Its issues", "sync"),
    _read("proposals", "Its proposals", "sync"),
    _of_voice("fetch", "Fetch it", "events", record({"seed?": FLAG, "bases?": FLAG})),
    _of_voice(
        "fork", "Make a draft of it", "events", record({"name": words(200), "slug?": maybe(words(200))})
    ),
    _of_voice("pin", "Pin it, or unpin it", body=record({"on?": FLAG})),
    _of_voice("seed", "Offer it to others, or stop that", body=record({"on": FLAG})),
    _of_voice("update", "Bring it to its newest release", "events"),
    _of_voice(
        "revoke",
        "Call it back",
        "events",
        record(
            {
                "all?": FLAG,
                "reason?": maybe(words(REASON_LENGTH)),
                "passphrase?": maybe(words(PASSPHRASE_LIMIT)),
            }
        ),
    ),
    _of_voice("merge", "Merge another voice into it", "events", record({"with": REF, **_MERGE})),
    _of_voice(
        "propose",
        "Offer a voice of one's own for it",
        body=record({"from": REF, "text": words(2 * TEXT_LENGTH)}),
    ),
    _of_voice("act", "Say something of it", body=_ACT),
    Operation("POST", "/v1/update", voices.update_all, "Update every installed voice", "events"),
    Operation("GET", "/v1/revocations", voices.revocations, "The revocations known here"),
    Operation(
        "GET",
        "/v1/credits",
        community.credits,
        "What can be counted of an author",
        query={"author": words(256)},
    ),
    Operation(
        "GET",
        "/v1/operations/{op}",
        community.read_operation,
        "A comment, an issue or a proposal with what answers it",
        route=_OPERATION,
    ),
    Operation(
        "POST",
        "/v1/operations/{op}/act",
        community.act_on_operation,
        "Answer, edit, retract, label, close, reopen or review it",
        body=_ACT_ON,
        route=_OPERATION,
    ),
    Operation(
        "POST",
        "/v1/operations/{op}/diff",
        community.act_on_operation,
        "What a proposal would change",
        "events",
        record(COMPARING),
        route=_OPERATION,
    ),
    Operation(
        "POST",
        "/v1/operations/{op}/merge",
        community.act_on_operation,
        "Merge a proposal into an own voice",
        "events",
        record(_MERGE),
        route=_OPERATION,
    ),
    Operation("GET", "/v1/collections", collections.listed, "The collections kept here, and drafts"),
    Operation(
        "POST",
        "/v1/collections",
        collections.begin,
        "Begin a collection",
        body=record(
            {
                "name": words(NAME_LENGTH),
                "slug?": maybe(words(200)),
                "card?": maybe(words(CARD_LENGTH)),
                "license?": maybe(words(200)),
            }
        ),
    ),
    Operation("GET", "/v1/collections/{ref}", collections.read, "One in full", route=_COLLECTION),
    Operation("DELETE", "/v1/collections/{ref}", collections.forget, "Forget one", route=_COLLECTION),
    _of_collection("add", "Add voices", body=record({"voices": _NAMED, "note?": maybe(words(NOTE_LENGTH))})),
    _of_collection("remove", "Take voices out", body=record({"voices": _NAMED})),
    _of_collection(
        "edit",
        "Change its words",
        body=record({"name?": words(NAME_LENGTH), "card?": words(CARD_LENGTH), "license?": words(200)}),
    ),
    _of_collection("publish", "Sign and announce it", "events"),
    _of_collection("fetch", "Fetch it and its voices", "events", record({"voices?": FLAG, "seed?": FLAG})),
    _of_collection(
        "evaluate",
        "Measure its voices",
        "events",
        record(
            {
                "asr?": maybe(words(100)),
                "sentences?": maybe(
                    {
                        "type": "object",
                        "additionalProperties": many(words(1_000), evaluating.SENTENCES_LIMIT),
                    }
                ),
                "stability?": FLAG,
                "fetch?": FLAG,
                "again?": FLAG,
            }
        ),
    ),
)
