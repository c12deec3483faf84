"""Updates and pages, with a stand-in for awstats: nothing is lost or counted twice, whatever happens."""

from __future__ import annotations

import collections
import contextlib
import datetime
import gzip
import json
import os
from pathlib import Path

import counting
import logfiles
import maillog
import pytest

NOW = datetime.datetime(2026, 11, 26, 12, 0, 0)
MINUTE = datetime.timedelta(minutes=1)
AWSTATS = str(Path(__file__).with_name("awstats.pl"))


class Gateway:
    """A log, and what was counted of it."""

    def __init__(self, folder):
        self.folder, self.log, self.count = folder, folder / "log/gatehouse-mail.log", 0
        for name in ("log", "state", "pages", "icons/clock", "icons/other"):
            (folder / name).mkdir(parents=True)
        self.settings = counting.Settings(
            name="mx1.example.org", user="", log=str(self.log), state=str(folder / "state"),
            pages=str(folder / "pages"), configuration="/etc", awstats=AWSTATS, build=AWSTATS,
            icons=str(folder / "icons"),
        )  # fmt: skip

    def line(self, when):
        """A refusal with a number of its own, which stands for any line that makes a record."""
        self.count += 1
        return (
            f"{when:%b %e %T} mx1 postfix/smtpd[1]: NOQUEUE: reject: RCPT from x[192.0.2.1]: 550 5.1.1 <a>: no; "
            f"from=<{self.count}@x> to=<a@example.org> proto=ESMTP helo=<x>\n"
        )

    def write(self, *times):
        with self.log.open("a") as log:
            log.writelines(map(self.line, times))

    def rotate(self, day, pack=False):
        rotated = self.log.rename(self.log.with_name(f"{self.log.name}-{day}"))
        if pack:
            rotated.with_name(f"{rotated.name}.gz").write_bytes(gzip.compress(rotated.read_bytes()))
            rotated.unlink()

    def statistics(self):
        return counting.Statistics(self.settings, os.open(self.folder, os.O_RDONLY))

    def update(self, now=NOW):
        return self.statistics().update(logfiles.open_all(self.log), now)

    def counted(self):
        """The numbers of the lines that were counted, in the order of awstats' history."""
        files = sorted((self.folder / "state/current").glob("awstats*"), key=lambda file: (file.name[9:13], file.name))
        return [int(line.split()[2].partition("@")[0]) for file in files for line in file.read_text().splitlines()]


@pytest.fixture
def gateway(tmp_path):
    return Gateway(tmp_path)


def test_a_second_update_adds_nothing(gateway):
    gateway.write(NOW - 3 * MINUTE, NOW - MINUTE)
    assert gateway.update() == "2 records up to 2026-11-26 11:59:50"
    assert gateway.update() == "nothing is new"
    assert gateway.update(NOW + MINUTE) == "0 records up to 2026-11-26 12:00:50"
    assert gateway.counted() == [1, 2]


def test_lines_of_this_moment_wait_and_none_of_a_second_is_lost(gateway):
    second = NOW - counting.MARGIN
    gateway.write(second - MINUTE, second, second)
    gateway.update()
    assert gateway.counted() == [1]
    gateway.write(second, second)
    gateway.update(NOW + MINUTE)
    assert gateway.counted() == [1, 2, 3, 4, 5]


def test_what_is_logged_late_is_counted_all_the_same(gateway):
    gateway.write(NOW - 2 * MINUTE)
    gateway.update()
    gateway.write(NOW - 3 * MINUTE, NOW + MINUTE, NOW)
    gateway.update(NOW + 3 * MINUTE)
    assert gateway.counted() == [1, 2, 3, 4]


@pytest.mark.parametrize("pack", [False, True])
def test_a_log_that_is_rotated_between_two_updates_loses_nothing(gateway, pack):
    gateway.write(NOW - 4 * MINUTE)
    gateway.update()
    gateway.write(NOW + MINUTE)
    gateway.rotate("20261126", pack)
    gateway.write(NOW + 2 * MINUTE)
    gateway.update(NOW + 5 * MINUTE)
    assert gateway.counted() == [1, 2, 3]


def test_a_log_that_is_rotated_often_while_nobody_counts_loses_nothing(gateway):
    gateway.write(NOW - 4 * MINUTE)
    gateway.update()
    for day in range(1, 5):
        gateway.write(NOW + day * MINUTE)
        gateway.rotate(f"2026112{day}", pack=day < 4)
    assert not gateway.log.exists()
    gateway.update(NOW + 9 * MINUTE)
    assert gateway.counted() == [1, 2, 3, 4, 5]


