"""The command line: a thin face over the daemon's RPC.

Read `main` first (how a command is found without importing the others), then `node` (every question the
command line can put to a daemon, one method each), `output` (what goes to stdout and what to stderr) and
any file of `commands`. Nothing here knows how a voice is stored, sent or spoken: that is the daemon's, and
importing this package loads neither torch nor libp2p nor trio. Follows specs/cli.md.
"""
