"""Whose mail it is: a valid message passes, what DMARC refuses is refused, and no forgery arrives as authentic."""

from __future__ import annotations

import json
import re

import pytest

EHLO = "EHLO internet.sender.example"
TO = "alice@example.org"
POLICIES = ("reject", "quarantine", "none")


@pytest.fixture
def deliver(lab, smtp, gateway):
    """deliver(sender, text): the reply that decided it, from the domains' own address or (spoof) from another one."""

    def send(sender, text, spoof=True, client=None, address=None):
        source = lab.stranger(69) if spoof and client is None else None
        raw = text + ("" if text.endswith("\r\n") else "\r\n") + ".\r\n"
        lines = (EHLO, f"MAIL FROM:<{sender}>", f"RCPT TO:<{TO}>", "DATA", {"raw": raw}, "QUIT")
        replies = smtp(address or gateway.mail_ipv4, *lines, client=client, source=source)
        return next((reply for reply in replies if reply[0] in "45"), replies[-2])

    return send


@pytest.mark.enforcing
def test_a_valid_message_passes_all_three(mail, gateway, deliver, message, results, signer):
    mark = mail.new_id()
    text = signer.sign(message(mark, ["From: Carol <carol@reject.example>"]), "reject.example")
    assert deliver("carol@reject.example", text, spoof=False).startswith("250 ")
    said = results(mail.wait_for(TO, mark), gateway)
    for verdict in ("dkim=pass", "spf=pass", "dmarc=pass"):
        assert verdict in said


def test_a_signature_alone_passes_for_a_forwarder(mail, gateway, deliver, message, results, signer):
    """SPF fails when somebody forwards; the signature still tells whose it is."""
    mark = mail.new_id()
    text = signer.sign(message(mark, ["From: Carol <carol@reject.example>"]), "reject.example")
    assert deliver("bounce@sender.example", text).startswith("250 ")
    assert "dmarc=pass" in results(mail.wait_for(TO, mark), gateway)


@pytest.mark.enforcing
@pytest.mark.parametrize("policy", POLICIES)
def test_a_spoof_is_treated_as_its_owner_asks(mail, gateway, deliver, message, results, policy):
    mark = mail.new_id()
    reply = deliver(f"carol@{policy}.example", message(mark, [f"From: carol@{policy}.example"]))
    if policy == "reject":
        assert reply.startswith("550 5.7.1 ")
    else:
        assert reply.startswith("250 ")
        assert f"dmarc=fail (p={policy}" in results(mail.wait_for(TO, mark), gateway)


FORGED = (
    "dmarc=pass header.from=reject.example; spf=pass smtp.mailfrom=reject.example; dkim=pass header.d=reject.example"
)
ID = "{id}"
VICTIM = "carol@reject.example"
FROM = f"From: Carol <{VICTIM}>"
# name: (sender, header lines); the envelope's sender is another's where SPF shall pass for somebody.
SPOOFS = {
    "plainly": (VICTIM, [FROM]),
    "another's envelope": ("mallory@sender.example", [FROM]),
    "no envelope": ("", [FROM]),
    "no From": ("mallory@sender.example", ["Sender: carol@reject.example"]),
    "two From": ("mallory@sender.example", ["From: mallory@sender.example", FROM]),
    "two From, theirs first": ("mallory@sender.example", [FROM, "From: mallory@sender.example"]),
    "two addresses in From": ("mallory@sender.example", [f"From: mallory@sender.example, {VICTIM}"]),
    "two addresses, theirs first": ("mallory@sender.example", [f"From: {VICTIM}, mallory@sender.example"]),
    "a group": ("mallory@sender.example", [f"From: us: {VICTIM}, mallory@sender.example;"]),
    "an empty group": ("mallory@sender.example", ["From: us:;"]),
    "a comment around": ("mallory@sender.example", [f"From: (mallory@sender.example) {VICTIM} (x)"]),
    "a comment within": ("mallory@sender.example", ["From: carol@(sender.example)reject.example"]),
    "a comment that closes late": ("mallory@sender.example", [f"From: (a (b) <mallory@sender.example>) <{VICTIM}>"]),
    "folded": ("mallory@sender.example", ["From: Carol", f"\t<{VICTIM}>"]),
    "folded after the name": ("mallory@sender.example", ["From:", f" {VICTIM}"]),
    "capitals": ("mallory@sender.example", ["FROM: CAROL@REJECT.EXAMPLE"]),
    "a quoted local part": ("mallory@sender.example", ['From: "carol"@reject.example']),
    "a quoted address before": ("mallory@sender.example", [f'From: "mallory@sender.example" <{VICTIM}>']),
    "a route": ("mallory@sender.example", [f"From: <@sender.example:{VICTIM}>"]),
    "a space before the colon": ("mallory@sender.example", [f"From : {VICTIM}"]),
    "a subdomain": ("mallory@sender.example", ["From: carol@deep.below.example.org"]),
    "a final dot": ("mallory@sender.example", [f"From: <{VICTIM}.>"]),
    "a source route in the envelope": ("@sender.example:carol@reject.example", [FROM]),
    "a source route over us": ("@mx1.example.org,@sender.example:carol@reject.example", [FROM]),
    "forged results": (VICTIM, [f"Authentication-Results: {ID}; {FORGED}", FROM]),
    "forged results in quotes": (VICTIM, [f'Authentication-Results: "{ID}"; {FORGED}', FROM]),
    "forged results after a comment": (VICTIM, [f"Authentication-Results: (x) {ID} 1; {FORGED}", FROM]),
    "a bad signature": (VICTIM, ["DKIM-Signature: v=1; a=rsa-sha256; d=reject.example; s=s1; h=from; bh=A; b=A", FROM]),
}  # fmt: skip


