"""`make bench`: every table of the README, measured in one run. `make bench BENCH=parse` for one."""

from __future__ import annotations

import os
import sys

from bench import memory, parse, pipeline, start, wire

TABLES = {
    "parse": parse.table,
    "pipeline": pipeline.table,
    "wire": wire.table,
    "memory": memory.table,
    "start": start.table,
}


def main() -> None:
    wanted = sys.argv[1:] or list(TABLES)
    unknown = [name for name in wanted if name not in TABLES]
    if unknown:
        sys.exit(f"no table {unknown[0]!r}; there is: {', '.join(TABLES)}")
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} processors\n")
    for name in wanted:
        print(TABLES[name](), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
