"""awstats counts what the gateways did: no more, no less, and on pages that are nobody's program."""

from __future__ import annotations

import base64
import datetime
import json
import re
import shutil
import subprocess
import time
import uuid
from pathlib import Path

import pytest
from lab.mail import EICAR

STATE = "/var/lib/gatehouse-statistics"
LOG = "/var/log/gatehouse-mail.log"
PAGE = "awstats.gatehouse.html"


def sections(text):
    """{section: {first word: the other words}} of awstats' history."""
    found = {}
    for name, body in re.findall(r"^BEGIN_(\w+) \d+\n(.*?)^END_\1$", text, re.MULTILINE | re.DOTALL):
        found[name] = {line.split()[0]: line.split()[1:] for line in body.splitlines()}
    return found


class Counted:
    """What a gateway has counted by now; of a log of its own where there is a folder."""

    def __init__(self, host, folder=""):
        self.host, self.folder = host, folder
        self.state = f"{folder}/history" if folder else f"{STATE}/history"

    def update(self, command="update"):
        if not self.folder:
            self.host.out("systemctl", "start", f"gatehouse-statistics{'-pages' if command == 'pages' else ''}")
            return
        while self.host.out("bash", "-c", self.program(command)).startswith("nothing is new"):
            time.sleep(0.2)  # it was not a second since the last one

    def program(self, command="update"):
        main = f"sys.exit(counting.main('{self.folder}/settings.json', '{command}'))"
        path = "sys.path.insert(0, '/usr/local/lib/gatehouse-statistics')"
        return f'python3 -c "import sys; {path}; import counting; {main}"'

    def month(self, when=None):
        when = when or datetime.datetime.fromisoformat(self.host.out("date", "+%F").strip())
        path = f"{self.state}/current/awstats{when:%m%Y}.gatehouse.txt"
        return sections(self.host.run("cat", path, check=False).stdout)

    def codes(self):
        return {code: int(count) for code, (count, _octets) in self.month().get("ERRORS", {}).items()}

    def of_sender(self, sender):
        return int(self.month().get("EMAILSENDER", {}).get(sender, ["0"])[0])


def new_sender():
    return f"{uuid.uuid4().hex}@sender.example"


def until(counted, wait, condition, what):
    """Update until it holds: the last ten seconds wait for the next time."""

    def holds():
        counted.update()
        return condition()

    wait(holds, 40, what)


@pytest.mark.enforcing
def test_what_was_done_is_what_was_counted(gateway, mail, smtp, lab, submit, wait):
    counted = Counted(gateway)
    until(counted, wait, lambda: counted.month(), "a history")
    time.sleep(11)  # what others did is counted before
    counted.update()
    before, senders = counted.codes(), (new_sender(), new_sender())
    mail.send_many(3, gateway.mail_ipv4, "alice@example.org", "bob@example.org", sender=senders[0])
    mail.send(gateway.mail_ipv6, "alice@example.org", sender=senders[1])
    hello = ("EHLO internet.sender.example", f"MAIL FROM:<{senders[0]}>")
    nobody, elsewhere = "RCPT TO:<nobody-here@example.org>", "RCPT TO:<carol@elsewhere.example>"
    said = [reply[:3] for reply in smtp(gateway.mail_ipv4, *hello, nobody, nobody, elsewhere, "QUIT")[3:6]]
    assert said[:2] == ["550", "550"]
    (virus,) = mail.offer(gateway, [(f"<{senders[1]}>", "<alice@example.org>", f"{EICAR}\r\n")])
    assert virus.startswith("550")
    assert submit(gateway, ["From: alice@example.org\nSubject: x\n\nhello\n"])[0][0] == 250
    refused = {code: [*said, virus[:3]].count(code) for code in {*said, virus[:3]}}

    def all_there():
        codes = counted.codes()
        new = {code: codes.get(code, 0) - before.get(code, 0) for code in refused}
        return [counted.of_sender(sender) for sender in senders] == [6, 1] and new == refused

    until(counted, wait, all_there, f"7 that were handed over and {refused}")
    time.sleep(1.1)
    counted.update()
    assert all_there()


@pytest.mark.stress
def test_a_log_that_is_rotated_between_two_updates_loses_nothing(gateway, mail, wait):
    counted, sender = Counted(gateway), new_sender()
    counted.update()
    mail.send_many(2, gateway.mail_ipv4, "alice@example.org", sender=sender)
    wait(lambda: gateway.mail_log().count(f"from=<{sender}>, size") == 2, 20, "the log")
    rotated = f"{LOG}-{time.strftime('%Y%m%d%H%M%S')}"
    gateway.out("bash", "-c", f"mv {LOG} {rotated}; systemctl kill --signal=HUP rsyslog; gzip {rotated}")
    mail.send(gateway.mail_ipv4, "alice@example.org", sender=sender)
    until(counted, wait, lambda: counted.of_sender(sender) == 3, "three mails of two files")
    gateway.out("rm", f"{rotated}.gz")


