"""The rows of the table that concern the node itself: status, keys, following, bases, upkeep."""

from p2pvoice.node.api.gate import ORIGIN_LENGTH, ORIGINS_LIMIT
from p2pvoice.node.following import PETNAME_LENGTH
from p2pvoice.node.mirror_tables import REPLICAS_LIMIT
from p2pvoice.node.rpc import apis, bases, consents, keys, mirrors, own_node, pages, upkeep
from p2pvoice.node.rpc.doctor import doctor
from p2pvoice.node.rpc.metrics import metrics
from p2pvoice.node.rpc.schemas import FLAG, REF, UPLOAD, Operation, Schema, many, maybe, number, record, words
from p2pvoice.protocol.amounts import AMOUNT_LIMIT, LEAST_RATE
from p2pvoice.protocol.consent import DATA_SOURCES_LIMIT, SCOPES
from p2pvoice.protocol.consent_statement import TIME_LIMIT
from p2pvoice.protocol.keyfile import PASSPHRASE_LIMIT, SEALED_SIZE
from p2pvoice.protocol.successor import REASON_LENGTH

_KEY = "/v1/key/{action}"
_ONE_BASE = "/v1/bases/{rest:path}"
_AUTHOR = "/v1/following/{rest:path}"
_PASS = maybe(words(PASSPHRASE_LIMIT))

#: Bytes per second, 0 for no limit.
_RATE: Schema = {"anyOf": [number(0, 0, whole=True), number(LEAST_RATE, AMOUNT_LIMIT, whole=True)]}

_CONSENT = record(
    {
        "author": words(200),
        "name": words(1_000),
        "statement": words(10_000),
        "language": words(64),
        "slug?": maybe(words(200)),
        "scope?": maybe(many(words(64), len(SCOPES))),
        "clips_may_travel?": FLAG,
        "data_sources?": maybe(many(words(1_000), DATA_SOURCES_LIMIT)),
        "expires?": maybe(number(1, TIME_LIMIT - 1, whole=True)),
    }
)

_BASE = record(
    {
        "name": words(200),
        "files": {"type": "object", "additionalProperties": UPLOAD},
        "kind?": maybe(words(16, among=("", "asr"))),
        "license?": maybe(words(200)),
        "license_upload?": maybe(UPLOAD),
    }
)

