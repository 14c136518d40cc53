"""What stands in a pipeline: sources, stages, sinks, and where they are registered by name.

A stage is a plain function of messages and state. It never reads a clock, opens a socket or knows
who runs it: time and state come to it, so a replay repeats itself to the byte. Counting, timing,
catching and retrying are the runner's.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar

from datastalker.message import Field, Message
from datastalker.options import Option
from datastalker.state import State
from datastalker.stats import Stats

Handled = Message | list[Message] | None


_signature: Callable[[Any], inspect.Signature] = functools.cache(
    lambda cls: inspect.signature(cls.__init__)
)


class Component:
    """What sources, stages and sinks share. The runner sets `stats`, `state` and `name`.

    The arguments of the constructor are attributes of the same name before `__init__` runs, so
    most classes need none; one that has its own need not repeat them.
    """

    name: ClassVar[str] = ""
    example: ClassVar[dict[str, Any]] = {}
    """Options to show in an example, where the defaults alone would be refused or say little."""
    log: ClassVar[logging.Logger] = logging.getLogger("datastalker.stage")
    carry_up: Callable[[Message], None] | None = None
    """Set by the runner: takes a message to what stands above."""
    stats: Stats
    state: State

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        self = super().__new__(cls)
        try:
            bound = _signature(cls).bind(self, *args, **kwargs)
        except TypeError:
            return self  # `__init__` is about to say what is wrong
        bound.apply_defaults()
        for name, value in list(bound.arguments.items())[1:]:
            if bound.signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
                vars(self).update(value)
            else:
                setattr(self, name, value)
        return self

    def __init__(self, stats: Stats, **options: Any) -> None:
        """Options are attributes already (see `Component`); this has nothing left to do."""

    @classmethod
    def from_config(cls, config: dict[str, Any], stats: Stats) -> Any:
        """Build from a configuration that was checked and completed with the defaults."""
        return cls(stats, **config)

    @classmethod
    def check_config(cls, config: dict[str, Any]) -> Iterable[tuple[str, str]]:
        """What can't be said option by option: yields (option, what is wrong with it).

        An option of a nested mapping is `outer.inner`, an item of a list `option.2`.
        """
        return ()

    @classmethod
    def warn_config(cls, config: dict[str, Any]) -> Iterable[tuple[str, str]]:
        """What `stalk check` warns of, since it may be otherwise where or when it runs: yields
        (option, what may be wrong)."""
        return ()

    @classmethod
    def state_key(cls, config: dict[str, Any]) -> list[str]:
        """The fields by which its state is kept: a topic above it must be partitioned by one.

        Empty: it keeps no state, or none that goes by a field.
        """
        return []

    def up(self, message: Message) -> None:
        """Send a message up the pipeline, to the source in the end: ask the hopper for a channel.

        It is there when this returns. A topic stops it, and so does whoever takes it; alone, in a
        test of one stage, nobody hears it.
        """
        if self.carry_up is not None:
            self.carry_up(message)

    def on_upstream(self, message: Message) -> Message | None:
        """What a component below has sent up: give it on (changed or not), or None to take it."""
        return message

    def adds(self) -> list[Field]:
        """The keys it sets beyond the contract: sinks give each a column of its own."""
        return []


class Stage(Component):
    """Takes messages and gives messages."""

    holds: ClassVar[bool] = False
    """It keeps messages and gives them later: only what never comes out was dropped."""
    delay: int = 0
    """For how many microseconds at most: the stages behind it are told of time so much later."""
    hides: ClassVar[bool] = False
    """It takes out what nobody is to see: `stalk check` warns of what stands above and has seen it."""
    emits: ClassVar[tuple[str, ...]] = ()
    """Types of the messages that it makes: a topic below it must say where they go."""

    def handle(self, message: Message) -> Handled:
        """Give the message on (changed or not), several, or None to drop it."""
        raise NotImplementedError(f"{type(self).__name__} has neither handle nor handle_bulk")

    def handle_bulk(self, messages: list[Message]) -> list[Message]:
        """Take a list of messages at once. An exception here loses the whole list, counted."""
        out: list[Message] = []
        for message in messages:
            result = self.handle(message)
            if isinstance(result, list):
                out += result
            elif result is not None:
                out.append(result)
        return out

    def tick(self, now: int) -> Iterable[Message]:
        """Time has moved: `now` is the greatest timestamp seen, microseconds.

        Called after each batch. Here is where `self.state.expired(now)` is taken; the default lets
        what expired go. Until then an entry that is over is still there: `self.state.alive(key)`
        looks past it, so what a stage says need not depend on where a batch ends.
        """
        self.state.expired(now)
        return ()

    def flush(self) -> Iterable[Message]:
        """The input has ended: give what is still held."""
        return ()

    def restored(self) -> None:
        """The state holds what it held before a restart: make anew what only follows from it."""


class SourceStage(Component):
    """Where messages come from: the first entry of a pipeline.

    A runner looks at `live` and `paced` after each batch.
    """

    live: bool = False
    """It can't be held back: what happens while nobody takes its messages is lost."""
    paced: bool = True
    """Messages come at a pace of their own, so nobody should wait for many of them to come
    together; False: as fast as they are taken."""

    now: int | None = None
    """What time it is by the source, microseconds, where it knows more than the messages that it
    gave (heartbeats); None: the greatest timestamp of those."""

    def open(self) -> None:
        """Take what needs rights, and give the rights away; before anything starts a thread.

        `run` comes later, in the same thread, and may be called without it.
        """

    def status(self) -> dict[str, Any]:
        """What it has to say beside the counts in the agent's status: short texts and numbers."""
        return {}

    def run(self) -> Iterator[list[Message]]:
        """Yield lists of messages.

        An empty list says "nothing now": a source that waits yields one at least every quarter
        of a second, for that is when the runner looks whether it should stop.
        """
        raise NotImplementedError

    def commit(self) -> None:
        """All that was yielded so far has gone through the pipeline."""

    def progress(self) -> tuple[int, int] | None:
        """(done, total) in any unit, or None where the end isn't known."""
        return None

    def close(self) -> None:
        """The run is over; called once, also after an error."""


