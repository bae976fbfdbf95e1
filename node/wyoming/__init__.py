"""Speaking for Home Assistant: the Wyoming protocol over TCP, and nothing else of the daemon.

Read server.py for who may connect, session.py for what one connection may ask, speaking.py for what it gets,
languages.py for which language a tag means, and events.py for the format. Follows specs/wyoming.md.
"""
