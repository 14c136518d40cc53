"""What comes to a topic, read by nobody's group: nothing is joined or committed."""

from __future__ import annotations

from collections.abc import Iterator

import click

from datastalker import extras
from datastalker.config import Config
from datastalker.errors import WireError
from datastalker.message import Message
from datastalker.position import Position
from datastalker.tapped import Counts
from datastalker.topics import TopicPlan
from datastalker.wire import framing_of


def follow(config: Config, plan: TopicPlan, begin: Position | None) -> Iterator[Message | Counts]:
    """The messages from `begin` (None: from now) on, and the counts now and then; for ever.

    Where `begin` names partitions, or what is not there, that is shown.

    Raises BrokerError, RegistryError.
    """
    with extras.needs("reading a topic", "agent"):
        from datastalker.history import History
        from datastalker.record import Decoder
    decoder = Decoder(framing_of(config.settings.get("schema_registry")))
    seen = unreadable = 0
    with History(config, [plan.name], begin, follow=True) as history:
        for note in history.notes:
            click.echo(note, err=True)
        for records in history.read():
            for record in records:
                try:
                    found = decoder.decode(record).messages
                except WireError:
                    unreadable += 1
                    continue
                seen += len(found)
                yield from found
            yield {"seen": seen, "unreadable": unreadable}
