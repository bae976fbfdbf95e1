"""Every error a user, a peer or a program can meet, in one tree.

    P2PVoiceError                 exit  HTTP
    ├─ UsageError                   2    400
    ├─ NotFoundError                4    404
    ├─ ConflictError                1    409
    ├─ RefusedError                 5    403
    │   ├─ SignatureError  ManifestError  UnsafeFileError  BadCheckpointError
    │   ├─ ConsentError    RevokedError   PolicyError    StaleError
    │   └─ KeyLockedError  PassphraseError
    ├─ IntegrityError               5    502
    │   └─ ChunkMismatchError  DeltaBaseError
    ├─ NetworkError                 6    503
    │   └─ NoPeersError  PeerTimeoutError  ProtocolMismatchError  BusyError
    ├─ StorageError                 1    507
    │   └─ QuotaError  DiskFullError  CorruptError
    ├─ SynthesisError               1    422
    │   └─ UnsupportedLanguageError  VoiceNotLoadableError  OutOfMemoryError  WorkerDiedError
    ├─ TrainingError                1    422
    │   └─ ClipsError  TrainingStoppedError
    ├─ DaemonUnavailableError       3    -
    └─ BugError                     1    500

A class docstring is the sentence a user reads when no better message was given; ``hint`` says what to
do next, where possible as a command to type. Each face of the program maps the tree exactly once: the
CLI to exit codes, the RPC to HTTP statuses, the wire to ``Fail`` messages. Follows specs/errors.md.
"""

from typing import Any, ClassVar


class P2PVoiceError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    default_hint: ClassVar[str] = ""

    def __init__(self, message: str = "", *, hint: str = "") -> None:
        self.message = message or (type(self).__doc__ or type(self).__name__).strip().splitlines()[0]
        self.hint = hint or self.default_hint
        super().__init__(self.message)

    def to_dict(self) -> dict[str, Any]:
        """The error as the RPC and ``--json`` show it."""
        return {"code": self.code, "message": self.message, "hint": self.hint, "retryable": self.retryable}


class UsageError(P2PVoiceError):
    """The request does not make sense as it was written."""

    code, exit_code, http_status = "usage", 2, 400


class NotFoundError(P2PVoiceError):
    """Nothing by that name was found."""

    code, exit_code, http_status = "not_found", 4, 404


class ConflictError(P2PVoiceError):
    """The request collides with something that is already there."""

    code, exit_code, http_status = "conflict", 1, 409


class RefusedError(P2PVoiceError):
    """The request was refused for safety."""

    code, exit_code, http_status = "refused", 5, 403


class SignatureError(RefusedError):
    """The signature does not match what was signed."""

    code = "bad_signature"
    default_hint = "do not use this release; ask its author to publish it again"


class ManifestError(RefusedError):
    """The manifest or message breaks the rules of its format."""

    code = "bad_manifest"


class UnsafeFileError(RefusedError):
    """The file tries to do something that a weight file has no business doing."""

    code = "unsafe_file"
    default_hint = "do not open this file with other programs either; ask for a safetensors version"


class BadCheckpointError(RefusedError):
    """The file is not a usable GPT-SoVITS checkpoint."""

    code = "bad_checkpoint"
    default_hint = "ask for the file as the training tool exported it"


class ConsentError(RefusedError):
    """A voice is published only with a licence and a statement of consent."""

    code = "consent"


class RevokedError(RefusedError):
    """The voice was revoked by its author or by the person whose voice it is."""

    code = "revoked"


class StaleError(RefusedError):
    """The record is out of date: it expired, or a newer one is known."""

    code = "stale"


class PolicyError(RefusedError):
    """This node's policy does not allow that."""

    code = "policy"


class KeyLockedError(RefusedError):
    """The author key is locked: this node can listen and serve, but not sign."""

    code = "key_locked"
    default_hint = "p2pvoice key unlock"


