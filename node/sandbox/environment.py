"""The environment of a worker process: what steers libraries, and nothing else of the daemon's.

Not for what the process may do: see room.py. Follows specs/sandbox.md.
"""

from collections.abc import Mapping

#: What every worker is told. OpenMP threads that spin between two operators would burn a core while it has
#: nothing to do.
SETTINGS = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "0",
    "PYTHONUNBUFFERED": "1",
    # The libraries of a recogniser would look for news of a model otherwise, and wait for no answer.
    "HF_HUB_OFFLINE": "1",
}

#: Variables of the daemon's environment that a worker gets, by name or by beginning. Somebody's secrets may
#: stand in the others.
NAMES = ("PATH", "LANG", "LANGUAGE", "TZ", "LD_LIBRARY_PATH", "HOME", "TMPDIR")
BEGINNINGS = (
    *("LC_", "PYTHON", "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "CT2_"),
    *("TORCH", "PYTORCH", "CUDA", "NVIDIA_", "HIP_", "ROCR_", "HSA_", "MALLOC_"),
)


def worker_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What a worker gets to know of its daemon's environment, and what it is told besides."""
    known = {
        name: value for name, value in environment.items() if name in NAMES or name.startswith(BEGINNINGS)
    }
    return known | SETTINGS