def test_nobody_but_the_user_of_the_statistics_writes_them_and_the_user_reads_no_log(gateway):
    Counted(gateway).update("pages")
    owners = gateway.out("find", f"{STATE}/history", f"{STATE}/pages", "-type", "f", "-printf", "%u %m\n")
    assert {line.split()[0] for line in owners.splitlines()} == {"gatehouse-statistics"}
    assert gateway.run("runuser", "-u", "gatehouse-statistics", "--", "cat", LOG, check=False).returncode != 0
    assert gateway.run("runuser", "-u", "nobody", "--", "ls", f"{STATE}/pages", check=False).returncode != 0
    timers = gateway.out("systemctl", "list-timers", "--no-legend", "gatehouse-statistics*")
    assert timers.count("gatehouse-statistics") == 4  # two, each with its service
    crontab = "[ ! -e /etc/default/awstats ] || . /etc/default/awstats; echo ${AWSTATS_ENABLE_CRONTABS:-no}"
    assert gateway.out("bash", "-c", crontab) == "no\n"


# Logs that the test writes


@pytest.fixture
def own(gateway):
    """A log that the test writes, with a history of its own."""
    folder = f"/root/statistics-{uuid.uuid4().hex}"
    settings = json.loads(gateway.out("cat", "/etc/gatehouse/statistics/settings.json"))
    settings |= {"user": "", "log": f"{folder}/mail.log", "state": f"{folder}/history", "pages": f"{folder}/pages"}
    gateway.out("mkdir", "-p", settings["state"], settings["pages"])
    gateway.out("tee", f"{folder}/settings.json", given=json.dumps(settings))
    yield Counted(gateway, folder)
    gateway.out("rm", "-r", folder)


def handed_over(when, number, sender="carol@sender.example", client="out.example[198.51.100.66]"):
    head, queue_id = f"{when:%b %e %T} mx1 postfix", f"4{number:013d}z1"
    return (
        f"{head}/smtpd[1]: {queue_id}: client={client}\n"
        f"{head}/qmgr[3]: {queue_id}: from=<{sender}>, size=1000, nrcpt=1 (queue active)\n"
        f"{head}/lmtp[4]: {queue_id}: to=<alice@example.org>, relay=mx1[/run/gatehouse-lmtp/store], delay=0.2, "
        "delays=0/0/0/0, dsn=2.0.0, status=sent (250 2.0.0 Saved)\n"
        f"{head}/qmgr[3]: {queue_id}: removed\n"
    )


def append(own, text):
    own.host.out("tee", "--append", f"{own.folder}/mail.log", given=text)


def noon(own, days):
    today = datetime.datetime.fromisoformat(own.host.out("date", "+%F").strip())
    return today - datetime.timedelta(days=days) + datetime.timedelta(hours=12)


def days_of(own, when):
    return {day: int(words[0]) for day, words in own.month(when).get("DAY", {}).items()}


@pytest.mark.stress
def test_yesterday_and_today_stand_on_the_page_of_their_month(own):
    now = datetime.datetime.fromisoformat(own.host.out("date", "+%FT%T").strip())
    today = max(now - datetime.timedelta(minutes=5), now.replace(hour=0, minute=0, second=0))
    yesterday = noon(own, 1)
    append(own, "".join(handed_over(yesterday, number) for number in range(7)))
    own.update()
    append(own, "".join(handed_over(today, number) for number in range(3)))
    own.update("pages")
    assert days_of(own, yesterday) | days_of(own, today) == {f"{yesterday:%Y%m%d}": 7, f"{today:%Y%m%d}": 3}
    for day, count in ((yesterday, 7), (today, 3)):
        page = own.host.out("cat", f"{own.folder}/pages/{day:%Y-%m}/{PAGE}")
        row = re.search(rf"<td>(?:<[^>]*>)*{day:%d %b %Y}(?:<[^>]*>)*</td><td>(\d+)</td>", page)
        assert row, page
        assert int(row[1]) == count
    assert f"{now:%Y}/{PAGE}" in own.host.out("cat", f"{own.folder}/pages/index.html")


# As the program does it, at another time.
AT = """
import datetime, os, sys
from pathlib import Path
sys.path.insert(0, "/usr/local/lib/gatehouse-statistics")
import counting, logfiles
settings = counting.Settings.read(sys.argv[1])
with counting.locked(Path(settings.state).parent) as lock:
    files = logfiles.open_all(Path(settings.log))
    print(counting.Statistics(settings, lock).update(files, datetime.datetime.fromisoformat(sys.argv[2])))
"""


