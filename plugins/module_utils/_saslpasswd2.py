# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which users a SASL database has, which it should have, and what must be done about the difference.

No I/O and no Ansible. A user's *name* is ``user@realm``, as sasldblistusers2 prints it.

Sources: saslpasswd2(8), sasldblistusers2(8), and Cyrus SASL's own readers (``saslpasswd.c`` for the password,
``plugin_common.c`` for where a name is split).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ansible_collections.gatehouse.mail.plugins.module_utils._refusal import Refusal

#: Octets. saslpasswd2 reads 2047 of them and silently drops the rest; Postfix takes less, for its lines are base64.
LONGEST_PASSWORD = 1024


class SaslError(Refusal):
    """A user whom the database cannot hold as asked, or a database that is none. Never quotes a password."""


class User(NamedTuple):
    """One user; the password is None where none was given."""

    user: str
    realm: str
    password: str | None = None

    @property
    def name(self) -> str:
        return f"{self.user}@{self.realm}"


class Plan(NamedTuple):
    """What is to be done: users who are new, users who get another password, and names that go."""

    add: list[User]
    change: list[User]
    remove: list[str]

    @property
    def sets(self) -> list[User]:
        return [*self.add, *self.change]

    def counts(self) -> dict[str, int]:
        return {"added": len(self.add), "removed": len(self.remove), "changed": len(self.change)}


def check(users: Sequence[User], minimum_length: int, with_password: bool) -> None:
    """Raise SaslError for the first user whom saslpasswd2 would take for another one, or refuse, or cut short."""
    seen: set[str] = set()
    for number, user in enumerate(users, start=1):
        for part in ("user", "realm"):
            _check_part(f"user {number} ({user.name[:80]!r})", part, getattr(user, part))
        if user.name in seen:
            raise SaslError(f"user {user.name!r}", "the same user twice", "each user once")
        seen.add(user.name)
        if with_password:
            _check_password(f"user {user.name!r}", user.password, minimum_length)


def _check_part(what: str, part: str, text: str) -> None:
    if not text:
        raise SaslError(what, f"no {part}", f"a {part}" + (", such as example.org" if part == "realm" else ""))
    for octet in ":@":
        if octet in text:
            raise SaslError(what, f"{octet!r} in the {part}", f"a {part} without it")
    if not all(letter.isprintable() and not letter.isspace() for letter in text):
        raise SaslError(what, f"white space or a control character in the {part}", f"a {part} without it")


def _check_password(what: str, password: str | None, minimum_length: int) -> None:
    if not password:
        raise SaslError(what, "no password" if password is None else "an empty password", "a password")
    for octet, name in (("\n", "a newline"), ("\r", "a carriage return"), ("\0", "a NUL")):
        if octet in password:
            raise SaslError(what, f"{name} in the password", "a password of one line")
    try:
        octets = len(password.encode())
    except UnicodeEncodeError:
        raise SaslError(what, "a lone surrogate in the password", "text that UTF-8 can say") from None
    if len(password) < minimum_length:
        raise SaslError(what, f"a password of {len(password)} characters", f"at least {minimum_length}")
    if octets > LONGEST_PASSWORD:
        raise SaslError(what, f"a password of {octets} octets", f"at most {LONGEST_PASSWORD}")


def listed(stdout: str, stderr: str) -> set[str] | None:
    """Names from what sasldblistusers2 prints, ``user@realm: property`` a line; None when it could not list.

    Its exit status is 0 in any case.
    """
    if "listusers failed" in stderr:
        return None
    return {line.rpartition(": ")[0] for line in stdout.splitlines() if ": " in line}


def plan_present(users: Sequence[User], present: set[str], holding: set[str], purge: bool, always: bool) -> Plan:
    """``present``: names in the database; ``holding``: those of ``users`` whose password is the one given."""
    wanted = {user.name for user in users}
    return Plan(
        add=[user for user in users if user.name not in present],
        change=[user for user in users if always and user.name in present - holding],
        remove=sorted(present - wanted) if purge else [],
    )


def plan_absent(users: Sequence[User], present: set[str]) -> Plan:
    return Plan([], [], sorted(present & {user.name for user in users}))


def after(plan: Plan, present: set[str]) -> set[str]:
    """The names that a database has after a plan."""
    return (present - set(plan.remove)) | {user.name for user in plan.add}


def set_arguments(path: str, user: User) -> list[str]:
    """Arguments of saslpasswd2 that set the password which it reads from standard input."""
    return ["-p", "-c", "-f", path, "-u", user.realm, "--", user.user]


def delete_arguments(path: str, name: str) -> list[str]:
    user, _at, realm = name.rpartition("@")
    return ["-d", "-f", path, "-u", realm, "--", user]


def shown(names: Iterable[str], changed: Iterable[str] = ()) -> str:
    """The database in words for a diff: a name a line, and never a password."""
    marked = set(changed)
    return "".join(f"{name}{' (new password)' if name in marked else ''}\n" for name in sorted(names))
