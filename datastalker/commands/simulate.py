"""`stalk simulate`: captures of an hour that never was, and the truth beside them."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from datastalker.simulator.people import SENSORS
from datastalker.simulator.scene import START, Options
from datastalker.simulator.write import Written, write_scene


@click.command("simulate")
@click.option(
    "--out",
    "directory",
    required=True,
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the files here; made if need be. Files of an earlier run are replaced.",
)
@click.option("--seed", default=1, show_default=True, help="The same seed, the same files.")
@click.option(
    "--minutes",
    default=60.0,
    show_default=True,
    type=click.FloatRange(1, 1440),
    help="Length of the scene. The story of an hour is told faster or slower.",
)
@click.option(
    "--sensors",
    default=3,
    show_default=True,
    type=click.IntRange(1, len(SENSORS)),
    help=f"How many listen: {', '.join(SENSORS)}, in this order.",
)
@click.option(
    "--attack/--no-attack",
    default=False,
    help="Somebody floods with deauthentications for 20 s, halfway, in an access point's name.",
)
@click.option(
    "--density",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0.1, 100),
    help="How busy the air is. From 10 on, beacons come as often as real ones do.",
)
@click.option(
    "--start",
    default=f"{START:%Y-%m-%dT%H:%M:%S}",
    show_default=True,
    type=click.DateTime(["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d"]),
    help="When the scene begins, UTC.",
)
def simulate_command(
    directory: Path,
    seed: int,
    minutes: float,
    sensors: int,
    attack: bool,
    density: float,
    start: datetime,
) -> None:
    """Make a sample: what several sensors hear in a house, and the truth about it.

    Three access points and a neighbour's, three people and a visitor with their phones and
    laptops, one phone that changes its address. Each sensor hears its own copies, with its own
    signal, losses and clock, and gets a capture file (DIR/sensor-NAME.pcap). DIR/truth-*.csv says
    what was really sent and who was really there; DIR/README.txt explains it.

    \b
    Example:
      stalk simulate --out sample --minutes 10 --attack
    """
    options = Options(seed, minutes, sensors, density, attack, start.replace(tzinfo=UTC))
    if not sys.stderr.isatty():
        written = write_scene(options, directory)
    else:
        with click.progressbar(length=1000, label="Playing the scene", file=sys.stderr) as bar:
            written = write_scene(
                options, directory, lambda part: bar.update(int(part * 1000) - bar.pos)
            )
            bar.update(1000 - bar.pos)
    click.echo(_summary(directory, written))


def _summary(directory: Path, written: Written) -> str:
    files = [f"  sensor-{name}.pcap  {n:,} frames" for name, n in written.frames.items()]
    return "\n".join((
        f"{directory}: {written.transmissions:,} transmissions, {written.heard:,} of them heard",
        *files,
        f"  truth-*.csv: {written.stays} stays of addresses; README.txt says what is in which",
    ))  # fmt: skip
