"""A packet socket with the kernel's ring of blocks (TPACKET_V3) mapped into this process.

The kernel fills blocks with frames and their times and hands each over when it is full or was open
for a while; reading one costs no system call. When all blocks are ours it drops, and counts what
it drops. https://docs.kernel.org/networking/packet_mmap.html

The socket hears nothing before it is bound: rings and filters are set in peace.
"""

from __future__ import annotations

import mmap
import socket
from struct import Struct, pack, unpack

from capture_agent import bpf
from capture_agent.capture_file import Record
from datastalker.errors import InputError

BLOCK = 1 << 15
"""Bytes of a block, some 100 frames; more where one frame may be larger."""
BLOCK_MS = 50
"""How long a block that isn't full is kept from us. Then it is used up, be there one frame in it: a
ring of 8 MiB lasts for 12 s, or until it is full."""
READ = 500
"""Frames from which on the next block is left to the next `read`."""

_SOL_PACKET = 263
_RX_RING, _STATISTICS, _VERSION, _IGNORE_OUTGOING = 5, 6, 10, 23
_V3 = 2
_HEADERS = 512  # of a block and of a frame, at most
_FRAME_SIZE = 1 << 11  # means nothing in a ring of this version, but must divide the block
_ETH_P_ALL = 3
_OURS = 1

_HEAD = Struct("=3I").unpack_from
"""struct tpacket_hdr_v1, from block_status on: status, frames in it, where the first is."""
_HEAD_AT = 8
_FRAME = Struct("=5I4xH30xH").unpack_from
"""struct tpacket3_hdr and the sockaddr_ll behind it: offset of the next, seconds, nanoseconds, bytes
that are here, bytes that there were, where they are, link type."""


class Ring:
    """One packet socket and its ring. `read` gives what the kernel has handed over."""

    def __init__(self, size: float, snaplen: int) -> None:
        """`size`: MiB. `snaplen`: bytes that are kept of a frame. Raises InputError where the kernel
        refuses."""
        if not hasattr(socket, "AF_PACKET"):
            raise InputError("live capture needs Linux; a capture file can be read anywhere: pcap")
        try:
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        except PermissionError:
            raise InputError(
                "to hear frames this process needs CAP_NET_RAW: run it as root, or let systemd "
                "give it (AmbientCapabilities=CAP_NET_RAW)"
            ) from None
        self._block = max(BLOCK, 1 << (snaplen + _HEADERS).bit_length())
        self._count = int(size * (1 << 20)) // self._block
        self._at = 0
        try:
            self.socket.setsockopt(_SOL_PACKET, _VERSION, _V3)
            self.socket.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
            self.socket.setsockopt(_SOL_PACKET, _RX_RING, self._request())
            self._map = mmap.mmap(self.socket.fileno(), self._block * self._count)
        except OSError as error:
            self.socket.close()
            raise InputError(
                f"the kernel gives no ring of {size:g} MiB ({error.strerror}): a smaller "
                "buffer_mb may do; it needs Linux 4.20 or later"
            ) from None

    def _request(self) -> bytes:
        frames = self._block // _FRAME_SIZE * self._count
        return pack("=7I", self._block, self._count, _FRAME_SIZE, frames, BLOCK_MS, 0, 0)

    def bind(self, name: str) -> None:
        """Hear this interface from now on, also if it is down yet. Raises OSError: there is none."""
        self.socket.bind((name, _ETH_P_ALL))

    def filter(self, program: bytes) -> None:
        """Hear only what the program lets pass."""
        bpf.attach(self.socket, program)

    def read(self) -> list[tuple[int, list[Record]]] | None:
        """The next frames, by their link type (ARPHRD), in order; None: not now."""
        ring, left = self._map, READ
        runs: list[tuple[int, list[Record]]] = []
        records: list[Record] = []
        kind = -1
        while left > 0:
            base = self._at * self._block
            status, count, offset = _HEAD(ring, base + _HEAD_AT)
            if not status & _OURS:
                break
            at = base + offset
            for _ in range(count):
                step, seconds, nanos, size, length, begin, link_type = _FRAME(ring, at)
                if link_type != kind:
                    kind, records = link_type, []
                    runs.append((kind, records))
                begin += at
                record = seconds * 1_000_000 + nanos // 1000, ring[begin : begin + size], length
                records.append(record)
                at += step
            ring[base + _HEAD_AT : base + _HEAD_AT + 4] = b"\0\0\0\0"  # the kernel's again
            self._at = (self._at + 1) % self._count
            left -= count
        return runs or None

    def statistics(self) -> tuple[int, int]:
        """Frames that came and frames that the kernel dropped, of these, since the last call."""
        came, dropped, _ = unpack("=3I", self.socket.getsockopt(_SOL_PACKET, _STATISTICS, 12))
        return came, dropped

    def error(self) -> int:
        """What the kernel last said against this socket (errno), once; 0: nothing."""
        return self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def close(self) -> None:
        self._map.close()
        self.socket.close()
