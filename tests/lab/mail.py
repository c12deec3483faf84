"""SMTP by strangers and by clients, messages that can be told apart, and the mailboxes where they are found again."""

from __future__ import annotations

import base64
import dataclasses
import email
import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable

import pytest

from .hosts import Host, Lab, wait_for

INJECT = """
import json, smtplib, sys
order = json.load(sys.stdin)
with smtplib.SMTP("127.0.0.1") as client:
    for number in order["ids"]:
        client.sendmail("carol@sender.example", [order["to"]],
            f"From: carol@sender.example\\r\\nTo: {order['to']}\\r\\nDate: {order['date']}\\r\\n"
            f"Message-ID: {number}\\r\\n\\r\\nhello\\r\\n")
print("null")
"""


DATE = "Sun, 22 Nov 2026 10:00:00 +0000"
# What RFC 5322 3.6 wants of a header; opendmarc refuses a message that has less.
HEADER = f"From: Carol <carol@sender.example>\r\nDate: {DATE}\r\n"


def octets(text: str | bytes) -> bytes:
    """Text with surrogates for octets that are no UTF-8, as octets."""
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


@pytest.fixture(scope="session")
def header() -> str:
    """The lines that every message has."""
    return HEADER


# In parts, lest a scanner takes this file for infected.
EICAR = "X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-" + "STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
LOGIN, RECEIVER = "alice@example.org", "dave@sender.example"


@pytest.fixture(scope="session")
def submit(lab: Lab, vault: dict[str, Any]) -> Callable[..., list[tuple[int, str]]]:
    """submit(gateway, messages): [code, text] for each of these messages (str; surrogates are octets)."""
    passwords = vault["vault_mail_login_passwords"]

    def send(gateway: Host, messages: list[str], login: str = LOGIN, sender: str = LOGIN, recipient: str = RECEIVER):
        packed = [
            {"sender": sender, "recipient": recipient,
             "content": base64.b64encode(message.encode("utf-8", "surrogateescape")).decode()}
            for message in messages
        ]  # fmt: skip
        return lab.client.python(
            "submit.py",
            {"host": gateway.name, "address": gateway.mail_vpn_address, "port": 32841,
             "ca": gateway.out("cat", "/etc/pki/gatehouse/ca.crt"),
             "login": login, "password": passwords[login], "messages": packed},
        )  # fmt: skip

    return send


@pytest.fixture(scope="session")
def send(lab: Lab) -> Callable[..., list[tuple[int, str]]]:
    """send(texts, login=, password=, sender=, recipient=, port=, store=): [code, text] for each of these messages, that
    a person gives to a mail host."""

    def give(
        texts: list[str], login: str = LOGIN, password: str = "", sender: str = "", recipient: str = RECEIVER,
        port: int = 587, store: Host = lab.store,
    ):  # fmt: skip
        packed = [
            {"sender": sender or login, "recipient": recipient, "content": base64.b64encode(octets(text)).decode()}
            for text in texts
        ]
        order = {"host": store.name, "address": store.mail_vpn_address, "port": port, "messages": packed}
        order |= {"ca": store.out("cat", "/etc/pki/gatehouse/ca.crt"), "login": login}
        return lab.client.python("submit.py", {**order, "password": password or store.lab_passwords[login]})

    return give


# Where a mailbox's login is asked for.
DOORS = [465, 587, 993, 995, 4190]


@pytest.fixture(scope="session")
def doors(lab: Lab) -> Callable[..., list[int]]:
    """doors(login, password, host=, ports=): those of a host's ports, of the mail host's by default, that take it."""
    ca = lab.store.out("cat", "/etc/pki/gatehouse/ca.crt")

    def ask(login: str, password: str, host: Host = lab.store, ports: Sequence[int] = (*DOORS,)) -> list[int]:
        order = {"host": host.name, "address": host.mail_vpn_address, "ca": ca, "ports": ports}
        return lab.client.python("log_in.py", {**order, "user": login, "password": password})

    return ask


@pytest.fixture(scope="session")
def managesieve(lab: Lab) -> Callable[..., list[str]]:
    """managesieve(command, ..., user=, password=, tls=): the replies, that to the login first."""
    store, client = lab.store, lab.client
    ca = store.out("cat", "/etc/pki/gatehouse/ca.crt")

    def speak(*commands: str, user: str = "bob@example.org", password: str = "", tls: bool = True) -> list[str]:
        order = {
            "host": store.name, "address": store.mail_vpn_address, "port": 4190, "ca": ca, "user": user, "tls": tls,
            "password": password or store.lab_passwords[user], "send": commands,
        }  # fmt: skip
        said = client.python("managesieve_client.py", order)
        return said[2 if tls else 1 :]

    return speak


