"""The community of a voice: its operations, kept, passed on, shown, and made here.

Begin with log.py (what is kept) and acting.py (what this node's user does); sync.py and server.py speak with
peers, views.py shapes what is shown. Follows specs/community.md.
"""
