"""`python -m clew`: the same as the command `clew`."""

from .cli import main

if __name__ == "__main__":
    main()