@pytest.mark.stress
def test_the_year_turns_between_two_updates_and_within_one(own):
    last = noon(own, 0).year - 1
    december, january = datetime.datetime(last, 12, 31, 23, 59, 0), datetime.datetime(last + 1, 1, 1, 0, 0, 1)
    moments = (december, december + datetime.timedelta(seconds=50), january, january + datetime.timedelta(hours=1))
    for number, (logged, read) in enumerate(zip(moments, (moments[1], None, moments[3], None))):
        append(own, handed_over(logged, number))
        if read:  # the second one waits, and is read with the third
            own.host.out("python3", "-c", AT, f"{own.folder}/settings.json", str(read))
    own.update()
    assert days_of(own, december) == {f"{december:%Y%m%d}": 2}
    assert days_of(own, january) == {f"{january:%Y%m%d}": 2}


@pytest.mark.stress
def test_an_update_that_is_killed_at_ten_moments_counts_each_mail_once(own):
    number, counted = 1500, []
    append(own, "".join(handed_over(noon(own, 9), each) for each in range(number)))
    started = time.monotonic()
    own.update()
    whole = time.monotonic() - started
    for turn in range(10):
        append(own, "".join(handed_over(noon(own, 8 - turn / 2), number + more) for more in range(1500)))
        number += 1500
        after = f"{0.05 + whole * 2 * turn / 10:.2f}"
        own.host.run("bash", "-c", f"timeout --signal=KILL {after} {own.program()}", check=False)
        counted.append(sum(own_days(own)) - number + 1500)
        own.update()
    print(f"an update took {whole:.1f} s; counted after each kill: {counted}")
    assert sum(own_days(own)) == number
    assert set(counted) == {0, 1500}  # some came through, and some did not


def own_days(own):
    files = own.host.out("bash", "-c", f"cat {own.state}/current/awstats*.txt").split("BEGIN_DAY")[1:]
    return [int(words.split()[1]) for text in files for words in text.partition("END_DAY")[0].splitlines()[1:]]


# A browser


@pytest.fixture(scope="session")
def browser(state):
    """The root of a Debian with chromium in it, made once."""
    root = state.parent / "chromium"
    if not root.exists():
        sources = [
            path for path in ("/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list") if Path(path).exists()
        ]
        command = ["mmdebstrap", "--quiet", "--variant=minbase", '--aptopt=APT::Install-Recommends "false"']
        made = root.with_name("chromium.new")
        shutil.rmtree(made, ignore_errors=True)
        subprocess.run([*command, "--include=chromium-headless-shell", "bookworm", made, sources[0]], check=True)
        made.rename(root)
    return root


LOOK = """
set -e
mount --bind /dev "$1/dev"
mount -t proc proc "$1/proc"
exec chroot "$1" chromium-headless-shell --no-sandbox --disable-gpu --disable-dev-shm-usage \\
    --log-net-log=/tmp/net.json --dump-dom "file:///srv/pages/$2"
"""


def look(browser, path):
    """A page below /srv/pages as it is when its scripts have run, and the URLs for which it wanted the network."""
    log = browser / "tmp/net.json"
    log.unlink(missing_ok=True)
    result = subprocess.run(
        ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "bash", "-c", LOOK, "look", browser, path],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert log.exists()
    return result.stdout, set(re.findall(r'"url":"(http[^"]*)"', log.read_text()))


HOSTILE = [
    '"<script>document.title=1</script>"@x',
    "a'b\"c@x",
    "&lt;b&gt;@x",
    "x" * 300 + "@x",
    '"<img/src=http://evil.example/x>"@x',
]


@pytest.mark.stress
def test_what_strangers_write_is_text_in_a_browser_and_no_page_asks_another_host(own, browser):
    append(own, "".join(handed_over(noon(own, 1), number, text) for number, text in enumerate(HOSTILE)))
    own.update("pages")
    packed = own.host.out("bash", "-c", f"tar --create --gzip --directory {own.folder}/pages . | base64")
    pages = browser / "srv/pages"
    shutil.rmtree(pages, ignore_errors=True)
    pages.mkdir()
    subprocess.run(["tar", "--extract", "--gzip", "--directory", pages], input=base64.b64decode(packed), check=True)

    (pages / "control.html").write_text(
        "<title>0</title><script>document.title=1</script><img src=http://evil.example/x>"
    )
    document, asked = look(browser, "control.html")
    assert "<title>1</title>" in document
    assert asked == {"http://evil.example/x"}

    month = f"{noon(own, 1):%Y-%m}"
    for page in sorted((pages / month).iterdir()):
        document, asked = look(browser, f"{month}/{page.name}")
        assert asked == set(), page.name
        assert re.search(r"<title>Statistics for ", document), page.name
        assert "<script" not in document
        assert "evil" not in "".join(re.findall("<[^>]*>", document))
    document, asked = look(browser, f"{month}/{PAGE}")
    assert "__script_document.title=1_/script__@x</td><td>1</td>" in document
    assert "x" * 40 in document
    assert look(browser, "index.html")[1] == set()
