# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asks the SASL library of the host whether passwords hold, as a mail server would: see <sasl/sasl.h>.

The database's format is the library's own business (Berkeley DB on Debian, GDBM on EL).
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from ansible_collections.gatehouse.mail.plugins.module_utils._saslpasswd2 import User

_OK, _FAIL = 0, -1
_LIST_END, _GETOPT, _LOG = 0, 1, 2

_Getopt = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.POINTER(ctypes.c_char_p),
    ctypes.POINTER(ctypes.c_uint),
)
_Log = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p)


class _Callback(ctypes.Structure):
    """sasl_callback_t"""

    _fields_ = (("id", ctypes.c_ulong), ("proc", ctypes.c_void_p), ("context", ctypes.c_void_p))


def holding(database: str, users: Sequence[User]) -> set[str]:
    """Names of those users whose password is the one in the database.

    OSError where there is no SASL library, or where it cannot be started.
    """
    options = {
        b"sasldb_path": database.encode(),
        b"pwcheck_method": b"auxprop",
        b"auxprop_plugin": b"sasldb",
    }

    @_Getopt
    def getopt(_context: Any, _plugin: Any, option: bytes, result: Any, length: Any) -> int:
        value = options.get(option)
        if value is None:
            return _FAIL
        result[0] = value
        if length:
            length[0] = len(value)
        return _OK

    @_Log
    def log(_context: Any, _level: Any, _message: Any) -> int:
        return _OK  # that a password differs is no news for the host's log

    callbacks = (_Callback * 3)(
        _Callback(_GETOPT, ctypes.cast(getopt, ctypes.c_void_p)),
        _Callback(_LOG, ctypes.cast(log, ctypes.c_void_p)),
        _Callback(_LIST_END),
    )
    library = _library()
    _expect_ok(library.sasl_server_init(callbacks, b"gatehouse"), "sasl_server_init")
    try:
        by_realm = groupby(sorted(users, key=_realm), key=_realm)
        return {user.name for realm, group in by_realm for user in _held(library, realm, group)}
    finally:
        library.sasl_done()


def _realm(user: User) -> str:
    return user.realm


def _held(library: ctypes.CDLL, realm: str, users: Iterable[User]) -> Iterator[User]:
    """Those whose password holds; the library knows one realm for each connection."""
    connection = ctypes.c_void_p()
    code = library.sasl_server_new(b"smtp", b"localhost", realm.encode(), None, None, None, 0, ctypes.byref(connection))
    _expect_ok(code, "sasl_server_new")
    try:
        for user in users:
            name, password = user.user.encode(), (user.password or "").encode()
            if library.sasl_checkpass(connection, name, len(name), password, len(password)) == _OK:
                yield user
    finally:
        library.sasl_dispose(ctypes.byref(connection))


def _library() -> ctypes.CDLL:
    """EL's has version 3, Debian's version 2, which differ in nothing that is used here."""
    try:
        return ctypes.CDLL("libsasl2.so.3")
    except OSError:
        return ctypes.CDLL("libsasl2.so.2")


def _expect_ok(code: int, function: str) -> None:
    if code != _OK:
        raise OSError(f"{function} of the SASL library says {code}")
