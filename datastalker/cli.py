"""`stalk`, the command line: finds the command, and shows an error as one sentence.

Exit codes: 0 done (also after Ctrl-C), 1 something could not be read, written or done, 2 the
configuration or the command line is wrong. A reader that goes away (`| head`) changes nothing.
"""

from __future__ import annotations

import errno
import importlib
import sys
from typing import Any

import click

from datastalker import __version__, standard_output
from datastalker.errors import ConfigError, DataStalkerError
from datastalker.options import suggest
from datastalker.text import printable

COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("run:run_command", "Run a pipeline in this process, no broker needed."),
    "top": ("top:top_command", "Watch networks, devices, sensors, stages, live."),
    "capture": ("capture:capture_command", "Capture, and publish to Kafka: a sensor node."),
    "interfaces": ("interfaces:interfaces_command", "List Wi-Fi cards and what they can hear."),
    "check": ("check:check_command", "Check a configuration: every mistake at once."),
    "test": ("test:test_command", "Run a configuration's tests: no broker, time under control."),
    "graph": ("graph:graph_command", "Draw a pipeline: stages, topics, who runs what."),
    "doctor": ("doctor:doctor_command", "Find what is wrong on this machine: cause and remedy."),
    "sink": ("sink:sink_command", "Store what comes over Kafka: one sink as its own process."),
    "tap": ("tap:tap_command", "Show messages while they pass a stage or come to a topic."),
    "spool": ("spool:spool_command", "See and send what an agent keeps on disk."),
    "replay": ("replay:replay_command", "Publish a range of a topic again, at any pace; compare."),
    "export": ("dump:export_command", "Write a range of a topic to a file, byte for byte."),
    "import": ("dump:import_command", "Publish what `export` wrote."),
    "dlq": ("dlq:dlq_command", "See and settle dead letters: what nobody could handle."),
    "elasticsearch": (
        "elasticsearch:elasticsearch_command",
        "Make the index templates that a pipeline needs.",
    ),
    "kibana": ("kibana:kibana_command", "Install dashboards of what is stored into Kibana."),
    "stages": ("stages:stages_command", "List stages, or explain one."),
    "schema": ("schema:schema_command", "Print the JSON Schema of configurations, for editors."),
    "new-stage": ("new_stage:new_stage_command", "Write a working stage of your own, with a test."),
    "report": ("report:report_command", "Show what CSV files tell: networks, devices, alerts."),
    "simulate": ("simulate:simulate_command", "Make captures of a simulated air, and the truth."),
    "topics": ("topics:topics_command", "Show, and make, the Kafka topics a configuration needs."),
    "install-service": (
        "service:install_service_command",
        "Make a systemd service: agent, worker, sink, or all.",
    ),
    "oui": ("oui:oui_command", "Look vendors up; update the registry from a file."),
}

_PARTS = {
    "elasticsearch": ("setup",),
    "kibana": ("install",),
    "dlq": ("ls", "show", "retry", "drop"),
    "spool": ("check", "show", "drain"),
    "topics": ("plan", "apply"),
}
"""Commands of a command that take a configuration."""

_STDOUT = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF}
"""How writing fails; a file of ours is named by its own error."""


class _Commands(click.Group):
    """A group that imports a command only when it is called: `--help` answers at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        found = COMMANDS.get(name)
        if found is None:
            return None
        module, attribute = found[0].split(":")
        loaded = importlib.import_module(f"datastalker.commands.{module}")
        command: click.Command = getattr(loaded, attribute)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if "--run" in given:
                error.message += " (--run goes with -c alone; `stalk run` has more: stalk run -h)"
            raise

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"no such command '{args[0]}'{suggest(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=_Commands,
    invoke_without_command=True,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with: stalk check -c config.yaml, then stalk --run -c config.yaml. "
    "Every command explains itself with --help.",
)
@click.option("--run", "run", is_flag=True, help="Run the pipeline of the configuration file.")
@click.option("--version", "version", is_flag=True, help="Show version and licence.")
@click.option(
    "-c", "--config", default="config.yaml", show_default=True, help="The configuration file."
)
@click.pass_context
def cli(ctx: click.Context, run: bool, version: bool, config: str) -> None:
    """DataStalker watches 802.11 traffic and makes sense of it.

    One YAML file describes the pipeline: a source, stages, sinks.
    """
    if ctx.get_parameter_source("config") is click.core.ParameterSource.COMMANDLINE:
        # `stalk -c FILE check` means the same as `stalk check -c FILE`.
        same = {"path": config}
        ctx.default_map = {n: same | dict.fromkeys(_PARTS.get(n, ()), same) for n in COMMANDS}
    if version:
        click.echo(f"DataStalker {__version__}\nLicense: MIT")
        ctx.exit(0)
    if run:
        if ctx.invoked_subcommand is not None:
            ctx.fail(f"--run and the command '{ctx.invoked_subcommand}': give one of them")
        command = cli.get_command(ctx, "run")
        assert command is not None
        ctx.invoke(command, path=config)
    elif ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(args: list[str] | None = None) -> Any:
    """Run the command line; never shows a traceback for what has a name."""
    standard_output.outlive_readers()
    try:
        cli.main(args, prog_name="stalk", standalone_mode=True)
    except ConfigError as error:
        for problem in error.problems:
            click.echo(str(problem), err=True)
        sys.exit(error.exit_code)
    except DataStalkerError as error:
        click.echo(f"stalk: {printable(str(error))}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.filename is not None or error.errno not in _STDOUT:
            raise
        standard_output.give_up()
        click.echo(f"stalk: standard output can't be written: {error.strerror}", err=True)
        sys.exit(1)
