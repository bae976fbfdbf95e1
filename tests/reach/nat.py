"""`python tests/reach/nat.py`: two homes behind NAT meet (test_nat.py). Needs root, `ip` and `nft`."""

import subprocess
import sys
from pathlib import Path

if __name__ == "__main__":
    test = Path(__file__).with_name("test_nat.py")
    command = [sys.executable, "-m", "pytest", "-m", "netns", "-s", str(test), *sys.argv[1:]]
    raise SystemExit(subprocess.call(command))