def test_a_file_is_left_only_when_there_are_older_lines_in_the_next(gateway):
    """rsyslog may write into a rotated file for a moment."""
    gateway.write(NOW - 4 * MINUTE)
    gateway.rotate("20261126")
    gateway.write(NOW)
    gateway.update()
    with gateway.log.with_name("gatehouse-mail.log-20261126").open("a") as rotated:
        rotated.write(gateway.line(NOW - MINUTE))
    gateway.update(NOW + MINUTE)
    assert sorted(gateway.counted()) == [1, 2, 3]


def test_where_the_file_that_was_read_last_is_gone_what_is_newer_is_counted(gateway):
    gateway.write(NOW - 4 * MINUTE)
    gateway.update()
    gateway.log.unlink()
    gateway.write(NOW - MINUTE, NOW + MINUTE)
    assert "is gone" in gateway.update(NOW + 2 * MINUTE)
    assert gateway.counted() == [1, 3]


def test_a_line_that_is_being_written_is_read_when_it_is_whole(gateway):
    gateway.write(NOW - 4 * MINUTE)
    line = gateway.line(NOW - 3 * MINUTE)
    with gateway.log.open("a") as log:
        log.write(line[:100])
        log.flush()
        assert "could not be read" not in gateway.update()
        log.write(line[100:])
    gateway.update(NOW + MINUTE)
    assert gateway.counted() == [1, 2]


def test_lines_that_cannot_be_read_are_named(gateway):
    gateway.write(NOW - 4 * MINUTE)
    with gateway.log.open("ab") as log:
        log.write(b"\xff\0 no line\n" + b"x" * logfiles.LONGEST + b"x\n")
    gateway.write(NOW - 3 * MINUTE)
    said = gateway.update()
    assert said.startswith(
        "2 records up to 2026-11-26 11:59:50\n3 lines could not be read, among them:\n'\ufffd\\x00 no line\\n'\n"
    )


def test_a_message_on_its_way_is_known_at_the_next_update(gateway):
    head = "Nov 26 11:00:00 mx1 postfix"
    gateway.log.write_text(
        f"{head}/smtpd[1]: 4dFx2B1zXyz3: client=out.example[198.51.100.66]\n"
        f"{head}/qmgr[3]: 4dFx2B1zXyz3: from=<7@x>, size=1234, nrcpt=2 (queue active)\n"
        f"{head}/lmtp[4]: 4dFx2B1zXyz3: to=<a@x>, relay=none, delay=1, dsn=4.4.1, status=deferred (away)\n"
    )
    gateway.update()
    waits = f"{head}/lmtp[4]: 4dFx2B1zXyz3: to=<a@x>, relay=none, delay=1, dsn=4.4.1, status=deferred (away)\n"
    with gateway.log.open("a") as log:
        log.write(
            waits.replace("11:00", "12:01")
            + waits.replace("11:00", "12:02").replace("4.4.1, status=deferred", "2.0.0, status=sent")
        )
        log.write(f"{head}/qmgr[3]: 4dFx2B1zXyz3: removed\n")
    gateway.update(NOW + 5 * MINUTE)
    (history,) = (gateway.folder / "state/current").glob("awstats*")
    columns = [line.split()[2:] for line in history.read_text().splitlines()]
    assert columns == [
        ["7@x", "a@x", "out.example[198.51.100.66]", "none", "SMTP", "-", code, "1234"] for code in ("451", "250")
    ]
    assert json.loads((gateway.folder / "state/current/read.json").read_text())["messages"] == []


def test_the_year_turns_within_an_update_and_between_two(gateway):
    gateway.write(datetime.datetime(2026, 12, 31, 23, 59, 0))
    gateway.update(datetime.datetime(2026, 12, 31, 23, 59, 30))
    gateway.write(datetime.datetime(2026, 12, 31, 23, 59, 40), datetime.datetime(2027, 1, 1, 0, 0, 1))
    gateway.rotate("20270101")
    gateway.write(datetime.datetime(2027, 1, 1, 0, 1, 0))
    gateway.update(datetime.datetime(2027, 1, 1, 1, 0, 0))
    names = sorted(path.name for path in (gateway.folder / "state/current").glob("awstats*"))
    assert names == ["awstats012027.gatehouse.txt", "awstats122026.gatehouse.txt"]
    assert gateway.counted() == [1, 2, 3, 4]


def test_a_clock_that_goes_back_an_hour_costs_nothing(gateway):
    hour = 60 * MINUTE
    gateway.write(NOW - MINUTE)
    gateway.update()
    gateway.write(NOW - hour + MINUTE)
    assert gateway.update(NOW - hour + 2 * MINUTE) == "nothing is new"
    gateway.write(NOW + MINUTE)
    gateway.update(NOW + 2 * MINUTE)
    assert gateway.counted() == [1, 2, 3]


def test_a_clock_that_was_far_ahead_is_said(gateway):
    gateway.update(NOW + datetime.timedelta(days=400))
    with pytest.raises(counting.Failure, match="2027-12-31 11:59:50: nothing is counted until then"):
        gateway.update()


