"""The daemon as its own user sees it: HTTP over a unix socket. See specs/rpc.md."""
