"""Building a network without memory and without the random numbers it would begin with.

For reading weights from files: the network says which tensors it wants, and gets all of them. PyTorch's own
initialisers would compute nothing on the meta device, but load its compiler to find that out: a second of CPU
time in every fresh process. Not for networks that are to be trained from nothing.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class _Uninitialised(TorchFunctionMode):
    """Leaves out what ``torch.nn.init`` would do to a tensor."""

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        # A property of a tensor comes as a bare method, which has no module.
        if getattr(function, "__module__", None) == "torch.nn.init":
            return given["tensor"] if "tensor" in given else args[0]
        return function(*args, **given)


@contextmanager
def weightless() -> Iterator[None]:
    """Modules made inside the block have shapes and no values."""
    with torch.device("meta"), _Uninitialised():
        yield
