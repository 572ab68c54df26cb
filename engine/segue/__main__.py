"""`python -m segue` is the command `segue`."""

from segue.cli import main

main()
