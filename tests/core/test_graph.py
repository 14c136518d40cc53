"""`stalk graph`: a pipeline as text, Mermaid and SVG, whatever its names are."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from datastalker.catalog import PLUGIN
from datastalker.cli import main
from datastalker.commands.drawing import text
from datastalker.commands.drawing.model import graph
from datastalker.commands.tables import columns
from datastalker.config import parse
from datastalker.stage import REGISTRY

HOME = """\
name: home
kafka: {partitions: 4, retention_hours: 72}
topics: {wifi.presence: {partitions: 1}}
pipeline:
  - wifi_sniffer: {interface: wlan0mon}
  - pseudonymise: {key: 0123456789abcdef-secret}
  - topic: wifi.frames
  - dedupe: {window_seconds: 3}
  - beacon_filter: {when: {kind: [BEACON], signal_dbm: {gte: -70}}}
  - topic: {frame: wifi.out, presence: wifi.presence}
  - csv: {directory: out, when: {type: presence}}
  - elasticsearch: {hosts: ["http://me:secret@es:9200"], username: me, password: secret}
"""

DRAWN = """\
┌─ capture agent: stalk capture ───────────────────────────────────────────────┐
│ wifi_sniffer  interface: wlan0mon                                            │
│ pseudonymise  key: (secret)                                                  │
│ · status in home.sensors, 4 partitions by key, compacted                     │
└┬─────────────────────────────────────────────────────────────────────────────┘
 ▼ wifi.frames  frame, 4 partitions by ta, kept 3 days
