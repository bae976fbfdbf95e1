"""The rules of p2pvoice as pure functions: no network, no disk, no clock of its own."""
