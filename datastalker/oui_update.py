"""Makes the vendor registry: reads the IEEE's CSVs and Wireshark's manuf, merges, writes.

The file that is shipped and a user's own are made by the same `update`; the same files give the
same bytes. Sources are merged oldest first, so the newest says who owns a block; a block stays
when newer files lack it, since devices outlive an assignment (and a cut file then loses nothing).

Formats, each plain or in gzip, told apart by content:

- IEEE: oui.csv, mam.csv, oui36.csv, iab.csv, cid.csv from https://standards-oui.ieee.org/
- Wireshark: `manuf` of any age, and `tshark -G manuf`
- the registry that `update` writes
"""

from __future__ import annotations

import csv
import gzip
import html
import io
import os
import re
import tempfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path

from datastalker.errors import InputError, OutputError
from datastalker.oui import FORMAT, Registry

IEEE_HEADER = ["Registry", "Assignment", "Organization Name", "Organization Address"]
_ASSIGNMENT = re.compile(r"(?:[0-9A-Fa-f]{6}|[0-9A-Fa-f]{7}|[0-9A-Fa-f]{9})")
_MANUF = re.compile(r"([0-9A-Fa-f]{2}(?:[:.-]?[0-9A-Fa-f]{2}){2,7})(?:/(\d{1,2}))?")
_DIGITS = {24: 6, 28: 7, 36: 9}
_SUBDIVIDED = "ieee registration authority"
_MANUF_REMARK = "Officially Xerox, but"