@pytest.mark.parametrize("name", SPOOFS)
def test_no_spoof_arrives_as_authentic(mail, gateway, deliver, message, results, name, signer, published):
    """Refused inside SMTP, or in the mailbox without a word of ours for it. The domains in From all have p=reject."""
    sender, headers = SPOOFS[name]
    mark = mail.new_id()
    reply = deliver(sender, message(mark, [line.replace(ID, gateway.name) for line in headers]))
    if reply[0] == "5":
        return
    assert reply.startswith("250 "), reply
    said = results(mail.wait_for(TO, mark), gateway)
    assert "dmarc=pass" not in said, said
    assert not re.search(r"dmarc=(?!fail)[^;]* header\.from=\S*(?:reject\.example|example\.org)", said), said


FORMS = (
    "{}: {}; dmarc=pass", "{}: {}\r\n ; dmarc=pass", "{}:\r\n\t{}; dmarc=pass", "{} : {}; dmarc=pass",
    '{}: "{}"; dmarc=pass', "{}: (a (b) c) {} 1; dmarc=pass", "{}: (;) {} 2; spf=pass", "{}:{}; dkim=pass",
    "{}\t: m x 1 . example; dmarc=pass", "{}:\r\n x\r\n y", "{}: {}",
)  # fmt: skip
OF_OTHERS = (
    "Authentication-Results", "AUTHENTICATION-RESULTS", "ARC-Authentication-Results", "Authentication_Results",
    "Received-SPF", "DKIM-Filter", "X-Spam-Status", "X-Virus-Status", "ARC-Seal", "ARC-Message-Signature",
    "Authentication-Results-Original",
)  # fmt: skip


def test_verdicts_of_others_are_removed_whoever_they_name(mail, gateway, message, no_limits):
    """In every spelling, of every name: what is left in the mailbox is what this gateway found."""
    texts = {}
    for form in FORMS:
        for name in OF_OTHERS:
            for who in (gateway.name, "receiver.sender.example"):
                mark = mail.new_id()
                header = [form.format(name, who), "X-Kept: yes", "From: carol@sender.example"]
                texts[mark] = ("<carol@sender.example>", f"<{TO}>", message(mark, header))
    replies = mail.offer(gateway, list(texts.values()))
    assert [reply[:4] for reply in replies] == ["250 "] * len(texts)
    for mark, text in mail.stored(texts).items():
        head = text.partition(b"\r\n\r\n")[0].decode()
        assert "X-Kept: yes" in head  # the control
        named = [line.lower() for line in head.split("\r\n") if line[:1] not in " \t"]
        ours = [line for line in named if line.startswith(tuple(name.lower() for name in OF_OTHERS))]
        assert [line.partition(":")[0] for line in ours] == ["authentication-results", "x-virus-status"], texts[mark]
        assert f"authentication-results: {gateway.name};" in ours[0]
        assert "dmarc=none" in head


def test_a_message_within_keeps_what_it_says(mail, gateway, deliver, message):
    mark = mail.new_id()
    inner = f"Authentication-Results: {gateway.name}; dmarc=fail\r\nFrom: x@example.net\r\n\r\ninner\r\n"
    text = message(mark, ["From: carol@sender.example", "MIME-Version: 1.0", "Content-Type: message/rfc822"])
    deliver("carol@sender.example", text.replace("\r\nhello\r\n", "\r\n" + inner), spoof=False)
    assert f"Authentication-Results: {gateway.name}; dmarc=fail" in mail.wait_for(TO, mark).partition("\r\n\r\n")[2]


