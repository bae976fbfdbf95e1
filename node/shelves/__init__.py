"""Shelves: this node's answers for whole tags, kept alike with those of others. Read parts.py first.

The rules, and what is said, are in the protocol package (shelf_keeper.py, shelf_talk.py); here they get a
disk, a network and a clock. Follows specs/shelves.md.
"""
