"""`wifi_sniffer`: hears frames live, on interfaces in monitor mode."""

from __future__ import annotations

import select
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from time import monotonic, sleep
from typing import Any, ClassVar, Literal

from capture_agent import bpf, device, rights
from capture_agent.device import LINK_TYPES
from capture_agent.frame import FrameParser, Memory
from capture_agent.hop_plan import HopperOptions, check_channels, defaults
from capture_agent.hopper import Hopper
from capture_agent.listener import LISTENING, Listener, Run
from capture_agent.monitor import Monitors
from capture_agent.tuner import from_options
from datastalker.message import Message
from datastalker.options import option
from datastalker.pipeline import Pipeline, SourceStage
from datastalker.stats import Stats

_LOOK_SECONDS = 1.0
_WAIT_SECONDS, _HOP_SECONDS = 0.2, 0.02
_PAUSE_SECONDS, _PAUSE_SECONDS_A_MB = 0.1, 0.0125
"""Between two looks at the rings, but while it hops: to wake up costs as much as some 100 frames. A
small ring is full sooner: as long as 80 MiB/s take for it."""
_NAME_LENGTH = 15  # what the kernel allows


@Pipeline.register_stage("wifi_sniffer")
class WifiSniffer(SourceStage):
    """Gives the frames that interfaces in monitor mode hear, with the kernel's times. An interface
    that is missing, down or in another mode is waited for, at the start as later.

    Each has its `interface`. What is dropped is counted under `wifi_sniffer/dropped/REASON`; what
    the kernel had no room for, under `wifi_sniffer/kernel_dropped`. Needs CAP_NET_RAW to start, and
    gives it away.
    """

    interface: str | list[str] = option(
        help="an interface in monitor mode, or several; one that isn't there yet is waited for"
    )
    monitor: Literal["auto", "never"] = option(
        "auto", "auto: where an interface is not in monitor mode, make one beside it that is, and "
        "remove it at the end; never: leave the cards as they are",
    )  # fmt: skip
    hopper: bool | dict = option(  # type: ignore[type-arg]
        False, "change channels: true, or a mapping of what follows", nested=HopperOptions
    )
    bpf: str | None = option(
        None, "hear only what this filter lets pass, in the kernel; in tcpdump's language"
    )
    snaplen: int = option(
        4096, "bytes of a frame that are kept, radio header included", minimum=128, maximum=65535
    )
    buffer_mb: float = option(
        8,
        "memory of the kernel's for each interface, for frames that are not read yet",
        minimum=0.25,
        maximum=1024,
    )
    keep_own: bool = option(
        False, "keep frames from and to this host's own addresses, such as its uplink's"
    )
    keep_bad_fcs: bool = option(
        False, "keep frames whose frame check sequence the receiver found wrong"
    )
    user: str | None = option(
        None, "who this process becomes when it can hear, if root has started it"
    )

    example: ClassVar[dict[str, Any]] = {"interface": "wlan0mon"}
    live = True
    sensor_name = ""  # these two are set by who builds the pipeline
    labels: Mapping[str, str] = {}

    @classmethod
    def check_config(cls, config: dict[str, Any]) -> Iterable[tuple[str, str]]:
        names = _names(config["interface"])
        if not names:
            yield "interface", "must name at least one interface"
        if len(set(names)) < len(names):
            yield "interface", "names an interface twice"
        for name in names:
            if not 0 < len(name.encode()) <= _NAME_LENGTH or "/" in name or name != name.strip():
                yield "interface", f"'{name}' can't be an interface's name"
        if config["bpf"] is not None:
            said = bpf.objection(config["bpf"], LINK_TYPES.values(), config["snaplen"])
            if said is not None:
                yield "bpf", said
        if isinstance(config["hopper"], dict):
            for place, text in check_channels(config["hopper"]):
                yield f"hopper.{place}", text

    @classmethod
    def warn_config(cls, config: dict[str, Any]) -> Iterable[tuple[str, str]]:
        for name in _names(config["interface"]):
            found = device.find(name)
            if found is None:
                yield "interface", f"there is no interface '{name}' here, now; it is waited for"
            elif found.type not in LINK_TYPES and not (
                config["monitor"] == "auto" and Path(f"/sys/class/net/{name}/phy80211").exists()
            ):
                yield (
                    "interface",
                    f"'{name}' is {found.type_name}, not in monitor mode; it is waited for",
                )
        if config["bpf"] is not None:
            try:
                bpf.compile_expression(config["bpf"], LINK_TYPES[803], config["snaplen"])
            except bpf.NoLibraryError as error:
                yield "bpf", str(error)
            except bpf.FilterError:  # it fits another link type
                pass
        if config["user"] is not None and not rights.exists(config["user"]):
            yield "user", f"there is no user '{config['user']}' here"

    def __init__(
        self,
        stats: Stats,
        interface: str | list[str],
        monitor: Literal["auto", "never"] = "auto",
        hopper: bool | dict[str, Any] = False,
        bpf: str | None = None,
        snaplen: int = 4096,
        buffer_mb: float = 8,
        keep_own: bool = False,
        keep_bad_fcs: bool = False,
        user: str | None = None,
    ) -> None:
        self.stats = stats
        self._hopping = defaults() if hopper is True else hopper
        self._hopper: Hopper | None = None
        self._names = _names(interface)
        self._monitors: Monitors | None = Monitors() if monitor == "auto" else None
        self._session, self._number = uuid.uuid4().hex[:12], 1
        self._listeners: list[Listener] = []
        self._poll = select.poll()
        self._parsers: dict[tuple[str, int], FrameParser] = {}
        self._memory = Memory()
        self._looked = self._woke = 0.0
        self._pause = min(_PAUSE_SECONDS, buffer_mb * _PAUSE_SECONDS_A_MB)

    def open(self) -> None:
        """Open the sockets, then give away what rights that took. Again: does nothing.

        Raises InputError where this process may not hear.
        """
        if self._listeners:
            return
        try:
            self._open()
            later = self._monitors is not None and self._monitors.changed
            later = later or self._hopper is not None
            rights.give_away(self.user, {rights.NET_ADMIN} if later else ())
            self._look(monotonic())
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        names = self._monitors.prepare(self._names) if self._monitors else self._names
        if self._hopping:
            self._hopper = from_options(self._hopping, names, self.stats)
        for name in names:
            listener = Listener(name, self.bpf, self.snaplen, self.buffer_mb)
            self._listeners.append(listener)
            self._poll.register(listener, select.POLLIN)

    def run(self) -> Iterator[list[Message]]:
        """Raises InputError where this process may not hear."""
        self.open()
        hopper = self._hopper
        try:
            while True:
                now = monotonic()
                if now - self._looked >= _LOOK_SECONDS:
                    self._look(now)
                if hopper is not None:
                    hopper.turn(now)
                quiet = True
                for listener in self._listeners:
                    runs = listener.read()
                    if runs is None:
                        continue
                    quiet = False
                    messages = self._parse(listener, runs)
                    if hopper is not None:
                        hopper.heard(messages)
                    yield messages
                if quiet:
                    self._wait()
                    yield []
        finally:
            for listener in self._listeners:
                listener.end()  # what is heard while the last is delivered is nobody's loss
            self._count()
            unread = sum(listener.unread for listener in self._listeners)
            self._dropped("unread", unread)  # in the ring, when the run was ended

    def _wait(self) -> None:
        """Until a ring has something, or an interface has changed; not for long."""
        waiting = any(listener.state != LISTENING for listener in self._listeners)
        seconds = _WAIT_SECONDS if self._hopper is None else _HOP_SECONDS
        if self._hopper is None:
            sleep(max(0.0, self._woke + self._pause - monotonic()))
        for descriptor, event in self._poll.poll(seconds * 1000):
            if event & ~select.POLLIN:
                for listener in self._listeners:
                    if listener.fileno() == descriptor:
                        listener.look()
        self._woke = monotonic()
        if waiting:
            self._looked = min(self._looked, monotonic() - _LOOK_SECONDS + _WAIT_SECONDS)

    def _look(self, now: float) -> None:
        """Each second, and more often while an interface is waited for."""
        self._looked = now
        if self._monitors is not None:
            self._monitors.turn(now)
        for listener in self._listeners:
            listener.look()
        if not self.keep_own:
            self._memory.names.watch(device.own_addresses())
        self._count()

    def _count(self) -> None:
        dropped = sum(listener.count() for listener in self._listeners)
        self.stats.incr("wifi_sniffer/kernel_dropped", dropped)
        for listener in self._listeners:
            self._dropped("old_filter", listener.misread)
            listener.misread = 0
        lost = sum(listener.lost for listener in self._listeners)
        if lost:
            self.stats.set("wifi_sniffer/interface_lost", lost)

    def _dropped(self, reason: str, count: int) -> None:
        if count:
            self.stats.incr(f"wifi_sniffer/dropped/{reason}", count)

    def _parse(self, listener: Listener, runs: list[Run]) -> list[Message]:
        messages: list[Message] = []
        for link_type, records in runs:
            parser = self._parsers.get((listener.name, link_type))
            if parser is None:
                parser = self._parsers[listener.name, link_type] = self._parser(
                    listener.name, link_type
                )
            messages += parser.parse(records, self._number)
            self._number += len(records)
            if parser.dropped:
                for reason, count in parser.dropped.items():
                    self._dropped(reason, count)
                parser.dropped.clear()
        if not self._memory.names.met:
            return messages
        own = self._memory.names.watched
        others = [
            m
            for m in messages
            if not (
                m.get("ta") in own or m.get("ra") in own or m.get("sa") in own or m.get("da") in own
            )
        ]
        self._dropped("own_uplink", len(messages) - len(others))
        return others

    def _parser(self, name: str, link_type: int) -> FrameParser:
        template: dict[str, Any] = {"sensor": self.sensor_name, "interface": name}
        if self.labels:
            template["labels"] = self.labels
        return FrameParser(
            link_type, template, self.keep_bad_fcs, self._session, memory=self._memory
        )

    def on_upstream(self, message: Message) -> Message | None:
        """A stage asks for a channel: a message of type `tune`, see `Hopper.steer`."""
        if self._hopper is None or message.type != "tune":
            return message
        self._hopper.steer(message)
        return None

    def status(self) -> dict[str, Any]:
        """Kernel drops as of now, and how each interface is."""
        self._count()
        said: dict[str, Any] = {
            "kernel_dropped": sum(listener.kernel_dropped for listener in self._listeners),
            "interfaces": [f"{listener.name}: {listener.state}" for listener in self._listeners],
            "interface_lost": sum(listener.lost for listener in self._listeners),
        }
        return said | (self._hopper.status() if self._hopper is not None else {})

    def close(self) -> None:
        """Again: does nothing."""
        if self._hopper is not None:
            self._hopper.close()
            self._hopper = None
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        if self._monitors is not None:
            self._monitors.close()


def _names(interface: str | list[str]) -> list[str]:
    return [interface] if isinstance(interface, str) else list(interface)
