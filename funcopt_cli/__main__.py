"""`python -m funcopt_cli` is the command `funcopt`."""

from funcopt_cli import main

main()
