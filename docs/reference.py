"""Writes what is generated from the code: the reference pages, config.template.yml, systemd units,
Kibana's objects.

Run by `make reference`; a test compares the files with what this gives.
"""

from __future__ import annotations

import inspect
import textwrap
from pathlib import Path
from typing import Any

from datastalker import config as configuration
from datastalker.cases import CASE, EXPECT
from datastalker.catalog import BUILTIN
from datastalker.commands.drawing import model, svg
from datastalker.commands.stages import as_yaml, everything, role, summary
from datastalker.config import NESTED, SETTINGS
from datastalker.message import FIELDS
from datastalker.options import Option, flat, options_of
from datastalker.service import Service
from datastalker.topics import TOPIC
from docs.reference_commands import commands
from docs.reference_metrics import metrics
from docs.reference_wire import wire
from infra.kibana.dashboards import files

ROOT = Path(__file__).resolve().parent.parent

_HEAD = """\
# DataStalker's configuration: every stage, every option, with its default.
# Made by `make reference` from the code. Copy what you need; `stalk check -c FILE` explains mistakes.
#
# In any value: ${VARIABLE}, ${VARIABLE:-default}, ${file:PATH}. On any stage: a condition,
#   - oui: {fields: [ta], when: {kind: [BEACON, PROBE_RESP], signal_dbm: {gte: -70}}}
# passes what does not meet it by. A stage without options may be its bare name: `- beacon_filter`.
"""


def builtin() -> dict[str, Any]:
    """The built-in stages in the order in which a frame meets them."""
    found = everything()
    return {name: found[name] for name in BUILTIN}


_ORDER = ("pcap", "pseudonymise", "dedupe", "beacon_filter", "oui", "moving_average", "presence")
"""The template's pipeline; what else there is stands behind it, switched off by OFF."""
OFF = "#~ "
INSTEAD = "#= "
"""Switches off what may stand in the place of the source."""


def template() -> str:
    """The text of config.template.yml. Without its `#~ ` every stage is switched on."""
    lines = [_HEAD]
    for opt in SETTINGS.values():
        if opt.name in NESTED or opt.name in ("topics", "tests"):
            continue
        value = as_yaml(opt.default)
        lines.append(f"# {opt.help}\n{'# ' if opt.default is None else ''}{opt.name}: {value}")
    for name, options in NESTED.items():
        lines += ["", f"# {name}: {SETTINGS[name].help.split(':')[0]}", f"{OFF}{name}:"]
        for opt in options.values():
            value = "http://localhost:8081" if opt.required else opt.default
            lines.append(f"  # {_about(opt)}\n{OFF}  {opt.name}: {as_yaml(value)}")
    lines += ["", f"# {SETTINGS['topics'].help}", f"{OFF}topics:", f"{OFF}  wifi.decorated:"]
    for opt in TOPIC.values():
        lines.append(f"    # {_about(opt)}\n{OFF}    {opt.name}: {as_yaml(opt.default)}")
    found = builtin()
    lines.append("\npipeline:")
    for name in _ORDER:
        lines += _stage(name, found[name], OFF if name == "pseudonymise" else "")
        if name == "pcap":
            lines += ["", "  # The other source, in its place: take the #= away."]
            lines += _stage("wifi_sniffer", found["wifi_sniffer"], INSTEAD)
    lines += ["", "  # Others, to switch on: take the #~ away."]
    for name in ("strip", "limit", "print"):
        lines += _stage(name, found[name], OFF)
    lines += [
        "",
        "  # A topic cuts the pipeline. Run as one process, messages are handed over in memory.",
        f"{OFF}  - topic: {{frame: wifi.decorated, presence: wifi.presence}}",
    ]
    lines += _stage("csv", found["csv"])
    lines += _stage("elasticsearch", found["elasticsearch"], OFF)
    lines.append(_TESTS)
    return "\n".join(lines) + "\n"


_TESTS = """
# What `stalk test -c FILE` runs: no broker, no card, nothing written, and time is the test's.
# docs/test-a-pipeline.md has all steps and options.
tests:
  - name: a device that is not heard for five minutes is absent, also where a worker crashes
    steps:
      - given: {ta: "02:00:00:00:00:01", kind: DATA, seq: 1, signal_dbm: -50}
      - crash
      - advance: 5m
      - expect:
          sink: csv
          type: presence
          messages:
            - {event: NEW, signal_max_dbm: -50}
            - {event: ABSENT, timestamp: start+5m}"""


