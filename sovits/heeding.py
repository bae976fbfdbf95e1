"""Work that can be stopped between two layers of a network, without the network knowing.

A full-size decoder works for seconds in one call; whoever waits behind a caller who has gone should not have
to wait for that. Hooks stand before every layer, and only while somebody may want to stop. Not for stopping
within a layer: the largest one of a sentence of ten seconds takes some tens of milliseconds. Follows
specs/streaming.md, "Stopping".
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle

_asked: ContextVar[Callable[[], None] | None] = ContextVar("asked", default=None)


def heed() -> None:
    """For computation that is no PyTorch module, between its layers: raises when somebody wants to stop."""
    check = _asked.get()
    if check is not None:
        check()


@contextmanager
def heeding(check: Callable[[], None] | None, *networks: object) -> Iterator[Callable[[], None]]:
    """Inside the block ``check`` is called before each layer; what it raises leaves the network as it was.

    Yields what removes the hooks early; None as ``check`` means that nobody wants to stop. What is no PyTorch
    module has no hooks: it calls ``heed`` by itself.
    """
    handles: list[RemovableHandle] = []

    def ask(_module: nn.Module, _arguments: Any) -> None:
        assert check is not None
        check()

    def leave() -> None:
        while handles:
            handles.pop().remove()

    token = _asked.set(check if check is not None else _asked.get())
    try:
        if check is not None:
            for network in (one for one in networks if isinstance(one, nn.Module)):
                handles += [module.register_forward_pre_hook(ask) for module in network.modules()]
        yield leave
    finally:
        leave()
        _asked.reset(token)
