"""What is decided about a stranger's mail, in which order, and what happens when a DNS list breaks."""

from __future__ import annotations

import uuid

import pytest

TO, NOBODY = "alice@example.org", "nobody-here@example.org"
HELO, SENDER = "internet.sender.example", "carol.{new}@sender.example"  # new: whom no greylist has seen

# (last octet of the client, HELO, sender, recipient): what the reply to RCPT begins with, and the words that say why.
# bl.example has .67, .70 and .72; keyed.example, which wants a key, has .76; wl.example trusts .70 and knows .68 as a
# mail server; .71 and .72 are in mail_access; .67, .69 and .74 are not greylisted.
TABLE = {
    "no HELO": ((67, None, SENDER, NOBODY), "503 5.5.1", "send HELO/EHLO first"),
    "a broken HELO comes before the sender": ((67, "-broken-", "carol", NOBODY), "501 5.5.2", "Helo command rejected"),
    "a HELO that is no full name": ((67, "internet", "carol", NOBODY), "504 5.5.2", "need fully-qualified hostname"),
    "a broken sender comes before the recipient": ((67, HELO, "carol", NOBODY), "504 5.5.2", "Sender address rejected"),
    "a sender's domain that is not there": (
        (67, HELO, "carol@none-such.example", NOBODY),
        "450 4.1.8",
        "Domain not found",
    ),
    "an unknown recipient comes before all lists": ((71, HELO, SENDER, NOBODY), "550 5.1.1", "User unknown"),
    "a foreign recipient": ((70, HELO, SENDER, "x@elsewhere.example"), "554 5.7.1", "Relay access denied"),
    "a client of a rule": ((71, HELO, SENDER, TO), "554 5.7.1", "nothing good ever came from here"),
    "a rule lets in who is on a list": ((72, HELO, SENDER, TO), "250 2.1.5", ""),
    "but not as everybody": ((72, HELO, SENDER, NOBODY), "550 5.1.1", "User unknown"),
    "a sender of a rule": ((69, HELO, "nuisance@sender.example", TO), "554 5.7.1", "write to somebody else"),
    "a rule for a recipient": ((67, HELO, SENDER, "abuse@example.org"), "250 2.1.5", ""),
    "trusted and listed": ((70, HELO, SENDER, TO), "250 2.1.5", ""),
    "trusted, with a listed domain": ((70, HELO, "carol@notorious.example", TO), "250 2.1.5", ""),
    "listed": ((67, HELO, SENDER, TO), "554 5.7.1", "blocked using bl.example"),
    "listed, says a list with a key": ((76, HELO, SENDER, TO), "554 5.7.1", "blocked using keyed.example"),
    "a listed domain": ((69, HELO, "carol@notorious.example", TO), "554 5.7.1", "blocked using names.example"),
    "a known mail server": ((68, HELO, SENDER, TO), "250 2.1.5", ""),
    "an exception to greylisting": ((69, HELO, SENDER, TO), "250 2.1.5", ""),
    "a recipient who is one": ((75, HELO, SENDER, "postmaster@example.org"), "250 2.1.5", ""),
    "a list's error message": ((73, HELO, SENDER, TO), "450 4.2.0", "Greylisted, come again in 3 seconds"),
    "unlisted": ((75, HELO, SENDER, TO), "450 4.2.0", "Greylisted, come again in 3 seconds"),
}


def new():
    """A name that nobody had. It begins with a letter, since postgrey takes two numbers for the same."""
    return f"x{uuid.uuid4().hex}"


@pytest.fixture
def asked(lab, smtp, gateway):
    """asked(octet, helo, sender, recipient): the reply to RCPT TO."""

    def ask(octet, helo, sender, recipient):
        lines = [f"HELO {helo}"] if helo else []
        lines += [f"MAIL FROM:<{sender.format(new=new())}>", f"RCPT TO:<{recipient}>"]
        replies = smtp(gateway.mail_ipv4, *lines, source=lab.stranger(octet))
        return next((reply for reply in replies if reply[0] in "45"), replies[-1])

    return ask


