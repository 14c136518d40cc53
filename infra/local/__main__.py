"""`python -m infra.local start|stop|status|env`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from datastalker.standard_output import outlive_readers
from infra.local.errors import StackError
from infra.local.stack import DIRECTORY, SERVICES, Stack


def main(arguments: list[str] | None = None) -> int:
    """Run a command; gives the exit code."""
    options = _parser().parse_args(arguments)
    options.service = options.service or list(SERVICES)
    stack = Stack(
        options.directory,
        usual_ports=True,
        install=not getattr(options, "no_install", False),
        say=lambda text: print(f"stack: {text}", flush=True),
    )
    try:
        return int(options.run(stack, options))
    except StackError as error:
        print(f"stack: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstack: interrupted; what it was starting is ended", file=sys.stderr)
        return 130


def start(stack: Stack, options: argparse.Namespace) -> int:
    begin = time.monotonic()
    stack.start(options.service)
    print(f"stack: up in {time.monotonic() - begin:.0f} s; `make stack-stop` ends it\n")
    return status(stack, options)


def stop(stack: Stack, options: argparse.Namespace) -> int:
    ran = stack.stop(options.service, options.wipe)
    print(f"stack: stopped {', '.join(ran)}" if ran else "stack: nothing was running")
    if options.wipe:
        print("stack: what was stored is removed")
    return 0


def status(stack: Stack, options: argparse.Namespace) -> int:
    """0 where all asked for serve, else 3, as an init script says it."""
    all_ready = True
    for service in stack.services(options.service):
        ready = service.ready
        all_ready = all_ready and ready
        if ready:
            shown = f"{_address(stack, service.name):44} pid {service.pid}"
        else:
            shown = "runs, but does not answer" if service.running else "not running"
        print(f"  {service.name:14} {shown}")
        if service.log.exists():
            print(f"  {'':14} log: {service.log}")
    return 0 if all_ready else 3


def env(stack: Stack, options: argparse.Namespace) -> int:
    """For `eval "$(make -s stack-env)"`."""
    names = {
        "kafka": "KAFKA_BOOTSTRAP_SERVERS",
        "elasticsearch": "ELASTICSEARCH_URL",
        "registry": "SCHEMA_REGISTRY_URL",
    }
    for service in stack.services(options.service):
        if service.running:
            print(f"export {names[service.name]}={_address(stack, service.name)}")
    return 0


def watch(stack: Stack, options: argparse.Namespace) -> int:
    stack.watch(options.owner)
    return 0


def _address(stack: Stack, name: str) -> str:
    return {
        "kafka": lambda: stack.kafka.bootstrap_servers,
        "elasticsearch": lambda: stack.elasticsearch.url,
        "registry": lambda: stack.registry.url,
    }[name]()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m infra.local",
        description="Kafka, Elasticsearch and a schema registry on this machine, without Docker.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: object, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text)
        made.set_defaults(run=run)
        made.add_argument(
            *["--service", "-s"],
            action="append",
            choices=SERVICES,
            help="only this one; may be given again (all)",
        )
        made.add_argument(
            "--directory", type=Path, default=DIRECTORY, help="where data and logs lie (.stack)"
        )
        return made

    starting = command("start", start, "start the servers and wait until they serve")
    starting.add_argument(
        "--no-install", action="store_true", help="never install Java or Maven with apt"
    )
    stopping = command("stop", stop, "stop the servers; what they stored stays")
    stopping.add_argument("--wipe", action="store_true", help="remove what they stored")
    command("status", status, "what runs, and where")
    command("env", env, "the addresses as shell variables")
    watching = command("watch", watch, "kill the servers when a process ends (for tests)")
    watching.add_argument("--owner", type=int, required=True, help="the process")
    return parser


if __name__ == "__main__":
    outlive_readers()
    sys.exit(main())
