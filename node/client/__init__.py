"""The client for programs: a node's voices from Python, with or without async.

    >>> from p2pvoice.node.client import Client
    >>> with Client() as client:
    ...     names = [voice["slug"] for voice in client.voices()]
    ...     audio = client.speak("Good evening.", voice="storyteller", lang="en")
    >>> names
    ['storyteller']
    >>> audio[:4]
    b'RIFF'

It talks to the daemon of one home over its unix socket and imports neither torch nor libp2p nor numpy. What
it returns are the dictionaries of specs/rpc.md; errors are the classes of ``p2pvoice.protocol.errors``. Not
for every endpoint: ``Client.request`` asks the others by their path, as GET /v1/openapi.json lists them.

Read sync.py for what can be asked, asynchronous.py for the same under asyncio and trio, bodies.py for what is
sent. Follows specs/python-client.md.
"""

from p2pvoice.node.client.asynchronous import AsyncClient, AsyncStream, AsyncWork
from p2pvoice.node.client.sync import Client, Work

__all__ = ["AsyncClient", "AsyncStream", "AsyncWork", "Client", "Work"]
