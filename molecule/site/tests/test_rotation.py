"""A whole rotation of every DKIM key, with mail going out every second: each message verifies at the receiver, before,
during and after, also one that waited in a queue while the keys changed."""

import collections
import contextlib
import email
import re
import threading
import time

import pytest

pytestmark = pytest.mark.stress
LATE = "late@sender.example"
SELECTOR = re.compile(r"\bs=([^;]+);")


class Sender(threading.Thread):
    """Submits a message a second, through each gateway in turn, and comes again where it is put off."""

    def __init__(self, lab, mail, submit):
        super().__init__()
        self.lab, self.mail, self.submit = lab, mail, submit
        self.ids, self.put_off, self.refused = [], [], []
        self.stopped = threading.Event()

    def run(self):
        gateways = collections.deque(self.lab.gateways)
        while not self.stopped.wait(1):
            number = self.mail.new_id()
            ((code, text),) = self.submit(gateways[0], [message(number)])
            while code // 100 == 4 and not self.stopped.wait(1):
                self.put_off.append(text)
                ((code, text),) = self.submit(gateways[0], [message(number)])
            (self.ids if code == 250 else self.refused).append(number if code == 250 else text)
            gateways.rotate()


def message(number):
    return (
        "From: Alice <alice@example.org>\r\nTo: dave@sender.example\r\nSubject: every second\r\n"
        f"Date: Sun, 22 Nov 2026 10:00:00 +0000\r\nMessage-ID: {number}\r\n\r\nhello\r\n"
    )


@pytest.fixture
def sending(lab, mail, submit):
    sender = Sender(lab, mail, submit)
    sender.start()
    yield sender
    sender.stopped.set()
    sender.join()


@contextlib.contextmanager
def receiver_puts_off(lab, recipient):
    """The receiver answers 450 to this recipient; then it does no more, and the gateways come again."""
    internet = lab.internet
    before = internet.out("postconf", "-h", "smtpd_recipient_restrictions").strip()
    internet.out(
        "postconf", f"smtpd_recipient_restrictions=check_recipient_access inline:{{ {{{recipient} = 450 later}} }}"
    )
    internet.reload_postfix()
    yield
    internet.out("postconf", f"smtpd_recipient_restrictions={before}")
    internet.reload_postfix()
    for gateway in lab.gateways:
        gateway.out("postqueue", "-f")


def rotate(lab, *arguments):
    results = lab.playbook("playbooks/rotate_dkim.yml", *arguments)
    assert not [result for result in results if result.get("failed")]
    return {result["task"]: result for result in results}


def selectors(message):
    return sorted(
        SELECTOR.search(str(value))[1] for value in email.message_from_bytes(message).get_all("DKIM-Signature")
    )


def private_parts(gateway):
    names = gateway.out("ls", "/etc/opendkim/keys").split()
    return {name.removeprefix("example.org_").removesuffix(".private") for name in names}


def test_every_message_verifies_while_all_keys_change(lab, mail, published, sending, submit, received, verifies):
    old = {gateway.name: private_parts(gateway) for gateway in lab.gateways}
    late = {}
    judged = {}

    def judge():
        """Everything that has come: two signatures, and both verifiers say that both are good."""
        come = received(list(sending.ids))
        for number, text in come.items():
            if number in judged:
                continue
            results = str(email.message_from_bytes(text).get("Authentication-Results"))
            assert results.count("dkim=pass") == 2, results
            assert [verifies(text, index) for index in (0, 1)] == [True, True], text.decode()
            judged[number] = selectors(text)

    rotate(lab, "--extra-vars", "rotate_dkim_start=true")
    new = {gateway.name: private_parts(gateway) - old[gateway.name] for gateway in lab.gateways}
    assert all(
        len(new[name]) == len(old[name]) == 4 for name in old
    )  # RSA and Ed25519, of the domain and of one sender
    judge()
    assert {selector for pair in judged.values() for selector in pair} <= set().union(*old.values())

    with receiver_puts_off(lab, LATE):
        for gateway in lab.gateways:
            number = mail.new_id()
            assert submit(gateway, [message(number)], recipient=LATE)[0][0] == 250
            late[number] = gateway.name
        time.sleep(2)  # seconds that the published keys wait in this lab
        rotate(lab)
        time.sleep(3)
        for gateway in lab.gateways:
            assert LATE in gateway.out("postqueue", "-p")
    for number, text in received(list(late)).items():
        assert set(selectors(text)) <= old[late[number]]
        results = str(email.message_from_bytes(text).get("Authentication-Results"))
        assert results.count("dkim=pass") == 2, results
        assert [verifies(text, index) for index in (0, 1)] == [True, True]
    judge()
    used = {selector for pair in judged.values() for selector in pair}
    assert len(used) == 8  # of both gateways, old and new, RSA and Ed25519
    time.sleep(20)  # seconds that the retired keys stay
    judge()
    before_removal = set(judged)
    gone = rotate(lab)
    assert gone["Delete the private parts of removed keys"]["changed"]
    judge()
    assert {selector for number, pair in judged.items() if number not in before_removal for selector in pair} <= (
        set().union(*new.values())
    )
    for gateway in lab.gateways:
        assert private_parts(gateway) == new[gateway.name]
    again = rotate(lab)
    assert [task for task, result in again.items() if result["changed"]] == []
    assert sending.refused == []
    assert sending.put_off == []
    print(f"{len(judged)} messages, {len(late)} of them late, {len(used)} keys")
