"""One interface that is listened to: its ring, bound whenever the interface is there.

It may be missing, down, of another link type than 802.11, or come anew under its name: `look` sees
to it, and says in `state` how it is. What was heard before a change is read as what it was then.
"""

from __future__ import annotations

import logging
import time

from capture_agent import bpf, device
from capture_agent.capture_file import Record
from capture_agent.device import LINK_TYPES, Device
from capture_agent.ring import BLOCK_MS, Ring

log = logging.getLogger("datastalker.stage.wifi_sniffer")

LISTENING = "listening"
_NOBODY = 0  # an index that no interface has
_SETTLED_SECONDS = 3 * BLOCK_MS / 1000
"""So long after a filter was set, an empty ring holds nothing any more that came before it."""

Run = tuple[int, list[Record]]
"""A link type, as in capture files (-1: none that carries 802.11), and records of it."""


class Listener:
    """Hears one interface, by its name.

    `heard`: frames that were read, of any kind. `kernel_dropped`: those that there was no room for
    in the ring. `lost`: how often the interface stopped being heard. `misread`: frames that passed
    the filter of the link type that the interface had before; they are left out.
    """

    def __init__(self, name: str, expression: str | None, snaplen: int, buffer_mb: float) -> None:
        """Raises InputError where this process may not hear, or the kernel gives no memory."""
        self.name = name
        self.state, self._more = "not looked for yet", ""
        self.heard = self.kernel_dropped = self.lost = self.misread = 0
        self._expression, self._snaplen = expression, snaplen
        self._came = 0
        self._filtered = self._before = 0  # link type that the filter is for, and was for
        self._since, self._attached = 0, 0.0  # when it was set: microseconds, and by monotonic time
        self._bound, self._interrupted = _NOBODY, False
        self._ring = Ring(buffer_mb, snaplen)
        self._ring.filter(bpf.NOTHING)

    def fileno(self) -> int:
        return self._ring.socket.fileno()

    def look(self) -> None:
        """Is the interface there, and as it was? Hear it if so."""
        error, before, lost = self._ring.error(), self.state, self.lost
        self._interrupted = self._interrupted or bool(error)
        self._see(device.find(self.name))
        if error and before == self.state == LISTENING and lost == self.lost:
            self.lost += 1
            log.warning("%s: it was down for a moment", self.name)

    def _see(self, found: Device | None) -> None:
        if found is None:
            self._deaf()
            near = ", ".join(device.names())
            self._say("there is no interface of that name; waits for it", f"there is: {near}")
        elif found.type not in LINK_TYPES:
            self._deaf()
            self._say(
                f"{found.type_name}; waits until it is in monitor mode: ip link set {self.name} down; "
                f"iw dev {self.name} set type monitor; ip link set {self.name} up"
            )
        elif self._tune(found):
            if found.up:
                self._say(LISTENING, f"{found.type_name}, index {found.index}")
            else:
                self._say(f"down; waits until it is up: ip link set {self.name} up")

    def _tune(self, found: Device) -> bool:
        """Filter for its link type, and bind; both only if anything has changed."""
        try:
            if found.type != self._filtered:
                self._ring.filter(self._program(found.type))
                self._before, self._filtered = self._filtered or self._before, found.type
                self._since, self._attached = time.time_ns() // 1000, time.monotonic()
            if found.index != self._bound or self._interrupted:
                self._ring.bind(self.name)
                self._bound, self._interrupted = found.index, False
        except bpf.FilterError as error:
            self._deaf()
            self._say(f"{found.type_name}, and on that {error}")
            return False
        except OSError as error:  # gone again, since it was found
            self._bound = _NOBODY
            self._say(f"can't be heard: {error.strerror}; tries again")
            return False
        return True

    def _program(self, link_type: int) -> bytes:
        if self._expression is None:
            return bpf.everything(self._snaplen)
        return bpf.compile_expression(self._expression, LINK_TYPES[link_type], self._snaplen)

    def _deaf(self) -> None:
        """The socket stays bound, and the kernel would let what comes under this index in."""
        if self._filtered:
            self._ring.filter(bpf.NOTHING)
            self._before, self._filtered = self._filtered, 0

    def _say(self, state: str, more: str = "") -> None:
        if state == self.state and (state != LISTENING or more == self._more):
            return
        if self.state == LISTENING:
            self.lost += 1
        self.state, self._more = state, more
        level = logging.INFO if state == LISTENING else logging.WARNING
        log.log(level, "%s: %s%s", self.name, state, f" ({more})" if more else "")

    def read(self) -> list[Run] | None:
        """What was heard, as far as the kernel hands it over; None: nothing now."""
        runs = self._ring.read()
        if runs is None:
            if self._since and time.monotonic() - self._attached > _SETTLED_SECONDS:
                self._since = 0
            return None
        self.heard += sum(len(records) for _, records in runs)
        settled = not self._since and all(kind == self._filtered for kind, _ in runs)
        if self._expression is not None and not settled:
            runs = [(kind, self._rightly(kind, records)) for kind, records in runs]
        return [(LINK_TYPES.get(kind, -1), records) for kind, records in runs]

    def _rightly(self, kind: int, records: list[Record]) -> list[Record]:
        """Those that passed the filter of their own link type, the present or the one before."""
        if kind == self._filtered:
            kept = [record for record in records if record[0] >= self._since]
        else:
            kept = records if kind == self._before else []
        self.misread += len(records) - len(kept)
        return kept

    def count(self) -> int:
        """Ask the kernel what it dropped since the last time."""
        came, dropped = self._ring.statistics()
        self._came += came
        self.kernel_dropped += dropped
        return dropped

    @property
    def unread(self) -> int:
        """Frames in the ring, as of the last `count`."""
        return self._came - self.kernel_dropped - self.heard

    def end(self) -> None:
        """Hear no more; what was heard can still be read and counted."""
        self._ring.filter(bpf.NOTHING)

    def close(self) -> None:
        self._ring.close()
