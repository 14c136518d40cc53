"""Who made the device: the vendor of a MAC address, from the IEEE's public registries.

    registry = Registry.load()
    registry.lookup("f0:99:b6:12:34:56")      'Apple, Inc.'
    is_randomized("da:a1:19:12:34:56")        True

The registries are MA-L and CID (blocks of 24 bits), MA-M (28), MA-S and IAB (36). The longest
prefix wins. A group address (multicast, broadcast) belongs to nobody: it has no vendor, and it
is not randomized. Terms: IEEE 802-2014, 8.2; https://standards.ieee.org/products-programs/regauth/

The file is text in gzip, so `zcat` shows it: a header (`# KEY: VALUE`), an empty line, then one
vendor a line, a tab, and its prefixes as they stand in an address. It is read at the first `load`,
not at import. How it is made: `datastalker.oui_update`.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TextIO

from datastalker.errors import InputError

FORMAT = "# DataStalker vendor registry 1"
SHIPPED = Path(__file__).with_name("data") / "oui.txt.gz"
FILE_NAME = "oui.txt.gz"

LOCAL_DIGITS = frozenset("26aeAE")
"""Second hex digit where the locally administered bit (0x02) is set and the group bit isn't."""


def is_randomized(address: str) -> bool:
    """Whether an individual address is locally administered: made up, not burnt in.

    It is the bit's word alone. Also an address under a registered CID (which has a vendor all the
    same), and the further BSSIDs of an access point, which it derives from its own address.
    """
    return address[1:2] in LOCAL_DIGITS


def user_path() -> Path:
    """Where `update` keeps the user's own registry: $XDG_DATA_HOME/datastalker/oui.txt.gz."""
    home = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return Path(home) / "datastalker" / FILE_NAME


@dataclass(frozen=True, slots=True)
class Registry:
    """Blocks of addresses and who they belong to.

    `blocks` maps a prefix as it stands in an address (`aa:bb:cc`, `aa:bb:cc:d`, `aa:bb:cc:dd:e`)
    to a vendor. `sources` are the files it was made from, each with its date.
    """

    blocks: Mapping[str, str] = field(repr=False)
    date: str = ""
    sources: Mapping[str, str] = field(default_factory=dict)
    path: Path | None = None
    _divided: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        divided = frozenset(prefix[:8] for prefix in self.blocks if len(prefix) > 8)
        object.__setattr__(self, "_divided", divided)

    @classmethod
    def load(cls, path: str | os.PathLike[str] | None = None) -> Registry:
        """The registry in `path`; by default the newer of the user's own and the shipped one.

        A file that was loaded is kept: who asks again, and it did not change, gets the same object.
        """
        return _load(*_stamp(Path(path) if path is not None else newest()))

    def lookup(self, address: str) -> str | None:
        """The vendor of `aa:bb:cc:dd:ee:ff` (lower case), by the longest registered prefix."""
        block = address[:8]
        get = self.blocks.get
        if block in self._divided:
            return get(address[:13]) or get(address[:10]) or get(block)
        return get(block)

    def prefix(self, address: str) -> str | None:
        """The registered prefix that `lookup` goes by."""
        return next((address[:n] for n in (13, 10, 8) if address[:n] in self.blocks), None)


def newest() -> Path:
    """The user's own registry where there is one and it isn't older than the shipped one."""
    own = user_path()
    if os.path.isfile(own) and _date(own) >= _date(SHIPPED):
        return own
    return SHIPPED


def _stamp(path: Path) -> tuple[Path, int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise unreadable(path, error.strerror or str(error)) from error
    return path, status.st_mtime_ns, status.st_size


@lru_cache(maxsize=4)
def _load(path: Path, _mtime: int, _size: int) -> Registry:
    blocks: dict[str, str] = {}
    with _opened(path) as file:
        header = _header(file, path)
        for line in file:
            vendor, _, prefixes = line.partition("\t")
            for prefix in prefixes.split():
                blocks[prefix] = vendor
    pairs = (source.rpartition(" ") for source in header.get("source", "").split(", ") if source)
    return Registry(blocks, header["date"], {name: date for name, _, date in pairs}, path)


def _date(path: Path) -> str:
    with _opened(path) as file:
        return _header(file, path)["date"]


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            yield file
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise unreadable(path, str(error)) from error


def _header(file: TextIO, path: Path) -> dict[str, str]:
    """The `# KEY: VALUE` lines above the first empty line."""
    if file.readline().rstrip("\n") != FORMAT:
        raise unreadable(path, f"it does not begin with '{FORMAT}'")
    rows = (
        line.rstrip("\n").removeprefix("# ").partition(": ") for line in iter(file.readline, "\n")
    )
    header = {key: value for key, colon, value in islice(rows, 16) if colon}
    if "date" not in header:
        raise unreadable(path, "its header has no date")
    return header


def unreadable(path: Path, why: str) -> InputError:
    return InputError(
        f"{path}: not a vendor registry: {why}. One is made from the IEEE's or Wireshark's files "
        f"by: stalk oui update --from FILE --out {FILE_NAME}"
    )
