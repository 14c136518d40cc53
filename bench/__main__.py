"""`make bench`: every table of the README, measured in one run. `make bench BENCH=parse` for one."""

from __future__ import annotations

import os
import subprocess
import sys

from bench import memory, parse, pipeline, start, wire
from bench.process import PYTHON

TABLES = {
    "parse": parse.table,
    "pipeline": pipeline.table,
    "wire": wire.table,
    "memory": memory.table,
    "start": start.table,
}
_ONE = "--one"


def main() -> None:
    """Each table in a process of its own: what one has in memory would count for the next's children."""
    if sys.argv[1:2] == [_ONE]:
        print(TABLES[sys.argv[2]](), end="\n\n")
        return
    wanted = sys.argv[1:] or list(TABLES)
    unknown = [name for name in wanted if name not in TABLES]
    if unknown:
        sys.exit(f"no table {unknown[0]!r}; there is: {', '.join(TABLES)}")
    print(f"{PYTHON}, {os.cpu_count()} processors\n", flush=True)
    failed = [
        name
        for name in wanted
        if subprocess.run([sys.executable, "-m", "bench", _ONE, name], check=False).returncode
    ]
    if failed:
        sys.exit(f"bench: failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
