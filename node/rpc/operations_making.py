"""The rows of the table that concern voices in the making: uploads, drafts, training, measuring."""

from p2pvoice.node import enrol
from p2pvoice.node.diffing import TENSORS_LIMIT
from p2pvoice.node.rpc import exporting, making, measuring, merging, training
from p2pvoice.node.rpc.schemas import FLAG, REF, UPLOAD, Operation, Schema, many, maybe, number, record, words
from p2pvoice.node.trainings import CLIP_NAME_LIMIT, CLIPS_LIMIT
from p2pvoice.protocol.provenance import DECLARATION_LENGTH

_TRAINING = "/v1/trainings/{rest:path}"
_LANG = words(16, among=enrol.LANGUAGES)

_CLIP = {
    "clip": UPLOAD,
    "clip_name?": maybe(words(1024)),
    "text": words(making.TRANSCRIPT_LIMIT),
    "lang": words(16),
}

_IMPORT = record(
    {
        "name": words(200),
        "slug?": maybe(words(200)),
        "sovits": UPLOAD,
        "gpt": UPLOAD,
        **_CLIP,
        "more?": maybe(many(record(_CLIP), making.CLIPS_LIMIT - 1)),
        "parents?": maybe(many(REF, 64)),
    }
)

_PUBLISH = record(
    {
        "draft": words(200),
        "tags?": maybe(many(words(256), 64)),
        "license?": maybe(words(200)),
        "consent?": maybe(words(200)),
        "ai_voice_permission?": FLAG,
        "description?": maybe(words(making.DESCRIPTION_LIMIT)),
        "subject?": maybe(words(1_000)),
        "consent_upload?": maybe(UPLOAD),
        "clips_may_travel?": FLAG,
    }
)

#: What train, tune and distil have in common.
_LEARN: dict[str, Schema] = {
    "clips?": many(record({"name": words(CLIP_NAME_LIMIT), "upload": UPLOAD}), CLIPS_LIMIT),
    "transcripts?": maybe(UPLOAD),
    "asr?": maybe(words(100)),
    "epochs?": maybe(number(1, training.EPOCHS_LIMIT, whole=True)),
    "minutes?": maybe(number(0.05, training.MINUTES_LIMIT)),
    "only?": maybe(words(16, among=training.ONLY)),
    "seed?": maybe(number(0, 2**31 - 1, whole=True)),
    "declaration?": maybe(words(DECLARATION_LENGTH)),
}

_SUBJECT = record(
    {"voice?": maybe(REF), "draft?": maybe(words(200)), "upload?": maybe(UPLOAD)},
)

_DESCRIBE = record(
    {
        "draft?": maybe(words(200)),
        "upload?": maybe(UPLOAD),
        "name?": maybe(words(200)),
        "lang?": maybe(words(16)),
        "text?": maybe(words(measuring.TRANSCRIPT_LIMIT)),
        "asr?": maybe(words(100)),
    }
)

#: What a caller says of a comparison beside the two voices.
COMPARING: dict[str, Schema] = {
    "samples?": FLAG,
    "measure?": FLAG,
    "text?": maybe(words(1_000)),
    "lang?": maybe(words(16)),
    "tensors?": maybe(number(0, TENSORS_LIMIT, whole=True)),
}

MAKING: tuple[Operation, ...] = (
    Operation("PUT", "/v1/uploads", making.upload, "Send a file; it is named by the answer", raw=True),
    Operation("GET", "/v1/drafts", making.drafts, "Voices that are not published yet"),
    Operation("POST", "/v1/drafts", making.import_voice, "Make a draft of uploads", "events", body=_IMPORT),
    Operation(
        "POST",
        "/v1/drafts/bundled",
        making.import_bundled,
        "Make a draft of the voice in the package",
        "events",
        body=record({"name": words(200)}),
    ),
    Operation(
        "DELETE", "/v1/drafts/{draft}", making.remove_draft, "Remove a draft", route="/v1/drafts/{draft:path}"
    ),
    Operation("POST", "/v1/publish", making.publish_draft, "Publish a draft", "events", body=_PUBLISH),
    Operation("GET", "/v1/trainings", training.listed, "The trainings of this home"),
    Operation(
        "POST",
        "/v1/trainings",
        training.train,
        "Train a voice of clips",
        "events",
        body=record({"name": words(200), "lang": _LANG, "base?": maybe(REF), **_LEARN}),
    ),
    Operation(
        "POST",
        "/v1/trainings/{name}/resume",
        training.change,
        "Go on with a training",
        "events",
        route=_TRAINING,
    ),
    Operation(
        "POST",
        "/v1/trainings/{name}/stop",
        training.change,
        "Stop a training after a checkpoint",
        route=_TRAINING,
    ),
    Operation("DELETE", "/v1/trainings/{name}", training.remove, "Delete a training", route=_TRAINING),
    Operation(
        "POST",
        "/v1/tune",
        training.tune,
        "Tune a voice with recorded sentences",
        "events",
        body=record({"voice": REF, "name?": maybe(words(200)), "lang": _LANG, **_LEARN}),
    ),
    Operation(
        "POST",
        "/v1/distil",
        training.distil,
        "Train a lite voice of another voice's speech",
        "events",
        body=record(
            {
                "voice": REF,
                "name": words(200),
                "lang?": maybe(words(16, among=("", *enrol.LANGUAGES))),
                **_LEARN,
            }
        ),
    ),
    Operation(
        "POST", "/v1/describe", measuring.describe, "Measure a draft or a recording", "events", body=_DESCRIBE
    ),
    Operation(
        "POST",
        "/v1/similarity",
        measuring.similarity,
        "Compare two speakers",
        "events",
        body=record({"a": _SUBJECT, "b": _SUBJECT}),
    ),
    Operation(
        "POST", "/v1/stability", measuring.stability, "How well a voice stays itself", "events", body=_SUBJECT
    ),
    Operation(
        "POST",
        "/v1/diff",
        merging.diff,
        "What differs between two voices or drafts",
        "events",
        body=record({"a": REF, "b": REF, **COMPARING}),
    ),
    Operation("GET", "/v1/samples/{sample}", merging.sample, "A sentence of a comparison", "audio"),
    Operation(
        "POST",
        "/v1/export",
        exporting.export,
        "A voice in another program's form",
        "archive",
        body=record({"voice?": maybe(REF), "draft?": maybe(words(200)), "format": words(32), "plain?": FLAG}),
    ),
)
