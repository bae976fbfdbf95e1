"""What holds a worker process in: Landlock, seccomp and limits, one idea a file; begin with room.py.

Not for the daemon itself, which needs the network and the keys. Follows specs/sandbox.md.
"""
