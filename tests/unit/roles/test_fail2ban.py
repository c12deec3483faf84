# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Role fail2ban's filters, which no stranger can turn against another; its program that puts the candidate into place;
and the one that knows good senders."""

from __future__ import annotations

import configparser
import functools
import json
import os
import re
import runpy
import socket
import sys
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment

ROLE = Path(__file__).parents[3] / "roles/fail2ban"
FILES = ROLE / "templates/etc/fail2ban/candidate"
CANDIDATE, KNOWN = (
    runpy.run_path(str(ROLE / f"files/usr/local/sbin/gatehouse-fail2ban-{name}.py")) for name in ("candidate", "known")
)
SPEC = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]
FILTERS = SPEC["options"]["fail2ban_jails"]["options"]["name"]["choices"]
ENVIRONMENT = Environment(trim_blocks=True, keep_trailing_newline=True, autoescape=False)  # noqa: S701 it is no HTML
ENVIRONMENT.filters.update(basename=os.path.basename, splitext=os.path.splitext)
# What fail2ban puts in place of it (server/failregex), but for names of groups.
ADDR = (
    r"\[?(?:(?:::f{4,6}:)?(?P<ip4>(?:\d{1,3}\.){3}\d{1,3})"
    r"|(?P<ip6>(?:[0-9a-fA-F]{1,4}::?|:){1,7}(?:[0-9a-fA-F]{1,4}|(?<=:):)))\]?"
)


def written(path):
    """What the role writes to this file of the candidate: by a template of its own, or by one that several share."""
    ours = FILES / f"{path}.j2"
    shared = "submission" if "submission" in path else "dovecot"
    template = ours if ours.exists() else ours.with_name(f"{shared}{Path(path).suffix}.j2")
    return ENVIRONMENT.from_string(template.read_text()).render(template_destpath=path)


@functools.cache
def regex(name):
    parser = configparser.ConfigParser()
    parser.read_string(written(f"filter.d/{name}.conf"))
    assert parser["Definition"]["datepattern"] == "^%b %d %H:%M:%S"
    return re.compile(parser["Definition"]["failregex"].replace("<ADDR>", ADDR))


def found(name, line):
    """The address that a filter finds in a line of the log, from which fail2ban has taken the time."""
    match = regex(name).search(re.sub(r"^[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d", "", line))
    return match and (match["ip4"] or match["ip6"])


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_finds_in_its_lines_what_it_should(name):
    lines = [line.split(" ", 1) for line in written(f"lines/{name}").splitlines()]
    assert {wanted == "-" for wanted, _line in lines} == {True, False}
    for wanted, line in lines:
        assert found(name, line) == (None if wanted == "-" else wanted), line


# Lines of daemons, with what a client says in place of XX; the address is the client's own.
SMTP, SUBMISSION = "Nov 26 10:00:00 mx1 postfix/smtpd[1]: ", "Nov 26 10:00:00 mx1 postfix/submission/smtpd[1]: "
IMAP, TAIL = "Nov 26 10:00:00 store dovecot[7]: imap-login: ", "lip=10.8.0.31, TLS, session=<hmT0TFJEyq4KYgAp>"
FAILED = "authentication failed: authentication failure"
SAID = {
    "gatehouse-smtp": [
        f"{SMTP}NOQUEUE: reject: RCPT from unknown[192.0.2.1]: 550 5.1.1 <XX>: XX; from=<XX> to=<XX>",
        f"{SMTP}warning: non-SMTP command from unknown[192.0.2.1]: XX",
        "Nov 26 10:00:00 mx1 postfix/cleanup[1]: 4FZ: message-id=XX",
        "Nov 26 10:00:00 mx1 opendkim[1]: 4FZ: XX",
    ],
    "gatehouse-submission": [
        f"{SUBMISSION}warning: unknown[192.0.2.1]: SASL XX authentication failed: XX",
        f"{SUBMISSION}warning: unknown[192.0.2.1]: SASL PLAIN {FAILED}, sasl_username=XX",
        f"{SUBMISSION}NOQUEUE: reject: RCPT from unknown[192.0.2.1]: 553 5.7.1 <XX>: XX",
    ],
    "gatehouse-imap": [
        f"{IMAP}Disconnected (auth failed, 1 attempts in 2 secs): user=<XX>, method=PLAIN, rip=192.0.2.1, {TAIL}",
        f"{IMAP}Login aborted: XX (auth failed, 1 attempts in 2 secs) (auth_failed): user=<XX>, rip=192.0.2.1, {TAIL}",
        f"{IMAP}Disconnected (no auth attempts in 0 secs): user=<XX>, rip=192.0.2.1, {TAIL}",
    ],
}
# Dovecot's programs for logins say all alike, each in its own name.
BY_DOVECOT = {"gatehouse-managesieve": "managesieve-login: ", "gatehouse-pop3": "pop3-login: "}
for name, program in BY_DOVECOT.items():
    SAID[name] = [line.replace("imap-login: ", program) for line in SAID["gatehouse-imap"]]
SAID["gatehouse-submissions"] = [line.replace("/submission/", "/submissions/") for line in SAID["gatehouse-submission"]]
OTHER = "198.51.100.7"
PIECES = [
    *(f"unknown[{OTHER}]", f"rip={OTHER}, {TAIL}", "192.0.2.1", ": ", " ", ", ", "]", "[", "<", ">", "(", ")", "é"),
    *("mx1 postfix/smtpd[1]: ", "mx1 postfix/submission/smtpd[1]: warning: ", "user=<x>, method=PLAIN, ", ", TLS"),
    *(f"too many errors after RCPT from unknown[{OTHER}]", f"SASL PLAIN {FAILED}"),
    *("Nov 26 10:00:00 ", "#012", "\\n", "%(x)s", "<HOST>", "::1", f">, method=PLAIN, rip={OTHER}, {TAIL}", "\n"),
    f"mx1 dovecot[7]: imap-login: Disconnected (auth failed, 1 attempts in 2 secs): user=<x>, rip={OTHER}, {TAIL}",
]


@pytest.mark.parametrize("name", BY_DOVECOT)
def test_logins_by_dovecot_are_read_alike(name):
    assert regex(name).pattern == regex("gatehouse-imap").pattern.replace("imap-login: ", BY_DOVECOT[name])
    assert found("gatehouse-imap", SAID[name][0].replace("XX", "x")) is None
    assert found(name, SAID[name][0].replace("XX", "x")) == "192.0.2.1"


@pytest.mark.parametrize("name, line", [(name, line) for name, lines in SAID.items() for line in lines])
@given(said=st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_whatever_a_client_says_no_other_is_found(name, line, said):
    assert found(name, line.replace("XX", said)) in (None, "192.0.2.1")


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("piece", [": x", "x (auth failed, 1", "[", "1.", "x"])
@pytest.mark.parametrize("size", [120, 2**20])
def test_no_line_takes_long(name, piece, size):
    pattern = regex(name)
    for line in [f"{' ' * 15} mx1 XX", *SAID[name]]:
        long = line[15:].replace("XX", piece * (size // len(piece) // line.count("XX")))
        started = time.process_time()
        pattern.search(long)
        assert time.process_time() - started < 0.1, long[:100]


def test_lines_to_try_are_what_the_log_has_and_whom_the_filter_is_to_find():
    text = "192.0.2.1 Nov 26 10:00:00 mx1 a: b\n- Nov 26 10:00:01 mx1 c\n2001:db8::1 Nov 26 10:00:02 mx1 d\n"
    lines = ["Nov 26 10:00:00 mx1 a: b", "Nov 26 10:00:01 mx1 c", "Nov 26 10:00:02 mx1 d"]
    assert CANDIDATE["to_try"](text) == (["192.0.2.1", "2001:db8::1"], lines)


DUMP = """\
['set', 'syslogsocket', 'auto']
['add', 'gatehouse-smtp', 'polling']
['set', 'gatehouse-smtp', 'maxretry', 5]
['add', "somebody's", 'auto']
['multi-set', 'gatehouse-smtp', 'addfailregex', ["^ mx1 ['add', 'x']"]]
['start', 'gatehouse-smtp']
"""


def test_the_jails_of_a_configuration_are_those_that_it_adds():
    assert CANDIDATE["jails_of"](DUMP) == ["gatehouse-smtp", "somebody's"]


def test_only_what_is_new_is_put_into_place(tmp_path):
    source, target = tmp_path / "candidate.conf", tmp_path / "live.conf"
    source.write_text("old\n")
    assert CANDIDATE["place"](source, target)
    assert not CANDIDATE["place"](source, target)
    source.write_text("new\n")
    assert CANDIDATE["place"](source, target)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "candidate.conf": "new\n",
        "live.conf": "new\n",
    }


LISTS = [{"zone": "wl.example", "codes": "127.0.[0..254].[2..3;9]"}, {"zone": "good.example", "codes": "127.0.0.2"}]


def known(monkeypatch, settings, address, answers):
    """The status with which gatehouse-fail2ban-known ends, and the names that it asked for."""
    settings.write_text(json.dumps({"lists": LISTS}))
    asked = []

    def resolve(name, *_others):
        asked.append(name)
        zone = next(entry["zone"] for entry in LISTS if name.endswith(f".{entry['zone']}."))
        answer = answers.get(zone, socket.EAI_NONAME)
        if isinstance(answer, int):
            raise socket.gaierror(answer, "no")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answer, 0))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(sys, "argv", ["gatehouse-fail2ban-known", address])
    monkeypatch.setitem(KNOWN["main"].__globals__, "SETTINGS", settings)
    with pytest.raises(SystemExit) as ended:
        KNOWN["main"]()
    return ended.value.code, asked


ANSWERS = {
    "on no list": ({}, 1),
    "on a list": ({"wl.example": "127.0.5.2"}, 0),
    "on a list, by one of several numbers": ({"wl.example": "127.0.5.9"}, 0),
    "on the second list": ({"good.example": "127.0.0.2"}, 0),
    "on a list, with an answer that does not count": ({"wl.example": "127.0.5.1"}, 1),
    "a list says that it does not serve us": ({"wl.example": "127.0.255.2", "good.example": "127.255.255.254"}, 1),
    "a list does not answer": ({"good.example": socket.EAI_AGAIN}, 0),
}


@pytest.mark.parametrize("answers, status", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("address", ["198.51.100.7", "2001:db8::7"])
def test_who_is_on_an_allow_list_or_may_be_is_known(monkeypatch, tmp_path, address, answers, status):
    ended, asked = known(monkeypatch, tmp_path / "known.json", address, answers)
    assert ended == status
    prefix = "7.100.51.198." if "." in address else "7." + "0." * 23 + "8.b.d.0.1.0.0.2."
    assert asked[0] == f"{prefix}wl.example."
