"""`python -m sinks NAME -c FILE` is `stalk sink NAME -c FILE`."""

from __future__ import annotations

import sys

from datastalker.cli import main

if __name__ == "__main__":
    main(["sink", *sys.argv[1:]])
