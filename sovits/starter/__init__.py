"""How the bundled bootstrap voice was made, as a program."""
