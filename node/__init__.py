"""The daemon. Read daemon.py first; this package imports nothing by itself."""
