"""How fast and how exactly voices speak, for ``p2pvoice bench speak``. Follows specs/speed.md."""