def update(
    files: Iterable[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    base: Registry | None = None,
    dated: date | None = None,
) -> Registry:
    """Merge `files` into `base` and write the registry to `out`: all of it, or nothing.

    A file's date is `dated`, else the day it was last changed.
    """
    sources: list[tuple[str, str, Mapping[str, str]]] = []
    for path in map(Path, files):
        blocks = read(path)
        day = dated or datetime.fromtimestamp(path.stat().st_mtime, UTC).date()
        sources.append((day.isoformat(), path.name, blocks))
    if base is not None:
        sources.append((base.date, "", base.blocks))
    sources.sort(key=lambda source: source[:2])
    names = dict(base.sources) if base is not None else {}
    for since, name, _ in sources:
        if name:
            names[name] = max(since, names.get(name, ""))
    newest = max((day for day, _, _ in sources), default="")
    spelled = base.blocks if base is not None else None
    merged = merge([blocks for _, _, blocks in sources], spelled)
    registry = Registry(merged, newest, names, Path(out))
    write(registry, Path(out))
    return registry


def merge(
    sources: Iterable[Mapping[str, str]], spelled: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Blocks of all sources, a later one over an earlier one; one company, one spelling.

    Names that differ only in case, spaces and punctuation are one name: the spelling that is
    commonest in `spelled`, else in the first source that has it. So grouping by vendor stays
    whole, and an update does not rename what did not change.
    """
    merged: dict[str, str] = {}
    spellings: dict[str, str] = {}
    ordered = list(sources)
    for blocks in [spelled or {}, *ordered]:
        fresh: dict[str, Counter[str]] = defaultdict(Counter)
        for name in blocks.values():
            key = _letters(name)
            if key not in spellings:
                fresh[key][name] += 1
        for key, found in fresh.items():
            spellings[key] = min(found, key=lambda name: (-found[name], name))
    for blocks in ordered:
        for prefix, name in blocks.items():
            if name.casefold() == _SUBDIVIDED:  # the owners are those of its parts
                merged.pop(prefix, None)
            else:
                merged[prefix] = spellings[_letters(name)]
    return merged


def write(registry: Registry, out: Path) -> None:
    """Write the registry, sorted, in place of `out`: a reader finds the old file or the new one."""
    vendors: dict[str, list[str]] = defaultdict(list)
    for prefix, name in registry.blocks.items():
        vendors[name].append(prefix)
    header = [
        FORMAT,
        f"# date: {registry.date}",
        "# source: " + ", ".join(f"{name} {day}" for name, day in sorted(registry.sources.items())),
        f"# blocks: {len(registry.blocks)}",
        "",
    ]
    rows = (f"{name}\t{' '.join(sorted(prefixes))}" for name, prefixes in sorted(vendors.items()))
    text = "\n".join(chain(header, rows)) + "\n"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{out.name}.", dir=out.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(gzip.compress(text.encode(), 9, mtime=0))
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o644)
            os.replace(name, out)
        except BaseException:
            with suppress(OSError):
                os.unlink(name)
            raise
    except OSError as error:
        raise OutputError(f"{out}: can't write the vendor registry: {error.strerror}") from error


def read(path: Path) -> dict[str, str]:
    """Prefix → vendor of one file in any of the formats."""
    try:
        data = path.read_bytes()
        if data.startswith(b"\x1f\x8b"):
            data = gzip.decompress(data)
        text = data.decode("utf-8-sig")
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    except UnicodeDecodeError:
        raise _unknown(path) from None
    if text.startswith(FORMAT):
        return dict(Registry.load(path).blocks)
    if next(csv.reader([text.partition("\n")[0]]), None) == IEEE_HEADER:
        return _read_ieee(text, path)
    rows = (line for line in text.splitlines() if line.strip() and not line.startswith("#"))
    if _MANUF.match(next(rows, "")):
        return _read_manuf(text, path)
    raise _unknown(path)


def _read_ieee(text: str, path: Path) -> dict[str, str]:
    blocks: dict[str, str] = {}
    reader = csv.reader(io.StringIO(text, newline=""))
    for row in islice(reader, 1, None):
        if not row:
            continue
        if len(row) < 3 or not _ASSIGNMENT.fullmatch(row[1].strip()):
            raise InputError(
                f"{path}:{reader.line_num}: not a row of an IEEE registry: the second column "
                "must be an assignment of 6, 7 or 9 hex digits. Is the download whole?"
            )
        _add(blocks, row[1].strip(), html.unescape(row[2]))
    return blocks


def _read_manuf(text: str, path: Path) -> dict[str, str]:
    """`PREFIX[/BITS]  short  [full name]`; before 2016 the full name was a comment."""
    blocks: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        columns = [column.strip() for column in re.split(r"\t+", line.strip())]
        found = _MANUF.fullmatch(columns[0])
        if not found or len(columns) < 2:
            raise InputError(
                f"{path}:{number}: not a row of Wireshark's manuf: a prefix, a tab and a name must "
                "stand there. Is the download whole?"
            )
        digits = re.sub("[:.-]", "", found[1])
        bits = int(found[2]) if found[2] else len(digits) * 4
        name = columns[2] if len(columns) > 2 else columns[1]
        name = name.partition(" # ")[2] or name
        if bits in _DIGITS and not name.startswith(_MANUF_REMARK):  # others: well-known addresses
            _add(blocks, digits[: _DIGITS[bits]], name.removeprefix("# "))
    return blocks


def _add(blocks: dict[str, str], digits: str, name: str) -> None:
    name = " ".join("".join(c for c in name if c.isprintable() or c.isspace()).split())
    if name and int(digits[1], 16) & 1 == 0:  # a group address belongs to nobody
        pairs = (digits[at : at + 2].lower() for at in range(0, len(digits), 2))
        blocks[":".join(pairs)] = name


@lru_cache(maxsize=65536)
def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold())) or name


def _unknown(path: Path) -> InputError:
    return InputError(
        f"{path}: neither an IEEE registry (a CSV that begins with '{','.join(IEEE_HEADER)}') nor "
        "Wireshark's manuf (lines of a prefix, a tab and a name). The IEEE's are oui.csv, mam.csv, "
        "oui36.csv, iab.csv and cid.csv"
    )
