"""Options that commands share."""

from __future__ import annotations

import click

config_option = click.option(
    "-c",
    "--config",
    "path",
    default="config.yaml",
    show_default=True,
    help="The configuration file.",
)
"""Which file a command works with; its argument is `path`."""
