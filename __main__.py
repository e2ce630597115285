"""`python -m crafters` is the `crafters` command, for launchers of several processes."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
