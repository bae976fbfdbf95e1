"""The worker's operation for `doctor`: which torch this is, on which device it computes, and how fast.

Small on purpose: a moment on a small machine. Speech is tried by the ordinary operation. Follows
specs/doctor.md.
"""

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from p2pvoice.node.worker import Worker

#: Rows and columns of the matrices that are multiplied, and how often.
SIZE, TIMES = 256, 10

#: Largest difference of a product of 256 summands near 1 from the exact one that float32 may show.
TOLERANCE = 1e-2


def selftest(worker: "Worker", arguments: dict[str, Any]) -> dict[str, Any]:
    """Multiply matrices where voices are spoken, and compare with whole numbers, which float32 holds."""
    import torch

    gpu = torch.cuda.is_available()
    device = torch.device("cuda" if gpu else "cpu")
    rows = torch.arange(SIZE, device=device).remainder(7).repeat(SIZE, 1)
    began = time.perf_counter()
    product = rows.float()
    for _ in range(TIMES):
        product = rows.float() @ rows.float().T
    worst = float((product.double().cpu() - (rows.cpu() @ rows.cpu().T).double()).abs().max())
    return {
        "torch": str(torch.__version__),
        "device": torch.cuda.get_device_name(device) if gpu else "cpu",
        "gpu": gpu,
        "threads": torch.get_num_threads(),
        "milliseconds": (time.perf_counter() - began) * 1000 / TIMES,
        "exact": worst <= TOLERANCE,
    }
