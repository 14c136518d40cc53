"""`agent:` in the configuration is checked like everything else; its page says what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from datastalker import config as configuration
from datastalker.agent_settings import AGENT
from datastalker.commands.capture import capture_command
from datastalker.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
PIPELINE = "pipeline: [{pcap: {path: x.pcap}}, {topic: frames}]\n"


def test_a_misspelled_option_and_a_value_out_of_bounds_are_shown_where_they_are() -> None:
    text = "agent: {batch_frame: 3, linger_ms: -1, heartbeat_seconds: often}\n" + PIPELINE

    found = [str(p) for p in configuration.parse(text, "c.yaml").problems]

    assert found == [
        "c.yaml:1:9: unknown option 'batch_frame', did you mean 'batch_frames'?",
        "c.yaml:1:25: option 'linger_ms' must be at least 0, not -1",
        "c.yaml:1:40: option 'heartbeat_seconds' must be a number, not the text 'often'",
    ]


def test_a_spool_has_two_mebibytes_at_least() -> None:
    def problems(size: str) -> list[str]:
        text = f"agent: {{spool_directory: s, spool_mb: {size}}}\n"
        return [str(p) for p in configuration.parse(text + PIPELINE, "c.yaml").problems]

    assert problems("1.9") == ["c.yaml:1:29: option 'spool_mb' must be at least 2, not 1.9"]
    assert problems("2") == []


@pytest.mark.parametrize("name", ["''", "' '"])
def test_a_spool_without_a_name_is_not_the_folder_of_the_start(name: str) -> None:
    text = f"agent: {{spool_directory: {name}}}\n" + PIPELINE

    (problem,) = configuration.parse(text, "c.yaml").problems

    assert "option 'spool_directory' is empty; '.' is the folder that" in str(problem)


def test_what_is_not_given_is_the_default() -> None:
    agent = configuration.parse("agent: {linger_ms: 20}\n" + PIPELINE, "c.yaml").agent

    assert agent["linger_ms"] == 20
    assert agent["batch_frames"] == 200


def test_the_page_has_every_option_with_its_default() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\S+) \|", (ROOT / "docs/agent.md").read_text(), re.M)

    assert dict(rows) == {
        name: "null" if option.default is None else f"{option.default}".lower()
        for name, option in AGENT.items()
    }


def test_a_pipeline_without_a_topic_has_nothing_to_publish_to(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("pipeline: [{pcap: {path: x.pcap}}, {csv: {directory: out}}]\n")

    with pytest.raises(ConfigError, match="there is no topic in the pipeline") as raised:
        CliRunner().invoke(capture_command, ["-c", str(path)], catch_exceptions=False)

    assert "stalk run" in str(raised.value)
