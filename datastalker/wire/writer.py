"""Frames to bytes, as fast as pure Python goes: what repeats is written once and remembered.

Messages of one kind and one radio header have the same keys in the same order: a shape. For each
shape the way to its bytes is laid out once: constant bytes for what it hasn't, and steps. A step
picks one value, or a tuple of values of neighbouring fields that repeat together (kind, flags and
radio header; addresses; what a beacon says), and looks its bytes up. Of
shapes that come often a function is made. What is remembered is bounded.

A frame that was read from Kafka to be sent on (`reader.Wire`), and that stages left as it was but
for keys without a field of their own, need not be laid out again: its bytes are put together from
those that it had. What a stage changed shows, since all it was read as is compared.

The bytes are those of `fastavro.schemaless_writer` for the record of `frames.to_record`, which is
also the way taken by what is unusual, and the one that names what can't be written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from datastalker.errors import WireError
from datastalker.message import Message
from datastalker.wire import frames
from datastalker.wire.extra import ExtraWriter
from datastalker.wire.frames import ABSENT, ADDRESSES, IN_WPS, INHERITED, LISTS, Origin
from datastalker.wire.memo import (
    ByIdentity,
    Memo,
    Memory,
    Step,
    Text,
    Time,
    write_number,
    write_text,
)
from datastalker.wire.primitives import Codec, write_long
from datastalker.wire.reader import Wire
from datastalker.wire.shape import OFTEN, Shape

LIMIT = 1 << 14
"""Values, and tuples of values, whose bytes are remembered."""
LIMIT_NUMBERS = 1 << 14
"""Sequence numbers, lengths and durations whose bytes are."""
LIMIT_SHAPES = 1 << 9
"""Shapes that are remembered."""

_UNUSUAL = (WireError, TypeError, ValueError, OverflowError, AttributeError, KeyError, IndexError)
"""What a step raises for a value it isn't made for."""
_BY_ITSELF = frozenset(
    ("timestamp", "id", "frame_number", "seq", "length", "duration", "labels", "tsf", "heard_by",
     "extra", "management", *LISTS)
)  # fmt: skip
"""Fields that are a step of their own; runs of others are one."""


