"""`python -m capture_agent` is `stalk capture`."""

import sys

from datastalker.cli import main

if __name__ == "__main__":
    main(["capture", *sys.argv[1:]])