def test_the_vpn_and_the_other_gateways_are_not_judged_and_only_they(lab, mail, gateway, deliver, message, results):
    spoof = ["From: carol@reject.example"]
    assert deliver(VICTIM, message(mail.new_id(), spoof)).startswith("550 5.7.1 ")
    trusted = [(lab.client, gateway.mail_vpn_address)]
    trusted += [(other, gateway.mail_ipv4) for other in lab.gateways if other is not gateway]
    for client, address in trusted:
        mark = mail.new_id()
        assert deliver(VICTIM, message(mark, spoof), client=client, address=address).startswith("250 ")
        assert results(mail.wait_for(TO, mark), gateway) == ""


DOWN = {
    "stopped": (["systemctl", "stop"], ["systemctl", "start"]),
    "hung": (["systemctl", "kill", "--signal=STOP"], ["systemctl", "kill", "--signal=CONT"]),
}


@pytest.mark.parametrize("how", DOWN)
@pytest.mark.parametrize("unit", ["opendkim", "gatehouse-dmarc"])
def test_what_a_dead_verifier_cannot_judge_waits(lab, mail, unit, how, wait):
    """451 within the configured time, never 250; after its return everything is delivered, once."""
    gateway = lab.gateways[-1] if unit == "opendkim" else lab.gateways[0]
    down, up = DOWN[how]
    gateway.out(*down, unit)
    try:
        envelope = (
            EHLO,
            "MAIL FROM:<carol@sender.example>",
            f"RCPT TO:<{TO}>",
            "DATA",
            "From: carol@sender.example\r\nDate: Sun, 22 Nov 2026 10:00:00 +0000\r\n\r\nhello\r\n.",
        )
        order = {"host": gateway.mail_ipv4, "port": 25, "timeout": 130, "send": [*envelope, "QUIT"]}
        replies = [reply[-1] for _line, reply in lab.internet.python("smtp_client.py", order)]
        refusals = [reply[:3] for reply in replies if reply[0] in "45" and not reply.startswith(("503", "554 5.5.1"))]
        assert refusals, replies
        assert set(refusals) <= {"451", "421"}, replies
    finally:
        gateway.out(*up, unit)
    mail.wait_for(TO, mail.send(gateway.mail_ipv4, TO))


@pytest.mark.parametrize("unit", ["opendkim", "opendkim-ed25519", "gatehouse-dmarc"])
def test_a_killed_milter_is_back_by_itself(lab, gateway, mail, unit, wait):
    before = gateway.out("systemctl", "show", "--property=MainPID", unit)
    gateway.out("systemctl", "kill", "--signal=KILL", unit)
    wait(
        lambda: (
            gateway.out("systemctl", "show", "--property=MainPID", unit) not in (before, "MainPID=0\n")
            and gateway.run("systemctl", "is-active", unit, check=False).stdout == "active\n"
        ),
        15,
        f"{unit} to be back",
    )
    mail.wait_for(TO, mail.send(gateway.mail_ipv4, TO))


@pytest.fixture
def elsewhere(gateway):
    """The public suffix list is fetched from the host's own /root/list; in the end from where it was before."""
    path = "/etc/gatehouse/public-suffix-list.json"
    settings = gateway.out("cat", path)
    gateway.out("tee", path, given=json.dumps({**json.loads(settings), "url": "file:///root/list"}))
    yield
    gateway.out("tee", path, given=settings)


@pytest.mark.parametrize("content", ["", "com\n", "<html>not found</html>\n"], ids=["empty", "short", "no list"])
def test_a_poor_public_suffix_list_leaves_the_old_one(gateway, elsewhere, content):
    path = "/etc/gatehouse/public_suffix_list.dat"
    old = gateway.out("sha256sum", path)
    gateway.out("sh", "-c", "cat > /root/list", given=content)
    refused = gateway.run("gatehouse-public-suffix-list", check=False)
    assert (refused.returncode, "file:///root/list is not a public suffix list" in refused.stderr) == (1, True), refused
    assert gateway.out("sha256sum", path) == old
    assert gateway.out("systemctl", "is-active", "gatehouse-public-suffix-list.timer") == "active\n"


def test_a_good_public_suffix_list_is_taken_and_loaded(gateway, elsewhere):
    path = "/etc/gatehouse/public_suffix_list.dat"
    started = gateway.out("systemctl", "show", "--property=MainPID", "gatehouse-dmarc")
    gateway.out("sh", "-c", f"cp {path} /root/list; sed -i '1i // newer' /root/list")
    gateway.out("gatehouse-public-suffix-list")
    assert gateway.out("head", "-1", path) == "// newer\n"
    assert gateway.out("stat", "-c", "%a %U", path) == "644 root\n"
    assert gateway.out("systemctl", "show", "--property=MainPID", "gatehouse-dmarc") != started
