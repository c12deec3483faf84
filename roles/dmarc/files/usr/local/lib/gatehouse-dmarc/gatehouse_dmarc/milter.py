# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The daemon: hands what Postfix says to the pure parts, and their answer to Postfix.

On port 25 it stands behind opendkim, and header_checks have removed every Authentication-Results field before, so that
those it sees are opendkim's. At submission it comes first, and what it adds is signed.
"""

from __future__ import annotations

import email.utils
import ipaddress
import json
import random
import re
import syslog
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Callable, Optional

import Milter
import milter

from gatehouse_dmarc import policy, reading, sender
from gatehouse_dmarc.policy import Identity, Unanswered
from gatehouse_dmarc.resolver import PATIENCE, Resolver

PATIENCE_IN_ALL = 50  # seconds of DNS for a message; Postfix waits for longer (postfix_milter_content_timeout)
# RFC 5322 3.6: at most one of each.
ONCE = (
    "from", "sender", "reply-to", "to", "cc", "subject", "date", "message-id", "in-reply-to", "references",
)  # fmt: skip
# Whom a message says it is from, in one way or another. At submission these are held to the login.
AUTHORS = ("from", "sender", "resent-from", "resent-sender")


class Settings:
    """What role dmarc wrote: the JSON file, read once."""

    def __init__(self, path: Path) -> None:
        given = json.loads(path.read_text(encoding="utf-8"))
        self.socket: str = given["socket"]
        self.authserv_id: str = given["authserv_id"]
        self.header_size_limit: int = given["header_size_limit"]  # octets
        self.reject_failures: bool = given["reject_failures"]
        self.exempt = [ipaddress.ip_network(network) for network in given["exempt_clients"]]
        self.delimiter: str = given["recipient_delimiter"]
        # {sender: the logins that may use it}; a sender is an address or "@" and a domain. All in lower case.
        self.sender_logins: Mapping[str, set[str]] = {
            name.lower(): {login.lower() for login in logins} for name, logins in given["sender_login_maps"].items()
        }
        # Of these domains each login owns its own address.
        self.self_sender_domains = {domain.lower() for domain in given["self_sender_domains"]}
        self.free_logins = {login.lower() for login in given["any_from_logins"]}
        self.resolver = Resolver(given["nameservers"])
        path = given["public_suffix_list"]  # empty where there are no strangers
        self.suffixes = policy.Suffixes(Path(path).read_text(encoding="utf-8").splitlines() if path else [])

    def is_exempt(self, address: str) -> bool:
        return any(ipaddress.ip_address(address) in network for network in self.exempt)

    def may_write_as(self, login: str, mailbox: reading.Mailbox) -> bool:
        """As Postfix looks into smtpd_sender_login_maps: the address, then without its extension, then its domain."""
        if not mailbox.local.isascii():  # what is in lower case a letter of somebody's may not be one
            return False
        local = mailbox.local.lower()
        bare = local.split(self.delimiter)[0] if self.delimiter else local
        own = f"{bare}@{mailbox.domain}"
        for name in (f"{local}@{mailbox.domain}", own):
            if name in self.sender_logins:
                return login.lower() in self.sender_logins[name]
        if mailbox.domain in self.self_sender_domains and login.lower() == own:
            return True
        return login.lower() in self.sender_logins.get(f"@{mailbox.domain}", ())


class Refusal(Exception):
    """The reply that ends it: code, enhanced code (RFC 3463) and text."""

    def __init__(self, code: str, enhanced: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.enhanced = enhanced
        # libmilter takes % for its own, and Postfix's replies are ASCII.
        self.text = re.sub(r"[^\x20-\x24\x26-\x7e]", "?", text)[:400]


def _decides(method: Callable[..., Any]) -> Callable[..., int]:
    """Turn a Refusal into the milter's reply."""

    def decide(self: Judge, *arguments: Any) -> int:
        try:
            method(self, *arguments)
        except Refusal as refusal:
            self.log(f"{refusal.code} {refusal.enhanced} {refusal.text}")
            self.setreply(refusal.code, refusal.enhanced, refusal.text)
            return Milter.REJECT if refusal.code.startswith("5") else Milter.TEMPFAIL
        return Milter.CONTINUE

    return decide


