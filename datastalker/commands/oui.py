"""`stalk oui`: ask the vendor registry, look where it comes from, bring it up to date."""

from __future__ import annotations

import re
from collections import Counter
from datetime import datetime
from pathlib import Path

import click

from datastalker.errors import InputError
from datastalker.oui import SHIPPED, Registry, is_randomized, user_path
from datastalker.text import one_line

_SIZES = {
    8: "24 bits (MA-L, CID)",
    10: "28 bits (MA-M)",
    13: "36 bits (MA-S, IAB)",
}
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group("oui")
def oui_command() -> None:
    """Vendors of addresses: show, info, update."""


@oui_command.command()
@click.argument("addresses", metavar="ADDRESS...", nargs=-1, required=True)
@click.option("--registry", type=_FILE, help="Ask this file instead of the newest there is.")
def show(addresses: tuple[str, ...], registry: Path | None) -> None:
    """Who made the device with this ADDRESS. The first three octets suffice."""
    known = Registry.load(registry)
    for at, address in enumerate(map(_address, addresses)):
        prefix = known.prefix(address)
        rows = {
            "address": address,
            "vendor": known.lookup(address) or "unknown",
            "block": f"{prefix}, {_SIZES[len(prefix)]}" if prefix else "not registered",
            "kind": _kind(address),
        }
        click.echo("\n" * bool(at) + _table(rows))


@oui_command.command()
@click.option("--registry", type=_FILE, help="Describe this file instead of the newest there is.")
def info(registry: Path | None) -> None:
    """Which registry is used, how old it is and what it was made from."""
    known = Registry.load(registry)
    sizes = Counter(len(prefix) for prefix in known.blocks)
    whose = {SHIPPED: " (shipped)", user_path(): " (your own)"}.get(known.path or SHIPPED, "")
    rows = {
        "registry": f"{known.path}{whose}",
        "date": known.date,
        "vendors": f"{len(set(known.blocks.values())):,}",
        "blocks": f"{len(known.blocks):,}",
        **{f"  {name}": f"{sizes[length]:,}" for length, name in _SIZES.items()},
        "made from": ", ".join(f"{name} of {day}" for name, day in known.sources.items()),
    }
    click.echo(_table(rows))


@oui_command.command()
@click.option(
    "--from",
    "first",
    metavar="FILE...",
    type=_FILE,
    multiple=True,
    required=True,
    help="The IEEE's oui.csv, mam.csv, oui36.csv, iab.csv, cid.csv; or Wireshark's manuf.",
)
@click.argument("files", type=_FILE, nargs=-1, metavar="")
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write this file instead of your own registry.",
)
@click.option(
    "--date",
    "dated",
    metavar="YYYY-MM-DD",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Date of the files, where it isn't the day they were last changed.",
)
@click.option("--fresh", is_flag=True, help="Take nothing over from the registry there is.")
def update(
    first: tuple[Path, ...],
    files: tuple[Path, ...],
    out: Path | None,
    dated: datetime | None,
    fresh: bool,
) -> None:
    """Merge newer files into your own registry, which is then used instead of the shipped one."""
    from datastalker.oui_update import update as merge_into

    base = None if fresh else _base()
    before = dict(base.blocks) if base else {}
    target = out or user_path()
    made = merge_into(first + files, target, base=base, dated=dated.date() if dated else None)
    added = sum(prefix not in before for prefix in made.blocks)
    changed = sum(before.get(prefix, name) != name for prefix, name in made.blocks.items())
    click.echo(
        f"{target}: {len(made.blocks):,} blocks of {made.date}, {added:,} new, {changed:,} changed"
    )
    if out is None and Registry.load().path != target:
        click.echo(
            f"It is older than the shipped registry of {Registry.load().date}: not used yet."
        )


def _base() -> Registry:
    try:
        return Registry.load()
    except InputError:  # one's own is damaged, and about to be written anew
        return Registry.load(SHIPPED)


def _address(text: str) -> str:
    """`F0-99-B6-…`, `f099.b6…`, `f099b6…` as an address is written here."""
    digits = re.sub("[:.-]", "", text.strip()).lower()
    if not re.fullmatch("[0-9a-f]{6,12}", digits):
        raise click.BadParameter(f"'{text}' is not an address; one is written aa:bb:cc:dd:ee:ff")
    return ":".join(digits[at : at + 2] for at in range(0, len(digits), 2))


def _kind(address: str) -> str:
    if is_randomized(address):
        return "randomized (locally administered)"
    return "group" if int(address[1], 16) & 1 else "universal"


def _table(rows: dict[str, str]) -> str:
    width = max(map(len, rows))
    return "\n".join(f"{name:{width}}  {one_line(value)}" for name, value in rows.items())