def _stage(name: str, cls: Any, off: str = "") -> list[str]:
    lines = ["", *(f"  # {line}" for line in textwrap.wrap(summary(cls), 94))]
    lines.append(f"{off}  - {name}:")
    for opt in (options_of(cls) or {}).values():
        value = cls.example.get(opt.name, opt.default)
        lines += [f"      # {line}" for line in textwrap.wrap(_about(opt), 90)]
        lines.append(f"{off}      {opt.name}: {as_yaml(value)}")
        if opt.nested is not None:
            inner = (options_of(opt.nested) or {}).values()
            said = [f"{o.name}: {as_yaml(o.default)}" for o in inner]
            lines += [f"      #   {line}" for line in textwrap.wrap(", ".join(said), 90)]
    return lines


def _about(opt: Option) -> str:
    return f"{opt.help} ({opt.type_name})"


def reference() -> str:
    """The text of docs/reference.md."""
    lines = [
        "# Reference",
        "",
        "Made by `make reference` from the code. `stalk stages NAME` shows the same in a terminal.",
        "",
        "## The file",
        "",
        *_options_table(SETTINGS),
        "",
        "`pipeline` is the list of what follows, read from top to bottom.",
        "",
    ]
    for name, options in {**NESTED, "topics: NAME": TOPIC}.items():
        lines += [f"### `{name}:`", "", *_options_table(options), ""]
    for name, options in {"tests": CASE, "tests: steps: expect": EXPECT}.items():
        lines += [f"### `{name}:`", "", *_options_table(options), ""]
    for wanted, title in (("source", "Sources"), ("stage", "Stages"), ("sink", "Sinks")):
        lines += [f"## {title}", ""]
        for name, cls in builtin().items():
            if role(cls) != wanted:
                continue
            options = options_of(cls) or {}
            lines += [f"### {name}", "", inspect.getdoc(cls) or "", ""]
            lines += [*_options_table(options), ""] if options else ["No options.", ""]
    for kind, fields in FIELDS.items():
        lines += [f"## Keys of a message of type `{kind}`", "", "| key | type | what | found in |"]
        lines += ["| --- | --- | --- | --- |"]
        for field in fields.values():
            lines.append(f"| `{field.name}` | {field.type} | {field.help} | {field.only} |")
        lines.append("")
    return "\n".join(lines)


def _options_table(options: dict[str, Option]) -> list[str]:
    rows = ["| option | type | default | what |", "| --- | --- | --- | --- |"]
    for opt in flat(options):
        default = "required" if opt.required else f"`{as_yaml(opt.default)}`"
        rows.append(f"| `{opt.name}` | {opt.type_name} | {default} | {opt.help} |")
    return rows


def picture() -> str:
    """The drawing of the home alarm."""
    return svg.draw(model.graph(configuration.load(str(ROOT / "examples/home_alarm.yaml"))))


def units() -> dict[str, str]:
    """The units of infra/systemd, for an installation in /opt/datastalker."""
    python, units = Path("/opt/datastalker/bin/python"), {}
    for name, whose in (("config.yaml", ("agent", "worker", "sink")), ("alone.yaml", ("run",))):
        text = (ROOT / "infra/systemd" / name).read_text(encoding="utf-8")
        config = configuration.parse(text, f"/etc/datastalker/{name}")
        for each in whose:
            service = Service(config, each, python=python, checkout=None)
            units[f"infra/systemd/{service.name}"] = service.unit()
    return units


def generated() -> dict[Path, str]:
    """Every generated file and its text."""
    texts = {
        "docs/reference.md": reference(),
        "docs/commands.md": commands(),
        "docs/wire.md": wire(),
        "docs/metrics.md": metrics(),
        "config.template.yml": template(),
        "docs/images/graph.svg": picture(),
        **units(),
    }
    return {ROOT / name: text for name, text in texts.items()} | files()


if __name__ == "__main__":
    for path, text in generated().items():
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
