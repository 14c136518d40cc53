"""Helpers for tests of stages, ours and yours: frames, and a pipeline that is fed by hand."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from datastalker import config as configuration
from datastalker.message import Message
from datastalker.moment import SECOND, START
from datastalker.options import option
from datastalker.pipeline import Pipeline, SourceStage
from datastalker.stats import Stats

__all__ = ["SECOND", "START", "Messages", "build", "frame", "run", "run_stage"]


def frame(at: float = 0, **keys: Any) -> Message:
    """A frame `at` seconds after START; any key of the contract may be given, null ones left out."""
    values = {"type": "frame", "timestamp": START + round(at * SECOND), "kind": "DATA", **keys}
    return Message({key: value for key, value in values.items() if value is not None})


@Pipeline.register_stage("testing_messages")
class Messages(SourceStage):
    """Gives the messages it holds, in batches. For tests: `build` puts it in front."""

    batch: int = option(1000, "messages a batch")
    messages: Iterable[Message] = ()

    def __init__(self, stats: Stats, batch: int = 1000) -> None:
        self.stats, self.batch = stats, batch
        self.heard: list[Message] = []
        """What stages below it have sent up."""

    def on_upstream(self, message: Message) -> None:
        self.heard.append(message)

    def run(self) -> Any:
        todo = [Message(message) for message in self.messages]
        for index in range(0, len(todo), self.batch):
            yield todo[index : index + self.batch]


def build(pipeline: list[Any], messages: Iterable[Message] = (), **settings: Any) -> Pipeline:
    """A pipeline from what would stand in the YAML, fed with `messages`.

    Raises ConfigError as `stalk check` would show it.
    """
    batch = settings.pop("batch", 1000)
    document = {**settings, "pipeline": [{"testing_messages": {"batch": batch}}, *pipeline]}
    built = configuration.build(configuration.parse(yaml.safe_dump(document), "test.yaml"))
    assert isinstance(built.source, Messages)
    built.source.messages = messages
    return built


def run(pipeline: list[Any], messages: Iterable[Message], **settings: Any) -> list[Message]:
    """Everything that comes out at the end of a pipeline, what is flushed included."""
    built = build(pipeline, messages, **settings)
    out: list[Message] = []
    assert built.source is not None
    for batch in built.source.run():
        out += built.feed(batch)
        if built.stop_reason:
            break
    return out + built.finish()


def run_stage(
    stage: str, messages: Iterable[Message], plugin: str | Path | None = None, **options: Any
) -> list[Message]:
    """What one stage makes of `messages`, after the end of the input."""
    settings = {"plugins": [str(plugin)]} if plugin else {}
    return run([{stage: options or None}], messages, **settings)