class PassphraseError(RefusedError):
    """The passphrase is wrong."""

    code = "wrong_passphrase"
    default_hint = "there is no way around a forgotten passphrase but a backup of the key"


class IntegrityError(P2PVoiceError):
    """Received data does not match what was promised."""

    code, exit_code, http_status, retryable = "integrity", 5, 502, True


class ChunkMismatchError(IntegrityError):
    """A chunk does not have the hash its manifest names."""

    code = "chunk_mismatch"


class DeltaBaseError(IntegrityError):
    """A delta does not fit the base it names."""

    code = "delta_base"


class NetworkError(P2PVoiceError):
    """The network did not deliver."""

    code, exit_code, http_status, retryable = "network", 6, 503, True


class NoPeersError(NetworkError):
    """No peer that holds this could be reached."""

    code = "no_peers"
    default_hint = "p2pvoice peers"


class PeerTimeoutError(NetworkError):
    """A peer did not answer in time."""

    code = "peer_timeout"


class ProtocolMismatchError(NetworkError):
    """A peer speaks another version of the protocol."""

    code, retryable = "protocol_mismatch", False


class BusyError(NetworkError):
    """A peer has too much to do at the moment."""

    code = "busy"


class StorageError(P2PVoiceError):
    """The node's store could not do that."""

    code, exit_code, http_status = "storage", 1, 507


class QuotaError(StorageError):
    """The store's quota does not leave room for this."""

    code = "quota"


class DiskFullError(StorageError):
    """The disk is full."""

    code = "disk_full"
    default_hint = "free some space and repeat the command; what was already stored is kept"


class CorruptError(StorageError):
    """A stored file no longer matches its hash."""

    code = "corrupt"


class SynthesisError(P2PVoiceError):
    """The text could not be spoken."""

    code, exit_code, http_status = "synthesis", 1, 422


class UnsupportedLanguageError(SynthesisError):
    """This voice or this installation cannot speak that language."""

    code = "unsupported_language"
    default_hint = "languages: yue zh en ja ko, or auto / auto_yue for mixed text"


class VoiceNotLoadableError(SynthesisError):
    """The voice's files cannot be loaded together."""

    code = "voice_not_loadable"


class OutOfMemoryError(SynthesisError):
    """There is not enough memory to load the voice or speak the text."""

    code = "out_of_memory"


class WorkerDiedError(SynthesisError):
    """The worker process died over this request."""

    code = "worker_died"
    default_hint = "try again; a new worker starts by itself. The end of daemon.log says more"


class TrainingError(P2PVoiceError):
    """The voice could not be trained."""

    code, exit_code, http_status = "training", 1, 422


class ClipsError(TrainingError):
    """The clips are not fit to train a voice."""

    code = "bad_clips"
    default_hint = "record a minute or more of one clear voice in a quiet room, without music"


class TrainingStoppedError(TrainingError):
    """The training was stopped; all it has learned is kept."""

    code = "training_stopped"
    default_hint = "p2pvoice train --resume"


class DaemonUnavailableError(P2PVoiceError):
    """No p2pvoice daemon is running."""

    code, exit_code, http_status, retryable = "daemon_unavailable", 3, 503, True
    default_hint = "p2pvoice daemon start"


class BugError(P2PVoiceError):
    """An internal error: this is a bug in p2pvoice."""

    code = "bug"
    default_hint = "see the daemon's log, and please report it"


def by_code(code: str) -> type[P2PVoiceError]:
    """The class whose ``code`` is given; ``BugError`` for a code this version does not know."""
    pending: list[type[P2PVoiceError]] = [P2PVoiceError]
    while pending:
        kind = pending.pop()
        if kind.code == code:
            return kind
        pending.extend(kind.__subclasses__())
    return BugError


def from_dict(body: dict[str, Any]) -> P2PVoiceError:
    """Rebuild an error from :meth:`P2PVoiceError.to_dict`, as an RPC client does."""
    return by_code(str(body.get("code", "")))(str(body.get("message", "")), hint=str(body.get("hint", "")))
