"""`python tests/reach/delay.py`: a voice over a slow link, by either wire (test_delay.py)."""

import subprocess
import sys
from pathlib import Path

if __name__ == "__main__":
    test = Path(__file__).with_name("test_delay.py")
    command = [sys.executable, "-m", "pytest", "-m", "netns", "-s", str(test), *sys.argv[1:]]
    raise SystemExit(subprocess.call(command))
