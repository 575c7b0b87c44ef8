"""`python -m batchmill`: the command line."""

import sys

from batchmill.cli import main

if __name__ == "__main__":
    sys.exit(main())