def test_awstats_that_fails_has_counted_nothing(gateway):
    gateway.write(NOW - MINUTE)
    (gateway.folder / "state/FAIL").touch()
    with pytest.raises(counting.Failure, match="nothing was counted"):
        gateway.update()
    assert gateway.counted() == []
    (gateway.folder / "state/FAIL").unlink()
    gateway.update()
    assert gateway.counted() == [1]
    assert len(list((gateway.folder / "state").glob("generation-*"))) == 1


# Each is a moment of an update; what comes after it does not happen.
MOMENTS = ["os.link", "logfiles.Reader.lines", "counting.Statistics._feed", "pathlib.Path.write_text", "os.sync"]
MOMENTS += ["counting.Statistics._take", "pathlib.Path.symlink_to", "pathlib.Path.replace", "shutil.rmtree"]


class Killed(BaseException):
    pass


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("moment", MOMENTS)
def test_an_update_that_is_killed_is_made_up_for(gateway, monkeypatch, moment, after):
    gateway.write(NOW - 2 * MINUTE, NOW - MINUTE)
    gateway.update()
    gateway.write(NOW, NOW + MINUTE)

    def killed(*arguments, **options):
        if after:
            original(*arguments, **options)
        raise Killed

    name, _dot, attribute = moment.rpartition(".")
    holder = {
        "os": os, "pathlib.Path": Path, "shutil": counting.shutil, "logfiles.Reader": logfiles.Reader,
        "counting.Statistics": counting.Statistics,
    }[name]  # fmt: skip
    original = getattr(holder, attribute)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(holder, attribute, killed)
        gateway.update(NOW + 5 * MINUTE)
    assert gateway.counted() in ([1, 2], [1, 2, 3, 4])
    gateway.update(NOW + 6 * MINUTE)
    assert gateway.counted() == [1, 2, 3, 4]
    assert len(list((gateway.folder / "state").glob("generation-*"))) == 1


def test_pages_are_written_where_the_history_is_newer(gateway):
    gateway.write(datetime.datetime(2026, 10, 31, 10, 0, 0), NOW - MINUTE)
    gateway.update()
    assert gateway.statistics().build_pages() == "pages of 2026, 2026-10, 2026-11 written"
    assert gateway.statistics().build_pages() == "pages of no year or month written"
    gateway.write(NOW)
    gateway.update(NOW + MINUTE)
    assert gateway.statistics().build_pages() == "pages of 2026, 2026-11 written"
    pages = gateway.folder / "pages"
    lines = {name: (pages / name / "awstats.gatehouse.html").read_text().count("\n") for name in ("2026", "2026-11")}
    assert lines == {"2026": 3, "2026-11": 2}
    assert [path.name for path in pages.rglob(".*")] == []
    index = (pages / "index.html").read_text()
    assert [index.count(f'"{period}/awstats.gatehouse.html"') for period in ("2026", "2026-10", "2026-11")] == [
        1,
        1,
        1,
    ]


def test_pages_that_were_left_unfinished_are_written_again(gateway, monkeypatch):
    gateway.write(NOW - MINUTE)
    gateway.update()
    written = []

    def write(path, text):
        if written:
            raise Killed
        written.append(path.name)
        real(path, text)

    real = counting._write
    with monkeypatch.context() as patch, contextlib.suppress(Killed):
        patch.setattr(counting, "_write", write)
        gateway.statistics().build_pages()
    assert written == ["awstats.gatehouse.allhosts.html"]
    assert gateway.statistics().build_pages() == "pages of 2026, 2026-11 written"


def test_the_program_reads_its_settings_and_says_what_it_did(gateway, capsys):
    gateway.write(datetime.datetime.now() - MINUTE)
    settings = gateway.folder / "settings.json"
    settings.write_text(json.dumps(counting.dataclasses.asdict(gateway.settings)))
    assert counting.main(str(settings), "pages") is None
    assert capsys.readouterr().out.startswith("1 records up to ")
    assert (gateway.folder / "pages/index.html").exists()


def test_the_program_says_what_went_wrong(gateway):
    gateway.write(datetime.datetime.now() - MINUTE)
    settings = gateway.folder / "settings.json"
    settings.write_text(json.dumps(counting.dataclasses.asdict(gateway.settings)))
    (gateway.folder / "state/FAIL").touch()
    assert counting.main(str(settings), "update").startswith("awstats failed, and nothing was counted")


def test_messages_on_their_way_are_kept_in_their_order():
    messages = collections.OrderedDict(
        (str(number), maillog.Message("c", "s", number, {"b", "a"})) for number in (3, 1, 2)
    )
    read = counting.Read(NOW, logfiles.Position(1, "x", 2), messages)
    again = counting.Read(**vars(read)).dump()
    assert [number for number, *_rest in json.loads(again)["messages"]] == ["3", "1", "2"]
