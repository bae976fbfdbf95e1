"""How fast and how exactly voices speak: the other half of ``p2pvoice bench speak``. Follows specs/speed.md."""