class FrameWriter:
    """Writes frames of batches of one origin."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._forget()

    def _forget(self) -> None:
        self._memory = Memory(LIMIT)
        self._senders = ByIdentity(self._memory)
        self._tails: dict[tuple[str, ...], Step | None] = {}
        self._shapes: dict[tuple[str, ...], Shape] = {}
        self._ways: dict[tuple[str, ...], Callable[[Iterable[Any]], bytes]] = {}
        self._blocks: dict[tuple[str, ...], Memo] = {}
        self._lists = {name: Memo(self._memory, _list_writer(name)) for name in LISTS}
        numbers = Memory(LIMIT_NUMBERS)
        self._numbers = {
            "seq": Memo(numbers, write_number(b"\2", bits=32)),
            "length": Memo(numbers, write_number(bits=32)),
            "duration": Memo(numbers, write_number(b"\2", bits=32)),
        }

    def write_again(self, message: Message) -> bytes:
        """The bytes of one frame, by those that it was read from. Raises as `write` does."""
        wire = getattr(message, "wire", None)
        if wire is not None:
            try:
                known, was, before, sender, after = wire
                keys, values = tuple(message), list(message.values())
                count = len(known)
                if values[:count] == was and keys[:count] == known:
                    tail = self._tails.get(keys[count:], _write_nothing)
                    if tail is _write_nothing:
                        tail = self._learn_tail(keys[count:])
                    if tail is not None:
                        extra = tail(tuple(values[count:]))
                        again = self._senders.get(id(sender))
                        if again is None:
                            return self._learn_sender(message, wire, extra)
                        return b"".join((before, again[1], after, extra))
            except _UNUSUAL:
                pass
        return self.write(message)

    def _learn_tail(self, keys: tuple[str, ...]) -> Step | None:
        """How `heard_by`, which isn't there, and `extra` with these keys are written; None: one of
        them isn't in `extra`."""
        if len(self._tails) >= LIMIT_SHAPES:
            self._forget()  # what a tail remembers is held by the memory, too
        tail: Step | None = None
        if not self.inherited and frames.KNOWN.isdisjoint(keys):
            tail = ExtraWriter(self._memory, keys, before=b"\0") if keys else lambda _: b"\0\0"
        self._tails[keys] = tail
        return tail

    def _learn_sender(self, message: Message, wire: Wire, extra: bytes) -> bytes:
        """The bytes of a frame, in which stands how its sender is written from now on."""
        _, _, before, sender, after = wire
        whole, after = self.write(message), after + extra
        if whole.startswith(before) and whole.endswith(after):
            self._senders.remember(sender, whole[len(before) : len(whole) - len(after)])
        return whole

    def write(self, message: Message) -> bytes:
        """The bytes of one frame. Raises WireError where it can't be written."""
        keys = tuple(message)
        way = self._ways.get(keys)
        try:
            if way is not None:
                return way(message.values())
            shape = self._shapes.get(keys)
            if shape is None:
                shape = self._learn(keys)
            shape.count += 1
            if shape.count >= OFTEN:
                self._ways[keys] = shape.way(len(keys))
            return shape.write(list(message.values()))
        except _UNUSUAL:
            return frames.FRAME.write(frames.to_record(message, self._origin))

    def _learn(self, keys: tuple[str, ...]) -> Shape:
        """Lay out the way of a shape, and remember it."""
        if len(self._shapes) >= LIMIT_SHAPES:
            self._forget()
        shape = self._shapes[keys] = _Layout(self, keys).shape()
        return shape

    def step(self, name: str) -> Step:
        """How the value of a field that is a step of its own is written."""
        if name in self._numbers:
            return self._numbers[name].__getitem__
        if name in self._lists:
            return _list_step(self._lists[name])
        steps: dict[str, Step] = {
            "timestamp": Time(),
            "id": Text(),
            "frame_number": write_number(b"\2"),
            "tsf": write_number(b"\2", frames.signed),
            "labels": self._labels,
            "heard_by": _heard_by,
        }
        return steps[name]

    def block(self, names: tuple[str, ...], present: tuple[str, ...], codec: Codec) -> Step:
        """How the values of neighbouring fields are written, of which those present are picked."""
        key = (*names[:1], *present)
        memo = self._blocks.get(key)
        if memo is None:
            memo = Memo(self._memory, self._block_writer(names, present, codec))
            self._blocks[key] = memo
        return memo.__getitem__

    def _block_writer(self, names: tuple[str, ...], present: tuple[str, ...], codec: Codec) -> Step:
        single = len(present) == 1
        plan = [(name, self.field(name, codec.fields[name].write)) for name in names]
        checked = [name for name in self.inherited if name in names]
        absent = {name: stand_in for name, stand_in in ABSENT.items() if name not in present}

        def write(picked: Any) -> bytes:
            values = dict(zip(present, (picked,) if single else picked, strict=True))
            if values.pop("type", "frame") != "frame":
                raise WireError("it is no frame")
            if "wps" in names:
                wps = {field: values.get(key) for key, field in IN_WPS.items()}
                values["wps"] = wps if any(v is not None for v in wps.values()) else None
            if any(values.get(name, 0) is None for name in checked):
                raise WireError("that a frame hasn't what its batch has is told in extra")
            values.update(absent)
            return b"".join([step(values.get(name)) for name, step in plan])

        return write

    def field(self, name: str, write: Step) -> Step:
        """The writer of a field of a block."""
        if name in ADDRESSES:
            return lambda value: b"\0" if value is None else b"\2" + frames.address(value)
        if name in INHERITED:
            common = getattr(self._origin, name)
            return lambda value: b"\0" if value is None or value == common else write(value)
        return write

    def _labels(self, value: Any) -> bytes:
        if value == self._origin.labels:
            return b"\0" if value else b"\2\0"
        if value is None:
            raise WireError("that a frame hasn't what its batch has is told in extra")
        return frames.FRAME.fields["labels"].write(value)

    @property
    def inherited(self) -> list[str]:
        """What frames get from the batch unless they say that they haven't."""
        return [name for name, common in zip(INHERITED, self._origin, strict=True) if common]


