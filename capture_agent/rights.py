"""Giving rights away: once the sockets are open, hearing frames needs none.

A socket that is open can be bound to an interface that comes anew, and its filter changed, without
any capability. So all are given away, for this process and what it starts (`no_new_privs`), except
those that are named. It holds for this thread and those that it starts: call it early.
"""

from __future__ import annotations

import ctypes
import os
import pwd
from collections.abc import Iterable

from datastalker.errors import InputError

NET_ADMIN, NET_RAW = 12, 13
_FILES = (0, 1, 2, 3)  # CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER

_VERSION_3 = 0x20080522
_SET_KEEPCAPS, _SET_NO_NEW_PRIVS, _AMBIENT = 8, 38, 47
_RAISE, _CLEAR_ALL = 2, 4


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def give_away(user: str | None = None, keep: Iterable[int] = ()) -> None:
    """Become `user`, if one is given, and keep no capability but those of `keep`.

    Root that stays root also keeps those that reach files, so that what it writes can be where it
    is told to. Raises InputError where it can't become that user.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl.argtypes = [ctypes.c_int, *4 * [ctypes.c_ulong]]
    kept = set(keep)
    if user is not None:
        libc.prctl(_SET_KEEPCAPS, 1, 0, 0, 0)
        _become(user)
    if os.geteuid() == 0:
        kept |= set(_FILES)
    header, had = _Header(_VERSION_3, 0), (_Sets * 2)()
    libc.capget(ctypes.byref(header), had)
    mask = sum(1 << number for number in kept) & had[0].permitted
    sets = (_Sets * 2)(_Sets(mask, mask, mask), _Sets(0, 0, 0))
    libc.prctl(_AMBIENT, _CLEAR_ALL, 0, 0, 0)
    if libc.capset(ctypes.byref(header), sets):
        reason = os.strerror(ctypes.get_errno())
        raise InputError(f"the capabilities can't be given away: {reason}")
    for number in kept:  # for the programs that it starts
        libc.prctl(_AMBIENT, _RAISE, number, 0, 0)
    libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def has(number: int) -> bool:
    """Has this thread that capability, now?"""
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = _Header(_VERSION_3, 0), (_Sets * 2)()
    libc.capget(ctypes.byref(header), sets)
    return bool(sets[0].effective >> number & 1)


def exists(user: str) -> bool:
    """Is there such a user here?"""
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def _become(user: str) -> None:
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise InputError(
            f"user: there is no user '{user}' here; `useradd --system {user}`"
        ) from None
    if os.geteuid() == entry.pw_uid:
        return
    try:
        os.initgroups(user, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    except PermissionError:
        raise InputError(
            f"user: only root can become '{user}'; start it as root, or leave `user` out"
        ) from None
