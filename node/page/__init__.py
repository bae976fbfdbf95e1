"""The daemon as its user sees it in a browser: pages over the RPC's application. See specs/page.md.

To see how a request gets in, go to gate.py; what the scripts may ask, to allowed.py; which pages there are,
to app.py; what they say, to words.py; what they look like, to templates/ and static/.
"""
