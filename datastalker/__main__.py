"""`python -m datastalker` is `stalk`."""

import sys

try:
    from datastalker.cli import main
except ModuleNotFoundError as error:
    sys.exit(f"stalk: {error}. Run `make setup` first: it installs what DataStalker needs.")

if __name__ == "__main__":
    main()
