# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""smtp_info, asked of a server on loopback that says what the test wants."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest
from ansible_collections.gatehouse.mail.plugins.modules import smtp_info

BOTH = ["alice@example.org", "nobody@example.org"]
SAYS = {
    "": "220 mx1.example.org ESMTP Postfix",
    "EHLO": "250-mx1.example.org\r\n250 PIPELINING",
    "MAIL": "250 2.1.0 Ok",
    "RCPT TO:<alice": "250 2.1.5 Ok",
    "RCPT TO:<nobody": "550 5.1.1 Recipient address rejected",
    "RSET": "250 2.0.0 Ok",
    "QUIT": "221 2.0.0 Bye",
}


@contextlib.contextmanager
def server(path: str = "", **otherwise: str) -> Iterator[tuple[int, list[str]]]:
    """(port, the lines that it hears) of one that serves one connection; otherwise: {verb: reply}.

    path: of a unix socket, in place of the port."""
    says = {**SAYS, **{"" if verb == "greeting" else verb: reply for verb, reply in otherwise.items()}}
    heard: list[str] = []

    def serve() -> None:
        client, _address = listener.accept()
        with client, client.makefile("rb") as lines:
            client.sendall(f"{says['']}\r\n".encode())
            for line in lines:
                heard.append(line.decode().strip())
                verb = next(verb for verb in says if verb and heard[-1].upper().startswith(verb.upper()))
                client.sendall(f"{says[verb]}\r\n".encode())

    with socket.socket(socket.AF_UNIX if path else socket.AF_INET) as listener:
        listener.bind(path or ("127.0.0.1", 0))
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        yield 0 if path else listener.getsockname()[1], heard
        thread.join(10)
        assert not thread.is_alive()


def asked(port: int) -> tuple[str, list[tuple[int, str]]]:
    return smtp_info.ask("127.0.0.1", port, "localhost", "", BOTH)


def test_lmtp_is_spoken_by_a_socket(tmp_path):
    path = str(tmp_path / "lmtp")
    says = {"greeting": "220 store.example.org LMTP", "LHLO": "250 ok", "QUIT": "421 4.3.2 in a hurry"}
    with server(path, **says) as (_port, heard):
        assert smtp_info.ask(path, 25, "localhost", "", []) == ("store.example.org LMTP", [])
    assert [line.split()[0].upper() for line in heard] == ["LHLO", "QUIT"]


def test_a_server_in_a_hurry_has_answered():
    with server(QUIT="421 4.3.2 closing") as (port, _heard):
        assert [code for code, _text in asked(port)[1]] == [250, 550]


def test_somebody_is_taken_and_nobody_is_refused_and_nothing_is_sent():
    with server() as (port, heard):
        greeting, replies = asked(port)
    assert greeting == "mx1.example.org ESMTP Postfix"
    assert replies == [(250, "2.1.5 Ok"), (550, "5.1.1 Recipient address rejected")]
    said = [line.upper() for line in heard]
    each = [["MAIL FROM:<>", f"RCPT TO:<{who.upper()}>", "RSET"] for who in BOTH]
    assert said == ["EHLO LOCALHOST", *each[0], *each[1], "QUIT"]


@pytest.mark.parametrize(
    "otherwise, decided",
    [
        ({"greeting": "421 4.3.2 All server ports are busy"}, (421, "4.3.2 All server ports are busy")),
        ({"EHLO": "451 4.7.1 later"}, (451, "4.7.1 later")),
        ({"MAIL": "451 4.7.1 a milter is away"}, (451, "4.7.1 a milter is away")),
    ],
    ids=["the greeting", "EHLO", "MAIL"],
)
def test_what_decided_is_told(otherwise, decided):
    with server(**otherwise) as (port, _heard):
        assert asked(port)[1] == [decided] * 2


def test_no_answer_is_code_0_with_its_reason():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    greeting, replies = asked(port)
    assert greeting == ""
    assert [code for code, _why in replies] == [0, 0]
    assert "refused" in replies[0][1]
