from collections.abc import Iterator

import pytest

from p2pvoice.protocol import errors as e

# The contract of DESIGN: which exit code and HTTP status each branch of the tree has.
BRANCHES = {
    e.UsageError: (2, 400),
    e.NotFoundError: (4, 404),
    e.ConflictError: (1, 409),
    e.RefusedError: (5, 403),
    e.IntegrityError: (5, 502),
    e.NetworkError: (6, 503),
    e.StorageError: (1, 507),
    e.SynthesisError: (1, 422),
    e.TrainingError: (1, 422),
    e.DaemonUnavailableError: (3, 503),
    e.BugError: (1, 500),
}


def tree(kind: type[e.P2PVoiceError] = e.P2PVoiceError) -> Iterator[type[e.P2PVoiceError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from tree(child)


def test_codes_are_unique_and_lead_back() -> None:
    kinds = list(tree())
    assert len({kind.code for kind in kinds}) == len(kinds)
    for kind in kinds:
        assert e.by_code(kind.code) is kind
        assert kind.code.replace("_", "").isalpha()
        assert len(kind.code) <= 32
    assert e.by_code("of_the_future") is e.BugError


@pytest.mark.parametrize("branch", BRANCHES)
def test_a_branch_shares_exit_code_and_status(branch: type[e.P2PVoiceError]) -> None:
    for kind in tree(branch):
        assert (kind.exit_code, kind.http_status) == BRANCHES[branch]


def test_every_class_is_drawn_and_explains_itself() -> None:
    assert set(e.P2PVoiceError.__subclasses__()) == set(BRANCHES)
    for kind in tree():
        short = kind.__name__
        assert short in (e.__doc__ or "")
        assert kind().message == (kind.__doc__ or "").splitlines()[0]
        assert kind().message.endswith(".")


def test_an_error_survives_the_rpc() -> None:
    error = e.ConsentError("no consent", hint="--consent self")
    again = e.from_dict(error.to_dict())
    assert (type(again), again.message, again.hint) == (e.ConsentError, "no consent", "--consent self")
    assert error.to_dict() == {
        "code": "consent",
        "message": "no consent",
        "hint": "--consent self",
        "retryable": False,
    }
    assert type(e.from_dict({})) is e.BugError


def test_what_may_be_tried_again() -> None:
    retryable = {kind.__name__ for kind in tree() if kind.retryable}
    assert retryable == {
        "IntegrityError", "ChunkMismatchError", "DeltaBaseError", "NetworkError", "NoPeersError",
        "PeerTimeoutError", "BusyError", "DaemonUnavailableError",
    }  # fmt: skip
