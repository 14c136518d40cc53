"""Filter expressions in tcpdump's language, compiled by libpcap, run by the kernel.

libpcap is asked through ctypes, so nothing is installed for it but the library itself; without an
expression it isn't needed. (`tcpdump -ddd` would do as well, but tcpdump comes with libpcap.)
"""

from __future__ import annotations

import ctypes
import functools
import socket
from collections.abc import Iterable
from struct import pack
from typing import Any

from datastalker.errors import InputError

NOTHING = pack("=HBBI", 0x06, 0, 0, 0)
"""A program that lets nothing pass."""

_LIBRARIES = ("libpcap.so.1", "libpcap.so.0.8", "libpcap.so")
_SO_ATTACH_FILTER = 26
_MOST = 4096  # instructions that the kernel takes


class FilterError(InputError):
    """An expression that libpcap doesn't understand, or not on this link type."""


class NoLibraryError(InputError):
    """libpcap isn't installed."""


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint), ("instructions", ctypes.c_void_p))


def everything(snaplen: int) -> bytes:
    """A program that lets all pass, cut to that length."""
    return pack("=HBBI", 0x06, 0, 0, snaplen)


def compile_expression(expression: str, link_type: int, snaplen: int) -> bytes:
    """The kernel's program for an expression. `link_type`: as in capture files.

    Raises FilterError with what libpcap says of it, NoLibraryError.
    """
    library = _library()
    handle = library.pcap_open_dead(link_type, snaplen)
    program = _Program()
    try:
        if library.pcap_compile(handle, ctypes.byref(program), expression.encode(), 1, 0xFFFFFFFF):
            said = library.pcap_geterr(handle).decode(errors="replace")
            raise FilterError(f"'{expression}' is no filter expression: {said}")
        if program.length > _MOST:
            raise FilterError(
                f"'{expression}' makes {program.length} instructions, the kernel takes {_MOST}: "
                "leave some of it to a stage's `when:`"
            )
        code = ctypes.string_at(program.instructions, program.length * 8)
        library.pcap_freecode(ctypes.byref(program))
        return code
    finally:
        library.pcap_close(handle)


def objection(expression: str, link_types: Iterable[int], snaplen: int) -> str | None:
    """What libpcap says against an expression that fits none of these link types; None: it fits
    one, or there is no libpcap to ask."""
    said = None
    for link_type in sorted(link_types, reverse=True):
        try:
            compile_expression(expression, link_type, snaplen)
        except NoLibraryError:
            return None
        except FilterError as error:
            said = said or str(error)
        else:
            return None
    return said


def attach(packets: socket.socket, program: bytes) -> None:
    """From now on the socket gets only what the program lets pass."""
    code = ctypes.create_string_buffer(program, len(program))
    packed = pack("HP", len(program) // 8, ctypes.addressof(code))
    packets.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, packed)


@functools.cache
def _library() -> Any:
    for name in _LIBRARIES:
        try:
            library = ctypes.CDLL(name)
            break
        except OSError:
            continue
    else:
        raise NoLibraryError(
            "bpf: a filter expression needs libpcap, which is not installed: "
            "apt install libpcap0.8 (elsewhere the package is called libpcap)"
        )
    library.pcap_open_dead.restype = ctypes.c_void_p
    library.pcap_open_dead.argtypes = [ctypes.c_int, ctypes.c_int]
    library.pcap_compile.argtypes = [
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_char_p,
        ctypes.c_int,
        ctypes.c_uint32,
    ]
    library.pcap_geterr.restype = ctypes.c_char_p
    library.pcap_geterr.argtypes = [ctypes.c_void_p]
    library.pcap_freecode.argtypes = [ctypes.c_void_p]
    library.pcap_close.argtypes = [ctypes.c_void_p]
    return library
