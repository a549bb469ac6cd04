"""`python -m funcopt` is the command `funcopt`."""

from funcopt_cli import main

if __name__ == "__main__":
    main()