NODE: tuple[Operation, ...] = (
    Operation("GET", "/metrics", metrics, "Figures in Prometheus' text format", "text"),
    Operation("GET", "/v1/status", own_node.status, "What the node is and does"),
    Operation("GET", "/v1/doctor", doctor, "A check-up: a check event a row", "events"),
    Operation("POST", "/v1/shutdown", own_node.shutdown, "Answer, then stop"),
    Operation("GET", "/v1/page", pages.show, "Where the page is"),
    Operation("POST", "/v1/page", pages.open_page, "Open the page", body=record({"new?": FLAG})),
    Operation("DELETE", "/v1/page", pages.close_page, "Close the page"),
    Operation("GET", "/v1/api", apis.show, "Whether the compatible APIs are open, and where"),
    Operation(
        "POST",
        "/v1/api",
        apis.open_api,
        "Open the compatible APIs, or change what is given of them",
        body=record(
            {
                "port?": maybe(number(0, 65_535, whole=True)),
                "origins?": maybe(many(words(ORIGIN_LENGTH), ORIGINS_LIMIT)),
                "voice?": maybe(words(256)),
            }
        ),
    ),
    Operation("DELETE", "/v1/api", apis.close_api, "Close the compatible APIs"),
    Operation("POST", "/v1/api/token", apis.renew_token, "Make another token for them"),
    Operation("GET", "/v1/peers", own_node.peers, "The peers the node knows"),
    Operation("POST", "/v1/connect", own_node.connect, "Dial a peer", body=record({"multiaddr": words(512)})),
    Operation("GET", "/v1/limits", own_node.limits, "How fast chunks may leave and come, and do"),
    Operation(
        "POST",
        "/v1/limits",
        own_node.set_limits,
        "Change that until the daemon stops",
        body=record({"up?": maybe(_RATE), "down?": maybe(_RATE)}),
    ),
    Operation("GET", "/v1/mirrors", mirrors.listed, "What is kept alive here, and how that stands"),
    Operation(
        "POST",
        "/v1/mirrors",
        mirrors.begin,
        "Keep the voices of an author or a tag alive, or change how",
        body=record(
            {
                "what": REF,
                "replicas?": maybe(number(1, REPLICAS_LIMIT, whole=True)),
                "limit?": maybe(number(0, AMOUNT_LIMIT, whole=True)),
            }
        ),
    ),
    Operation("POST", "/v1/mirrors/look", mirrors.look, "Look now what there is to keep alive"),
    Operation(
        "DELETE",
        "/v1/mirrors/{what}",
        mirrors.stop,
        "Keep it alive no longer",
        route="/v1/mirrors/{rest:path}",
    ),
    Operation("GET", "/v1/key", keys.show, "The author key, nothing secret"),
    Operation(
        "POST",
        "/v1/key/unlock",
        keys.change,
        "Unlock the key",
        route=_KEY,
        body=record({"passphrase?": _PASS}),
    ),
    Operation("POST", "/v1/key/lock", keys.change, "Lock the key", route=_KEY),
    Operation(
        "POST",
        "/v1/key/passphrase",
        keys.change,
        "Set, change or remove the passphrase",
        route=_KEY,
        body=record({"passphrase?": _PASS, "new?": _PASS, "remove?": FLAG}),
    ),
    Operation(
        "POST",
        "/v1/key/export",
        keys.change,
        "The key, sealed with a new passphrase or plain",
        route=_KEY,
        body=record({"passphrase?": _PASS, "new?": _PASS, "plain?": FLAG}),
    ),
    Operation(
        "POST",
        "/v1/key/import",
        keys.change,
        "Take another key",
        route=_KEY,
        body=record({"key": words(2 * SEALED_SIZE), "passphrase?": _PASS, "replace?": FLAG}),
    ),
    Operation(
        "POST",
        "/v1/key/rotate",
        keys.change,
        "Replace the key and publish again under the new one",
        "events",
        route=_KEY,
        body=record({"passphrase?": _PASS, "reason?": maybe(words(REASON_LENGTH))}),
    ),
    Operation("GET", "/v1/following", keys.following, "Followed authors, and moves that were not told of"),
    Operation(
        "POST",
        "/v1/following",
        keys.follow,
        "Follow an author",
        body=record({"author": words(256), "name?": maybe(words(PETNAME_LENGTH + 1))}),
    ),
    Operation(
        "POST",
        "/v1/following/told",
        keys.told,
        "A move was seen by the user",
        body=record({"old": words(128)}),
    ),
    Operation("DELETE", "/v1/following/{author}", keys.unfollow, "Follow no longer", route=_AUTHOR),
    Operation(
        "POST", "/v1/consent", consents.sign, "Sign a consent with the key of this node", body=_CONSENT
    ),
    Operation("GET", "/v1/bases", bases.listed, "The installed helper networks"),
    Operation("POST", "/v1/bases", bases.install, "Install a helper network", "events", body=_BASE),
    Operation(
        "GET",
        "/v1/bases/offered",
        bases.offered,
        "Helper networks that the network offers",
        "events",
        query={"kind": words(100), "timeout": number(0, 300)},
    ),
    Operation(
        "POST",
        "/v1/bases/{base}/publish",
        bases.change,
        "Share an installed helper network",
        "events",
        route=_ONE_BASE,
        body=record({"tags?": maybe(many(words(256), 64))}),
    ),
    Operation(
        "POST",
        "/v1/bases/{base}/fetch",
        bases.change,
        "Fetch a helper network",
        "events",
        route=_ONE_BASE,
        body=record({"seed?": FLAG}),
    ),
    Operation("DELETE", "/v1/bases/{base}", bases.remove, "Remove a helper network", route=_ONE_BASE),
    Operation(
        "POST", "/v1/gc", upkeep.gc, "Remove what nobody needs", "events", body=record({"dry_run?": FLAG})
    ),
    Operation(
        "POST",
        "/v1/verify",
        upkeep.verify,
        "Check stored files and repair them",
        "events",
        body=record({"voice?": maybe(REF), "repair?": FLAG}),
    ),
)
