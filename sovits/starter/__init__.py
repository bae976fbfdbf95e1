"""How the voice that comes with the program was made, as a program."""