class Refused(NamedTuple):
    """A message that a store will never take, and what it said of it."""

    message: Message
    reason: str


class PartitionWriter(Protocol):
    """Writes one partition of a topic exactly once: what is written lasts from `finish` on.

    What was written and not finished by a crash is cleared by the next who takes the partition.
    """

    def write(self, messages: list[Message], offset: int) -> None:
        """Store what the Kafka message at `offset` held, whole or not at all, unless it is there.

        Raises RetryLater, OutputError.
        """

    def due(self) -> bool:
        """Enough was written: it is time to finish."""

    def finish(self, following: int) -> None:
        """Make all last that came before the offset `following`. Raises OutputError."""

    def drop(self) -> None:
        """Forget what is not finished, and let others have the partition."""


class Sink(Component):
    """Where messages are stored. It only writes: batching, retry and commit are the runner's."""

    added: tuple[Field, ...] = ()
    """Fields that the stages before it add; set by who builds the pipeline."""
    overlaps: ClassVar[bool] = False
    """True: `write` may be called from two threads at a time, so that the next batch is under way
    while a store still works on the last one."""

    def open(self) -> None:
        """Look, before anything is read, whether it can work at all; asks nothing of the store.

        Raises DataStalkerError where it can't, such as where a package is missing.
        """

    def write(self, batch: list[Message]) -> Iterable[Refused] | None:
        """Store the messages; gives those that the store refused for good, if any.

        Raise RetryLater where it may be possible later, OutputError where it is not.
        """
        raise NotImplementedError

    def partition(self, topic: str, partition: int, topic_id: str) -> PartitionWriter | None:
        """Take a partition that this process was given. None: it is enough to `write` its messages
        at least once, since the store knows those that it has.

        `topic_id` tells topics of one name apart. Raises RetryLater while another has the
        partition.
        """
        return None

    def close(self) -> None:
        """Finish what is open, so that what was written can be used."""

    def result(self) -> str:
        """One line for people: what was written, and where. Empty: nothing to say."""
        return ""


AnyComponent = TypeVar("AnyComponent", bound=type[Component])

REGISTRY: dict[str, type[Component]] = {}
"""Every class that was registered so far, by its name in the YAML."""


_TAKEN = {"name", "state", "log", "when", "up"}
"""What no option can be called: the runner sets or calls it, or (`when`) looks at it itself."""


def _place(cls: type) -> tuple[str, str]:
    return cls.__module__, cls.__qualname__


def _check_options(name: str, cls: type) -> None:
    names = {
        key for base in cls.__mro__ for key in vars(base) if isinstance(vars(base)[key], Option)
    }
    for taken in sorted(_TAKEN & {*names, *_signature(cls).parameters}):
        raise ValueError(f"stage '{name}': no option can be called '{taken}', choose another name")


def register(name: str) -> Callable[[AnyComponent], AnyComponent]:
    """Decorator: the class stands under `name` in the YAML.

    Raises ValueError for a name that another class has, TypeError for what is no component.
    """

    def decorator(cls: AnyComponent) -> AnyComponent:
        if not (isinstance(cls, type) and issubclass(cls, Component)):
            raise TypeError(f"'{name}': a stage derives from Stage, SourceStage or Sink")
        _check_options(name, cls)
        other = REGISTRY.get(name)
        # The same class again is a module that was loaded twice: a plug-in reloaded, a test.
        if other is not None and _place(other) != _place(cls):
            raise ValueError(f"a stage '{name}' is registered already, by {other.__module__}")
        REGISTRY[name] = cls
        cls.name = name
        cls.log = logging.getLogger(f"datastalker.stage.{name}")
        return cls

    return decorator