class Judge(Milter.Base):
    """One connection; a message begins with envfrom."""

    settings: Settings

    def connect(self, _name: str, _family: int, address: Any) -> int:
        # A client on a unix socket is this host itself. None is one whose address Postfix could not find out.
        self.client = address[0] if isinstance(address, tuple) else "127.0.0.1" if address else ""
        self.exempt = self.client != "" and self.settings.is_exempt(self.client)
        self.helo = ""
        return Milter.CONTINUE

    def hello(self, helo: str) -> int:
        self.helo = helo
        return Milter.CONTINUE

    def envfrom(self, path: str, *_parameters: str) -> int:
        self.path = path
        self.login: Optional[str] = self.getsymval("{auth_authen}")
        self.size = 0
        self.fields: dict[str, list[str]] = {}
        self.results: list[reading.Result] = []
        self.signatures: list[Optional[tuple[str, str]]] = []
        self.credible = True
        return Milter.CONTINUE

    @_decides
    def header(self, name: str, value: str) -> None:
        # With the colon, a space and the line end; value is without its first space.
        self.size += len(name) + len(value.encode("utf-8", "surrogateescape")) + 4
        limit = self.settings.header_size_limit
        if self.size > limit:
            raise Refusal("552", "5.3.4", f"the message header is longer than {limit} octets")
        key = name.strip(" \t").lower()
        if key in ONCE or key in AUTHORS:
            self.fields.setdefault(key, []).append(value)
        elif key == "authentication-results":
            self.results += reading.dkim_results(value, self.settings.authserv_id)
        elif key == "dkim-signature":
            self.credible = self.credible and reading.is_plain(value)
            if len(self.signatures) < reading.SIGNATURES:
                self.signatures.append(reading.signature(value))

    @_decides
    def eom(self) -> None:
        if self.login:
            self.submit(self.login)
        elif not self.exempt:
            self.judge()

    def submit(self, login: str) -> None:
        """RFC 6409: what was handed in by somebody who logged in."""
        self.check_once()
        authors = self.authors("from")
        if login.lower() not in self.settings.free_logins:
            for key in AUTHORS[1:]:
                authors = authors + (self.authors(key) if key in self.fields else [])
            for mailbox in authors:
                if not self.settings.may_write_as(login, mailbox):
                    raise Refusal("550", "5.7.1", f"{login} may not write as {mailbox}")
        if "date" not in self.fields:
            self.addheader("Date", email.utils.format_datetime(email.utils.localtime()))
        if "message-id" not in self.fields:
            self.addheader("Message-ID", f"<{uuid.uuid4().hex}@{self.settings.authserv_id}>")

    def judge(self) -> None:
        self.check_once()
        if "date" not in self.fields:
            raise Refusal("550", "5.6.0", "the message has no Date field")
        domains = sorted({mailbox.domain for mailbox in self.authors("from")})
        if len(domains) > 1:
            raise Refusal("550", "5.6.0", f"the From field has addresses of {len(domains)} domains; write those of one")
        if not self.credible:
            # Somebody may have written results of his own through opendkim: as good as unsigned.
            self.results, self.signatures = [], []
        author, settings = domains[0], self.settings
        until = time.monotonic() + PATIENCE_IN_ALL
        identity, address, domain = reading.sender_of(self.path, self.helo)
        asked = domain and self.client
        result = sender.check(self.client, address, self.helo, settings.authserv_id) if asked else "none"
        said = f"spf={result}" + (f" smtp.{identity}={domain}" if domain else "")

        def seconds() -> float:
            return min(PATIENCE, until - time.monotonic())

        verdict = policy.judge(
            author,
            [Identity("spf", result, domain), *(Identity("dkim", one.result, one.domain) for one in self.results)],
            lambda: policy.discover(
                author,
                settings.suffixes,
                lambda name, qtype: settings.resolver.ask(name, qtype, seconds()),
                lambda name: settings.resolver.missing(name, seconds()),
            ),
            lambda counts: self.unanswered_key(counts, seconds),
            settings.suffixes,
            random.random() * 100,  # noqa: S311 it chooses a share of the mail, and guards nothing
        )
        disposition = verdict.disposition
        if disposition == "reject" and not settings.reject_failures:
            disposition = "quarantine"
        found = f"dmarc={verdict.result} (p={verdict.p} dis={disposition}) header.from={author}"
        if disposition == "wait":
            raise Refusal("451", "4.7.1", f"DNS does not say now whether this message is from {author}; come again")
        if disposition == "reject":
            raise Refusal("550", "5.7.1", f"rejected by DMARC policy of {author} ({said})")
        self.log(f"{said} {found}")
        self.addheader("Authentication-Results", f"{settings.authserv_id};\n\t{said};\n\t{found}", 0)

    def check_once(self) -> None:
        for key in ONCE:
            count = len(self.fields.get(key, ()))
            if count > 1:
                raise Refusal("550", "5.6.0", f"the message has {count} {key.title()} fields; RFC 5322 allows one")

    def authors(self, key: str) -> list[reading.Mailbox]:
        """The addresses in all fields of this name."""
        if key not in self.fields:
            raise Refusal("550", "5.6.0", f"the message has no {key.title()} field")
        try:
            return [mailbox for field in self.fields[key] for mailbox in reading.mailboxes(field)]
        except reading.ReadingError as error:
            raise Refusal("550", "5.6.0", f"the {key.title()} field is not as RFC 5322 has it: {error}") from error

    def unanswered_key(self, counts: Callable[[str], bool], seconds: Callable[[], float]) -> bool:
        """Whether opendkim said nothing of a signature that counts because it got no answer about the key.

        It writes no result after a time-out, and takes SERVFAIL for a key that is not there. So the key is asked for
        again: no answer now, or a key now that opendkim did not have.
        """
        told = {(one.domain, one.selector) for one in self.results if one.result in ("pass", "fail", "policy")}
        for domain, selector in {one for one in self.signatures if one and one not in told and counts(one[0])}:
            try:
                texts = self.settings.resolver.ask(f"{selector}._domainkey.{domain}", "TXT", seconds())
                if any(reading.tags(b"".join(text).decode("latin-1")).get("p") for text in texts):
                    return True
            except Unanswered:
                return True
        return False

    def log(self, text: str) -> None:
        syslog.syslog(f"{self.getsymval('i') or 'NOQUEUE'}: {text}")


def main(path: str) -> None:
    settings = Settings(Path(path))
    sender.use(settings.resolver.ask)
    syslog.openlog("gatehouse-dmarc", syslog.LOG_PID, syslog.LOG_MAIL)
    Judge.settings = settings
    Milter.factory = Judge
    Milter.set_flags(Milter.ADDHDRS)
    # A fault of ours must not cost mail, nor let it in unjudged.
    Milter.set_exception_policy(milter.TEMPFAIL)
    Milter.runmilter("gatehouse-dmarc", settings.socket, 240)