@pytest.mark.parametrize("name", TABLE)
def test_each_step_decides_in_its_turn(asked, name):
    written, code, words = TABLE[name]
    reply = asked(*written)
    assert reply.startswith(code)
    assert words in reply


def test_the_gateways_and_the_vpn_are_not_asked_about(lab, smtp, gateway):
    other = next(host for host in lab.gateways if host.name != gateway.name)
    listed = ".".join(reversed(lab.client.lab_vpn_address.split("."))) + ".bl.example"
    assert gateway.out("dig", "+short", listed) == "127.0.0.2\n"
    for client, address in ((other, gateway.mail_ipv4), (lab.client, gateway.mail_vpn_address)):
        lines = ("HELO internet", f"MAIL FROM:<{new()}@notorious.example>", f"RCPT TO:<{TO}>")
        assert smtp(address, *lines, client=client)[-1].startswith("250 ")


def test_who_logged_in_is_not_asked_about(gateway, submit, header):
    """bl.example has the client's address."""
    message = header.replace("carol@sender.example", "alice@example.org") + "\r\nhello\r\n"
    assert submit(gateway, [message])[0][0] == 250


def stop_looking(gateway):
    """Stop the timer that looks at the lists, and wait for the look that may be under way."""
    gateway.out("systemctl", "stop", "gatehouse-dns-lists.timer")
    gateway.out("systemctl", "start", "gatehouse-dns-lists")


# A list that wants a key


@pytest.fixture(scope="session")
def key(vault):
    return vault["vault_mail_dns_list_keys"]["keyed.example"]


def test_a_key_stands_in_one_file_and_in_no_log(asked, gateway, key, wait):
    """Neither when the list has a client, nor when it cannot be asked: then Postfix logs the name that it asked for."""

    def resolver(*order):
        for arguments in (order, ("flush_zone", "dq.example"), ("flush_zone", "keyed.example")):
            gateway.out("unbound-control", *arguments)

    assert "blocked using keyed.example" in asked(76, HELO, SENDER, TO)
    stop_looking(gateway)
    resolver("forward_add", "dq.example", "127.0.0.9")  # where unbound asks nobody
    try:
        gateway.reload_postfix()  # smtpd remembers what it asked
        assert asked(74, HELO, SENDER, TO).startswith("250 ")
        gateway.out("systemctl", "start", "gatehouse-dns-lists")
        assert "keyed.example is not asked any more: no answer" in gateway.journal("gatehouse-dns-lists")
    finally:
        resolver("forward_remove", "dq.example")
        gateway.out("systemctl", "start", "gatehouse-dns-lists", "gatehouse-dns-lists.timer")
    wait(lambda: ".keyed.example: RBL lookup error" in gateway.mail_log(), 20, "the warning in the log")
    assert key not in gateway.mail_log() + gateway.journal(since="@0", output="short")
    assert key in gateway.out("dig", "2.0.0.127.keyed.example")
    having = gateway.run(
        "grep", "-rl", key, "/etc", "/usr/local", "/var/lib", "/var/log", "/var/spool", "/tmp", check=False
    )
    assert having.stdout == "/etc/unbound/keyed/keyed.example\n"
    assert gateway.out("stat", "-c", "%a %U %G", having.stdout.strip()) == "640 root unbound\n"


def test_a_run_does_not_show_a_key(lab, key):
    gateway = lab.gateways[0]
    gateway.out("sed", "-i", "s/DNAME .*/DNAME old.dq.example./", "/etc/unbound/keyed/keyed.example")
    run = ("playbooks/site.yml", "--limit", gateway.name, "--tags", "unbound", "-vvv", "--diff")
    said, _nothing = lab.start_playbook(*run).communicate(timeout=300)
    assert "keyed.example (not shown)" in said
    assert key not in said
    assert key in gateway.out("dig", "2.0.0.127.keyed.example")