┌─ workers home-1: faust -A processors worker ─────────────────────────────────┐
│ dedupe         window_seconds: 3                                             │
│ beacon_filter  when kind: [BEACON], signal_dbm: {gte: -70}                   │
│ · state in home-1-state-changelog, 4 partitions, compacted                   │
│ · dead letters in home.dead-letters, 4 partitions by key, kept 3 days        │
└┬─────────────────────────────────────────────────────────────────────────────┘
 ▼ wifi.out  frame, 4 partitions by ta, kept 3 days
 ▼ wifi.presence  presence, 1 partition, compacted
 ├─┌─ sink: stalk sink csv ────────────────────────────────────────────────────┐
 │ │ csv  directory: out                                                       │
 │ │      when type: presence                                                  │
 │ │ · dead letters in home.dead-letters, 4 partitions by key, kept 3 days     │
 │ └───────────────────────────────────────────────────────────────────────────┘
 └─┌─ sink: stalk sink elasticsearch ──────────────────────────────────────────┐
   │ elasticsearch  hosts: [http://…@es:9200], username: me,                   │
   │                password: (secret)                                         │
   │ · dead letters in home.dead-letters, 4 partitions by key, kept 3 days     │
   └───────────────────────────────────────────────────────────────────────────┘
"""

ODD = '<script>alert("x")</script>`"]} end %%{init}%% \x1b[31m日本語'
PLUG_IN = f"""\
from datastalker.options import option
from datastalker.pipeline import Pipeline, Stage

@Pipeline.register_stage({ODD!r})
class Odd(Stage):
    text: str = option("", "any")
    smtp_password: str = option("", "not declared as secret")
    headers: dict = option({{}}, "may hold secrets")
    accounts: list = option([], "likewise")

    def handle(self, message):
        return message
"""
HOSTILE = r"""
plugins: [odd.py]
pipeline:
  - pcap: {path: "</text><script>alert(1)</script> #lt; &amp; \u202e\uFFFF"}
  - topic: a
  - "<script>alert(\"x\")</script>`\"]} end %%{init}%% \e[31m日本語":
      text: "a\nb]\"]; click n0 \"javascript:alert(1)\" --> #60; | end"
      smtp_password: hunter2
      headers: {Authorization: Bearer hunter2, X-Token: hunter2, X-Api-Key: 86753090}
      accounts: [{password: hunter2}, {credentials: {pin: hunter2}}, {tokens: [hunter2]}]
      when: {ssid: {matches: "[<\"|]"}}
  - topic: b
  - csv: {directory: "out\e]0;x\a"}
"""

MERMAID = [
    re.compile(pattern)
    for pattern in (
        r"flowchart TB",
        r'  subgraph s\d+\["L"\]',
        r'    n\d+\["L(<br/>L)*"\]:::(source|stage|sink)',
        r"    n\d+( --> n\d+)+",
        r"  end",
        r'  t\d+\[\("L(<br/>L)*"\)\]:::(topic|beside)',
        r"  [nt]\d+ --> [nt]\d+",
        r'  s\d+ -\.->\|"L"\| t\d+',
        r"  classDef \w+ fill:#\w+,stroke:#\w+,color:#123(,stroke-dasharray:4 4)?",
    )
]
"""All that a chart is made of. L: a label; Mermaid 11 takes and shows such charts as they are meant."""
_LABEL = r"(?:[A-Za-z0-9 .,:_/()+=\-]|#\d+;)*"


@pytest.fixture(autouse=True)
def own_registry() -> Iterator[None]:
    yield
    for name in [n for n, cls in REGISTRY.items() if cls.__module__.startswith(PLUGIN)]:
        del REGISTRY[name]


Draw = Callable[..., str]


@pytest.fixture
def draw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Draw:
    monkeypatch.chdir(tmp_path)
    Path("odd.py").write_text(PLUG_IN, encoding="utf-8")

    def run(config: str, *arguments: str) -> str:
        Path("c.yaml").write_text(config, encoding="utf-8")
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main(["graph", "-c", "c.yaml", *arguments])
        assert not end.value.code, capsys.readouterr().err
        return capsys.readouterr().out

    return run


def test_a_terminal_shows_who_runs_what_and_the_topics_between(draw: Draw) -> None:
    assert draw(HOME) == DRAWN


def test_a_pipeline_that_begins_with_a_topic_is_one_process_that_reads_it(draw: Draw) -> None:
    said = draw("pipeline: [topic: a.frames, dedupe, csv: {directory: out}]\n")

    first, *rest = said.splitlines()
    assert first.startswith(" ▼ a.frames")
    assert rest[0].startswith("┌─ one process: stalk run ")
    assert [line.split()[1] for line in rest[1:-1]] == ["dedupe", "csv"]


def test_a_pipeline_without_a_topic_is_one_process(draw: Draw) -> None:
    out = draw("pipeline: [{pcap: {path: x}}, oui, {csv: {directory: out}}]")

    assert out.splitlines()[0].startswith("┌─ one process: stalk run ─")
    assert "dead letters" not in out


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("config", [HOME, HOSTILE], ids=["home", "hostile"])
def test_no_line_is_wider_than_the_terminal(draw: Draw, config: str, width: int) -> None:
    draw(config)  # writes the plug-in
    drawn = text.draw(graph(parse(config, "c.yaml")), width)

    assert max(map(columns, drawn.splitlines())) == width


def test_where_boxes_cant_be_drawn_ascii_does(draw: Draw) -> None:
    draw(HOSTILE)
    drawn = text.draw(graph(parse(HOSTILE, "c.yaml")), 80, "ascii")

    assert drawn.isascii()
    assert drawn.startswith("+- capture agent: stalk capture --")


@pytest.mark.parametrize("form", ["text", "mermaid", "svg"])
def test_no_drawing_shows_a_secret(draw: Draw, form: str) -> None:
    shown = draw(HOME, "--format", form) + draw(HOSTILE, "--format", form)

    assert "hunter2" not in shown
    assert "86753090" not in shown
    assert "secret" not in shown.replace("(secret)", "")
    assert "smtp_password: (secret)" in shown


@pytest.mark.parametrize("config", [HOME, HOSTILE], ids=["home", "hostile"])
def test_mermaid_has_nothing_in_its_labels_but_harmless_characters(draw: Draw, config: str) -> None:
    lines = draw(config, "--format", "mermaid").splitlines()
    patterns = [re.compile(p.pattern.replace("L", _LABEL)) for p in MERMAID]

    assert [line for line in lines if not any(p.fullmatch(line) for p in patterns)] == []
    assert sum(line.strip() == "end" for line in lines) == sum("subgraph" in x for x in lines)


@pytest.mark.parametrize("config", [HOME, HOSTILE], ids=["home", "hostile"])
def test_an_svg_is_whole_and_of_shapes_and_text_alone(draw: Draw, config: str) -> None:
    drawn = draw(config, "--format", "svg")
    tags = {element.tag.rpartition("}")[2] for element in ElementTree.fromstring(drawn).iter()}

    assert tags == {"svg", "title", "style", "defs", "marker", "path", "rect", "text"}
    assert "prefers-color-scheme:dark" in drawn
    assert "\x1b" not in drawn
    assert "http" not in drawn.replace("http://www.w3.org/2000/svg", "").replace("http://…@", "")


@pytest.mark.parametrize("form", ["text", "mermaid", "svg"])
def test_each_form_has_the_stages_the_cuts_and_their_keys(draw: Draw, form: str) -> None:
    drawn = draw(HOME, "--format", form)

    for part in ("wifi_sniffer", "pseudonymise", "dedupe", "beacon_filter", "csv", "elasticsearch",
                 "capture agent: stalk capture", "workers home-1", "sink: stalk sink csv",
                 "wifi.frames", "wifi.out", "wifi.presence", "home.sensors",
                 "home-1-state-changelog", "home.dead-letters", "1 partition, compacted"):  # fmt: skip
        assert part in drawn, part
    assert drawn.count("4 partitions by ta, kept 3 days") == 2


def test_in_mermaid_each_sink_is_reached_by_the_topics_alone(draw: Draw) -> None:
    drawn = draw(HOME, "--format", "mermaid")
    names = dict(re.findall(r"^ +(\w+)\[\(?\"([\w.-]+)", drawn, re.M))
    arrows = [
        pair
        for line in re.findall(r"^ +(\w+(?: --> \w+)+)$", drawn, re.M)
        for pair in pairwise(names[n] for n in line.split(" --> "))
    ]

    assert arrows == [
        ("wifi_sniffer", "pseudonymise"),
        ("pseudonymise", "wifi.frames"),
        ("dedupe", "beacon_filter"),
        ("wifi.frames", "dedupe"),
        ("beacon_filter", "wifi.out"),
        ("beacon_filter", "wifi.presence"),
        ("wifi.out", "csv"),
        ("wifi.presence", "csv"),
        ("wifi.out", "elasticsearch"),
        ("wifi.presence", "elasticsearch"),
    ]


def test_what_is_written_to_a_file_goes_by_its_name(draw: Draw) -> None:
    assert draw(HOME, "-o", "a.svg") + draw(HOME, "-o", "a.mmd") + draw(HOME, "-o", "a.txt") == ""

    assert Path("a.svg").read_text(encoding="utf-8").startswith("<svg ")
    assert Path("a.mmd").read_text(encoding="utf-8").startswith("flowchart TB\n")
    assert Path("a.txt").read_text(encoding="utf-8") == DRAWN
    with pytest.raises(SystemExit) as end:
        main(["graph", "-c", "c.yaml", "-o", "nowhere/a.svg"])
    assert end.value.code == 1


def test_a_name_that_tells_no_format_is_refused_unless_one_is_named(
    draw: Draw, capsys: pytest.CaptureFixture[str]
) -> None:
    assert draw(HOME, "-o", "a.md", "--format", "mermaid") + draw(HOME, "-o", "A.SVG") == ""
    assert Path("a.md").read_text(encoding="utf-8").startswith("flowchart TB\n")
    assert Path("A.SVG").read_text(encoding="utf-8").startswith("<svg ")

    with pytest.raises(SystemExit) as end:
        main(["graph", "-c", "c.yaml", "-o", "a.png"])
    assert end.value.code == 2
    said = "a.png must end with one of .svg, .mmd, .mermaid, .txt; else name its --format\n"
    assert capsys.readouterr().err.endswith(said)
    assert not Path("a.png").exists()


def test_the_page_shows_the_home_alarm(capsys: pytest.CaptureFixture[str]) -> None:
    root = Path(__file__).resolve().parents[2]
    with pytest.raises(SystemExit):
        main(["graph", "-c", str(root / "examples/home_alarm.yaml")])

    assert capsys.readouterr().out in (root / "docs/draw-a-pipeline.md").read_text("utf-8")