@pytest.fixture(scope="session")
def received(lab: Lab) -> Callable[[list[str]], dict[str, bytes]]:
    """received(marks): {mark: the message as it came} from the receiver's mailbox, waited for."""

    def find(marks: list[str]) -> dict[str, bytes]:
        def found() -> dict[str, bytes] | None:
            order = {"folder": "/home/world/Maildir", "marks": marks}
            here = {mark: base64.b64decode(text) for mark, text in lab.internet.python("maildir.py", order).items()}
            return here if len(here) == len(marks) else None

        return wait_for(found, 90, f"{len(marks)} messages at the receiver")

    return find


@pytest.fixture(scope="session")
def message() -> Callable[..., str]:
    """message(mark, header lines, body=): a message with these lines, and a Message-ID of its own."""

    def write(mark: str, headers: list[str], body: str = "hello") -> str:
        rest = ["To: alice@example.org", f"Date: {DATE}", "Subject: hello", f"Message-ID: {mark}"]
        return "\r\n".join([*headers, *rest, "", body, ""])

    return write


@pytest.fixture(scope="session")
def results() -> Callable[[str | bytes, Host], str]:
    """results(message, gateway): what the header says in this gateway's name, all of it in one line."""

    def read(text: str | bytes, gateway: Host) -> str:
        parsed = email.message_from_bytes(octets(text))
        ours = [str(value) for value in parsed.get_all("Authentication-Results", []) if gateway.name in str(value)]
        return " ".join(" ".join(ours).split())

    return read


# SMTP smuggling: ends of data that are none. Python's "\udc85" goes out as the octet 0x85.
ENDINGS = [
    "\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\n.\r", "\r\n.\r", "\r.\r\n", "\r.\n", "\n\n.\n\n", "\r\r.\r\r",
    "\n\r.\n\r", "\n\r.\r\n", "\r\n.\n\r\n", "\r\n.\r\r\n", "\n.\r\r\n", "\n\n.\r\r", "\r\r\n.\r\r\n",
    "\r\n\0.\r\n", "\r\n.\0\r\n", "\r\n.\r\0\n", "\0\n.\0\n", "\r\n . \r\n", "\r\n. \r\n", "\r\n.\t\r\n",
    "\r\n..\r\n", "\r\n...\r\n", "\r\n..\n", "\r\n.\x1a\r\n", "\r\n.\v\r\n", "\f.\f", "\v.\v", "\r\n\f.\r\n",
    "\udc85.\udc85", "\u2028.\u2028", "\u2029.\u2029", "\r\n\uff0e\r\n", "\r\n\u200b.\r\n", "\r\n\b.\r\n",
    "\r\n.\udca0\r\n", "\r\n=2E\r\n",
]  # fmt: skip