# A list that breaks


@pytest.fixture
def change(lab, gateway):
    """change(line, ...): nsupdate(1)'s updates of bl.example, of which the gateways' resolvers hear at once."""
    network = ".".join(reversed(lab.internet.lab_address4.split(".")[:3]))

    def update(*lines):
        lab.nsupdate("bl.example", *(line.format(network=network) for line in lines))
        for host in lab.gateways:
            host.out("unbound-control", "flush_zone", "bl.example")

    yield update
    gateway.out("systemctl", "start", "gatehouse-dns-lists.timer")
    update(*MENDED)
    for host in lab.gateways:
        host.out("systemctl", "start", "gatehouse-dns-lists")


# A wildcard stands for names that are not there in any part (RFC 4592), so the lab's network needs one of its own.
WILD = ["*.bl.example.", "*.{network}.bl.example.", "1.0.0.127.bl.example."]
MENDED = [
    *(f"del {name}" for name in [*WILD, "2.0.0.127.bl.example."]),
    "add 2.0.0.127.bl.example. 60 A 127.0.0.2",
]
BREAKS = {
    "lists the world": (
        [f"add {name} 60 A 127.0.0.2" for name in WILD],
        "lists 1.0.0.127, so perhaps the world",
    ),
    "is empty": (("del 2.0.0.127.bl.example.",), "does not list 2.0.0.127"),
    "answers with errors": (
        ("del 2.0.0.127.bl.example.", "add 2.0.0.127.bl.example. 60 A 127.255.255.254"),
        "answers with 127.255.255.254",
    ),
}


@pytest.mark.same_on_all_gateways
@pytest.mark.parametrize("name", BREAKS)
def test_a_list_that_breaks_is_asked_no_more_and_comes_back(lab, asked, gateway, change, wait, name):
    """By the timer alone; nobody runs Ansible, nobody reloads Postfix."""
    lines, why = BREAKS[name]
    assert "blocked using bl.example" in asked(67, HELO, SENDER, TO)
    stop_looking(gateway)
    change(*lines)
    if name == "lists the world":  # about .74 no smtpd has asked before, and remembers
        assert "blocked using bl.example" in asked(74, HELO, SENDER, TO)
    gateway.out("systemctl", "start", "gatehouse-dns-lists.timer")
    wait(lambda: asked(67, HELO, SENDER, TO).startswith("250 "), 60, "the timer to take bl.example out")
    assert asked(74, HELO, SENDER, TO).startswith("250 ")
    assert "blocked using names.example" in asked(69, HELO, "carol@notorious.example", TO)
    assert f"bl.example is not asked any more: {why}" in gateway.journal("gatehouse-dns-lists")
    assert f"bl.example: not asked; {why}" in gateway.out("gatehouse-dns-lists", "--show")
    if name == "lists the world":
        assert lab.site(tags="postfix,dns_lists", limit=gateway.name) == []
        assert asked(67, HELO, SENDER, TO).startswith("250 ")
    change(*MENDED)
    wait(lambda: "blocked using bl.example" in asked(67, HELO, SENDER, TO), 60, "the timer to put bl.example back")


def test_without_a_resolver_no_list_is_asked_and_mail_comes_in_again(asked, gateway):
    """Names that cannot be resolved mean that the sender waits, and no list counts until the resolver is back."""
    gateway.out("systemctl", "stop", "unbound")
    try:
        gateway.out("systemctl", "start", "gatehouse-dns-lists")
        shown = gateway.out("gatehouse-dns-lists", "--show")
        assert shown.count("not asked; no answer") == 4
    finally:
        gateway.out("systemctl", "start", "unbound")
    gateway.out("systemctl", "start", "gatehouse-dns-lists")
    assert "blocked using bl.example" in asked(67, HELO, SENDER, TO)
