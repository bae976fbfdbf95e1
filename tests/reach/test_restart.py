"""The peer book across a restart, and the kind of link that peers shows."""

from collections.abc import Callable

from p2pvoice.node.peers import DIAL_MEMORY, Fault, PeerBook

from ..node.nodes import Daemon, eventually


def link(here: Daemon, there: Daemon) -> str:
    """The link to a connected peer, "" while there is none."""
    return next((row["link"] for row in here.client.peers() if row["id"] == there.peer_id), "")


def test_a_node_comes_back_without_a_bootstrap_peer(daemons: Callable[[], Daemon]) -> None:
    one, two = daemons().start(), daemons()
    two.start(one)
    assert eventually(lambda: link(two, one)) == "lan"
    assert eventually(lambda: link(one, two)) == "lan"
    assert two.end() == 0
    eventually(lambda: not link(one, two))
    two.start()
    assert eventually(lambda: link(two, one)) == "lan"
    eventually(lambda: two.client.status()["peers"] == 1)


def test_who_is_dialed_at_the_start() -> None:
    now = 5_000_000.0
    book = PeerBook(lambda: now)
    for name in ("good", "better", "connected", "liar", "weak", "stranger", "nowhere"):
        book.seen(name, [] if name == "nowhere" else ["/ip4/192.0.2.1/tcp/1"])
    book.reward("good", 1)
    book.reward("better", 2)
    book.connected("connected", "inbound")
    book.reward("liar", 100)
    book.drop("liar", Fault.WRONG_BYTES)
    book.drop("weak", Fault.UNREACHABLE)
    assert [entry.id for entry in book.worth_dialing(9)] == ["better", "good", "stranger"]
    assert [entry.id for entry in book.worth_dialing(1)] == ["better"]
    now += DIAL_MEMORY
    assert len(book.worth_dialing(9)) == 4  # "liar" is shunned no longer
    now += 1
    assert book.worth_dialing(9) == []