@pytest.fixture(scope="session")
def as_one(lab: Lab, verifies: Callable[..., bool]) -> Callable[[Callable[[list[Any]], list[str]]], list[str]]:
    """as_one(hold): what hold(lines) sends after a login, with each of ENDINGS in its middle, leaves as one message, as
    it was sent, or is refused; the endings with which it left."""
    envelope = [f"MAIL FROM:<{LOGIN}>", f"RCPT TO:<{RECEIVER}>", "DATA"]

    def header(mark: str) -> str:
        return f"From: {LOGIN}\r\nTo: {RECEIVER}\r\nDate: {DATE}\r\nSubject: one\r\nMessage-ID: {mark}\r\n\r\n"

    def as_sent(body: str) -> list[bytes]:
        """Its lines without the dot that SMTP puts before a dot. A line that is a dot alone, which is no end of data
        for a bare LF beside it, is one that Postfix passes over (smtpd_forbid_bare_newline = normalize)."""
        lines = octets(body).replace(b"\r\n", b"\n").split(b"\n")
        return [line[1:] if line[:1] == b"." else line for line in lines if line != b"."]

    def outside(marks: list[str]) -> dict[str, bytes]:
        order = {"folder": "/home/world/Maildir", "marks": marks}
        return {mark: base64.b64decode(text) for mark, text in lab.internet.python("maildir.py", order).items()}

    def check(hold: Callable[[list[Any]], list[str]]) -> list[str]:
        def offer(ending: str) -> tuple[str, str, str, list[str]]:
            first, second = Mail.new_id(), Mail.new_id()
            body = f"one{ending}" + "\r\n".join([*envelope, f"{header(second)}two", ""])
            return first, second, body, hold([*envelope, {"raw": f"{header(first)}{body}.\r\n"}, "NOOP"])

        last = Mail.new_id()
        with ThreadPoolExecutor(6) as pool:
            offered = dict(zip(ENDINGS, pool.map(offer, ENDINGS), strict=True))
        assert hold([*envelope, f"{header(last)}three\r\n."])[3].startswith("250 ")
        assert {replies[2][:3] for *_rest, replies in offered.values()} == {"354"}
        assert {replies[3][:1] for *_rest, replies in offered.values()} <= {"2", "5"}
        taken = {ending: (first, second, body) for ending, (first, second, body, replies) in offered.items()
                 if replies[3].startswith("250 ")}  # fmt: skip
        wanted = [last, *(first for first, _second, _body in taken.values())]
        wait_for(lambda: len(outside(wanted)) == len(wanted), 90, f"{len(wanted)} messages outside")
        found = outside([mark for first, second, *_rest in offered.values() for mark in (first, second)])
        for ending, (first, second, body) in taken.items():
            message = found.pop(first)
            assert found.pop(second) == message, ending  # within the first one, and nowhere else
            assert message.partition(b"\r\n\r\n")[2].replace(b"\r\n", b"\n").split(b"\n") == as_sent(body), ending
            assert verifies(message), ending
        assert found == {}
        return list(taken)

    return check


# What a stranger may do in a minute, lifted for tests that do much.
LIMITS = {
    "smtpd_client_message_rate_limit": 0, "smtpd_client_connection_rate_limit": 0,
    "smtpd_client_recipient_rate_limit": 0, "smtpd_client_connection_count_limit": 0,
    "smtpd_error_sleep_time": 0, "smtpd_hard_error_limit": 100,
}  # fmt: skip


@pytest.fixture(scope="module")
def no_limits(gateway: Host) -> Iterator[None]:
    """Strangers meet no limits on the gateway while the tests of a module run."""
    gateway.out("postconf", "-e", *(f"{name}={value}" for name, value in LIMITS.items()))
    gateway.reload_postfix()
    yield
    gateway.out("cp", "/etc/postfix/candidate/main.cf", "/etc/postfix/main.cf")
    gateway.reload_postfix()


Dialogue = Callable[..., list[str]]


@pytest.fixture(scope="session")
def smtp(lab: Lab) -> Dialogue:
    """smtp(address, line, ..., client=Host): hold a dialogue; the last reply line to each line, the greeting first."""

    def hold(
        address: str, *lines: Any, client: Host | None = None, port: int = 25, source: str | None = None,
        tls: bool = False,
    ) -> list[str]:  # fmt: skip
        # Longer than the gateways wait for a milter that hangs.
        order = {"host": address, "port": port, "source": source, "timeout": 60, "tls": tls, "send": list(lines)}
        return [reply[-1] for _line, reply in (client or lab.internet).python("smtp_client.py", order)]

    return hold