class _Layout:
    """Lays out the bytes of one shape: `parts`, constant or to be filled in, and the steps."""

    def __init__(self, writer: FrameWriter, keys: tuple[str, ...]) -> None:
        self._writer = writer
        self._at = {key: at for at, key in enumerate(keys)}
        self._parts: list[bytes] = []
        self._steps: list[tuple[int, Step, list[int]]] = []

    def shape(self) -> Shape:
        if "type" not in self._at:
            raise WireError("it is no frame")
        self._fields(frames.FRAME)
        return Shape(self._parts, self._steps)

    def _fields(self, codec: Codec) -> None:
        run: list[str] = []
        for name in codec.fields:
            if name not in _BY_ITSELF:
                run.append(name)
                continue
            if run:
                self._block(tuple(run), codec)
                run = []
            if name == "management":
                self._management()
            elif name == "extra":
                self._extra()
            elif name in self._at:
                self._step(self._writer.step(name), [name])
            else:
                self._constant(codec.fields[name].write(_stand_in(name)))
        if run:
            self._block(tuple(run), codec)

    def _step(self, write: Step, keys: Sequence[str]) -> None:
        self._steps.append((len(self._parts), write, [self._at[key] for key in keys]))
        self._parts.append(b"")

    def _constant(self, raw: bytes) -> None:
        constant = {at for at, _, _ in self._steps}
        if self._parts and len(self._parts) - 1 not in constant:
            self._parts[-1] += raw
        else:
            self._parts.append(raw)

    def _block(self, names: tuple[str, ...], codec: Codec) -> None:
        wanted = [
            *names,
            *(IN_WPS if "wps" in names else ()),
            *(["type"] if "kind" in names else []),
        ]
        present = tuple(name for name in wanted if name in self._at and name != "wps")
        if present:
            self._step(self._writer.block(names, present, codec), present)
        else:
            self._constant(b"".join(codec.fields[name].write(_stand_in(name)) for name in names))

    def _management(self) -> None:
        if self._at.keys().isdisjoint((*frames.IN_MANAGEMENT, *IN_WPS)):
            self._constant(b"\0")
        else:
            self._constant(b"\2")
            self._fields(frames.MANAGEMENT)

    def _extra(self) -> None:
        keys = [key for key in self._at if key not in frames.KNOWN]
        missing = [key for key in (*ABSENT, *self._writer.inherited) if key not in self._at]
        nulls = b"".join(write_text(key) + b"\0" for key in missing)
        if not keys and not missing:
            self._constant(b"\0")
        elif not keys:
            self._constant(b"\2" + write_long(len(missing)) + nulls + b"\0")
        else:
            write = ExtraWriter(self._writer._memory, keys, len(missing), nulls)
            single = len(keys) == 1
            self._step((lambda value: write((value,))) if single else write, keys)


def _write_nothing(_: Any) -> bytes:
    """Stands for a tail that wasn't laid out yet."""
    return b""


def _stand_in(name: str) -> Any:
    return [] if name in LISTS else ABSENT.get(name)


def _list_writer(name: str) -> Step:
    write = frames.MANAGEMENT.fields[name].write

    def checked(values: tuple[Any, ...]) -> bytes:
        if not values:
            raise WireError("a list that is there and empty is in extra")
        return write(values)

    return checked


def _list_step(memo: Memo) -> Step:
    def write(value: Any) -> bytes:
        if not isinstance(value, list):
            raise TypeError("it is no list")
        return memo[tuple(value)]

    return write


def _heard_by(value: Any) -> bytes:
    frames.check_hearings(value)
    return frames.FRAME.fields["heard_by"].write(value)
