"""Requests to a family of generic netlink that the kernel answers with yes or no.

Enough to set something: a few attributes, an acknowledgement. What takes more (dumps of nested
attributes) is asked through pyroute2, which an agent does not carry along for it: 16 MiB.
Layout: linux/netlink.h, linux/genetlink.h; numbers are in the host's byte order.
"""

from __future__ import annotations

import errno
import os
import socket
from itertools import count
from struct import calcsize, error, pack, unpack_from

_HEADER, _COMMAND, _ATTRIBUTE = "=IHHII", "=BBH", "=HH"
_REQUEST, _ACK, _ERROR = 0x1, 0x4, 2
_CONTROLLER, _GETFAMILY, _FAMILY_ID, _FAMILY_NAME = 16, 3, 1, 2
_TIMEOUT_SECONDS = 10.0
_LARGEST = 1 << 16
_GENERIC = 16  # NETLINK_GENERIC, which Python does not name


def attribute(number: int, value: int | str) -> bytes:
    """One attribute: a number of 32 bits, or a text."""
    data = pack("=I", value) if isinstance(value, int) else value.encode() + b"\0"
    return pack(_ATTRIBUTE, calcsize(_ATTRIBUTE) + len(data), number) + data + _padding(data)


class Family:
    """A family, by its name, over a socket of its own."""

    def __init__(self, name: str, sock: socket.socket | None = None) -> None:
        """`sock`: in place of one to the kernel. Raises OSError; ENOENT: the kernel has none."""
        self._socket = sock or socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _GENERIC)
        self._socket.settimeout(_TIMEOUT_SECONDS)
        self._numbers = count(1)
        try:
            said = self._ask(_CONTROLLER, _GETFAMILY, attribute(_FAMILY_NAME, name), 0)
            self._id = _family_id(said)
        except BaseException:
            self.close()
            raise

    def ask(self, command: int, *attributes: bytes) -> None:
        """Raises OSError with what the kernel refuses for."""
        self._ask(self._id, command, b"".join(attributes), _ACK)

    def close(self) -> None:
        self._socket.close()

    def _ask(self, kind: int, command: int, attributes: bytes, flags: int) -> bytes:
        """The answer's body: empty where it is an acknowledgement."""
        number = next(self._numbers)
        body = pack(_COMMAND, command, 1, 0) + attributes
        size = calcsize(_HEADER) + len(body)
        self._socket.send(pack(_HEADER, size, kind, _REQUEST | flags, number, 0) + body)
        while True:
            try:
                data = self._socket.recv(_LARGEST)
            except TimeoutError:
                raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)) from None
            try:
                _, answer, _, to, _ = unpack_from(_HEADER, data)
                if to != number:  # to a question that was given up
                    continue
                if answer != _ERROR:
                    return data[calcsize(_HEADER) :]
                refused = -unpack_from("=i", data, calcsize(_HEADER))[0]
            except error:
                raise OSError(errno.EPROTO, os.strerror(errno.EPROTO)) from None
            if refused:
                raise OSError(refused, os.strerror(refused))
            return b""


def _family_id(said: bytes) -> int:
    place = calcsize(_COMMAND)
    while place + calcsize(_ATTRIBUTE) <= len(said):
        size, number = unpack_from(_ATTRIBUTE, said, place)
        if number == _FAMILY_ID and size >= 6 and place + 6 <= len(said):
            found: int = unpack_from("=H", said, place + 4)[0]
            return found
        place += max(size + -size % 4, calcsize(_ATTRIBUTE))
    raise OSError(errno.EPROTO, os.strerror(errno.EPROTO))


def _padding(data: bytes) -> bytes:
    return bytes(-len(data) % 4)