@dataclasses.dataclass(frozen=True)
class Mail:
    """Sends messages that can be told apart, and finds them again."""

    lab: Lab
    smtp: Dialogue

    def of(self, store: Host) -> Mail:
        """The mailboxes of another mail host."""
        groups = {**self.lab.groups, "mail_stores": [store.name]}
        return dataclasses.replace(self, lab=Lab({**self.lab.hosts, store.name: store}, groups))

    @staticmethod
    def new_id() -> str:
        return f"<{uuid.uuid4()}@sender.example>"

    def send(
        self, address: str, *recipients: str, sender: str = "carol@sender.example", client: Host | None = None
    ) -> str:
        """Send one message through address and give its Message-ID; a refusal fails the test."""
        return self.send_many(1, address, *recipients, sender=sender, client=client)[0]

    def send_many(
        self,
        count: int,
        address: str,
        *recipients: str,
        sender: str = "carol@sender.example",
        client: Host | None = None,
    ) -> list[str]:
        """Send messages one after the other over one connection and give their ids; a refusal fails the test."""
        ids = [self.new_id() for _number in range(count)]
        lines = ["EHLO internet.sender.example"]
        for message_id in ids:
            header = f"{HEADER}To: {recipients[0]}\r\nMessage-ID: {message_id}\r\n"
            lines += [f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{recipient}>" for recipient in recipients)]
            lines += ["DATA", header + "\r\nhello\r\n."]
        replies = self.smtp(address, *lines, "QUIT", client=client)
        each = len(recipients) + 3
        assert all(reply.startswith("250 ") for reply in replies[each + 1 : -1 : each]), replies
        assert len(replies) == count * each + 3, replies
        return ids

    def queue(self, count: int, recipient: str = "bob@example.org") -> list[str]:
        """Messages with ids of their own for the internet's Postfix, which follows MX records and comes again."""
        ids = [self.new_id() for _number in range(count)]
        self.lab.internet.out("python3", "-c", INJECT, given=json.dumps({"ids": ids, "to": recipient, "date": DATE}))
        return ids

    def arrived(self, ids: list[str], mailbox: str = "bob@example.org") -> dict[str, int]:
        """How often each of the ids stands in the mailbox, as the mail host itself counts; 0 while Dovecot is down."""
        command = ["doveadm", "-f", "tab", "fetch", "-u", mailbox, "hdr.message-id", "mailbox", "INBOX"]
        found = self.lab.store.run(*command, check=False).stdout.split()
        return {number: found.count(number) for number in ids}

    def offer(self, gateway: Host, messages: list[tuple[str, str, str | bytes]], **order: Any) -> list[str]:
        """Offer messages (what stands behind MAIL FROM:, what stands behind RCPT TO:, text) on port 25; the reply that
        decided each. Order: source, helo, sessions, client."""
        packed = [
            {"mail": sender, "rcpt": recipient, "content": base64.b64encode(octets(text)).decode()}
            for sender, recipient, text in messages
        ]
        client = order.pop("client", self.lab.internet)
        return client.python(
            "offer.py",
            {"host": gateway.mail_ipv4, "helo": "internet.sender.example", "messages": packed, **order},
        )  # fmt: skip

    def stored(self, marks: Iterable[str], mailbox: str = "alice@example.org", seconds: float = 60) -> dict[str, bytes]:
        """{mark: the message that has it, as its file has it with CRLF} of a mailbox, waited for."""
        user, _at, domain = mailbox.partition("@")
        wanted = list(marks)
        order = {"folder": f"/var/spool/dovecot/vmail/{domain}/{user}/Maildir", "marks": wanted}

        def found() -> dict[str, bytes] | None:
            here = {mark: base64.b64decode(text) for mark, text in self.lab.store.python("maildir.py", order).items()}
            return here if len(here) == len(wanted) else None

        return wait_for(found, seconds, f"{len(wanted)} messages in the mailbox of {mailbox}") if wanted else {}

    def bounced(self) -> list[str]:
        """Lines of any log that say that mail was returned, and mail that reached the sender."""
        logs = [*(host.mail_log() for host in self.lab.gateways), self.lab.internet.journal()]
        lines = [line for log in logs for line in log.splitlines()]
        return [line for line in lines if "status=bounced" in line or "to=<carol@sender.example>" in line]

    def copies(self, mailbox: str, value: str, field: str = "Message-ID", folder: str = "INBOX") -> list[str]:
        """The texts of the messages in a mailbox whose header has that value, read over IMAP with TLS on the VPN."""
        store = self.lab.store
        return self.lab.client.python("imap_client.py", {
            "host": store.name, "address": store.mail_vpn_address, "port": 993, "user": mailbox,
            "ca": store.out("cat", "/etc/pki/gatehouse/ca.crt"), "password": store.lab_passwords[mailbox],
            "header": [field, value], "folder": folder,
        })  # fmt: skip

    def wait_for(self, mailbox: str, message_id: str, seconds: float = 30) -> str:
        """The text of a message's one copy, waited for; a second copy or none fails the test."""
        texts = wait_for(lambda: self.copies(mailbox, message_id), seconds, f"{message_id} in the mailbox of {mailbox}")
        assert len(texts) == 1
        return texts[0]


@pytest.fixture(scope="session")
def mail(lab: Lab, smtp: Dialogue) -> Mail:
    return Mail(lab, smtp)
