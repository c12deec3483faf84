# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a SASL database needs to have done to it."""

import pytest
from ansible_collections.gatehouse.mail.plugins.module_utils._saslpasswd2 import (
    LONGEST_PASSWORD,
    Plan,
    SaslError,
    User,
    after,
    check,
    delete_arguments,
    listed,
    plan_absent,
    plan_present,
    set_arguments,
    shown,
)

ALICE = User("alice", "example.org", "correct horse alice")
BOB = User("bob", "example.net", "correct horse bob")
CAROL = User("carol", "example.org", "correct horse carol")

REFUSED = {
    "no user": (ALICE._replace(user=""), "found no user"),
    "no realm": (ALICE._replace(realm=""), "found no realm, expected a realm, such as example.org"),
    "colon in the user": (ALICE._replace(user="al:ice"), "found ':' in the user"),
    "colon in the realm": (ALICE._replace(realm="a:b"), "found ':' in the realm"),
    "realm in the user": (ALICE._replace(user="alice@example.org"), "found '@' in the user"),
    "space in the user": (ALICE._replace(user="al ice"), "white space or a control character in the user"),
    "newline in the realm": (ALICE._replace(realm="example.org\n"), "white space or a control character in the realm"),
    "NUL in the user": (ALICE._replace(user="alice\0"), "white space or a control character in the user"),
    "no password": (ALICE._replace(password=None), "found no password"),
    "empty password": (ALICE._replace(password=""), "found an empty password"),
    "newline": (ALICE._replace(password="correct horse\n"), "found a newline in the password"),
    "carriage return": (ALICE._replace(password="correct horse\r"), "found a carriage return in the password"),
    "NUL": (ALICE._replace(password="correct\0horse"), "found a NUL in the password"),
    "surrogate": (ALICE._replace(password="correct horse \udcff"), "found a lone surrogate"),
    "short": (ALICE._replace(password="elevenchars"), "found a password of 11 characters, expected at least 12"),
    "long": (ALICE._replace(password="é" * LONGEST_PASSWORD), "found a password of 2048 octets, expected at most 1024"),
}


@pytest.mark.parametrize("user, words", REFUSED.values(), ids=REFUSED)
def test_what_saslpasswd2_would_misread_is_refused(user, words):
    with pytest.raises(SaslError) as refusal:
        check([BOB, user], 12, True)
    assert words in str(refusal.value)
    assert user.user in str(refusal.value) or repr(user.user)[1:-1] in str(refusal.value)
    assert not user.password or user.password not in str(refusal.value)


def test_what_it_reads_well_is_taken():
    check([ALICE, BOB, ALICE._replace(realm="example.net"), User("-dash", "ex", "é" * 12)], 12, True)
    check([ALICE._replace(password="short")], 5, True)


def test_a_user_stands_once():
    with pytest.raises(SaslError, match=r"'alice@example.org': found the same user twice"):
        check([ALICE, BOB, ALICE], 12, True)


def test_passwords_are_not_asked_for_where_users_are_removed():
    check([User("alice", "example.org")], 12, False)


def test_a_listing_names_each_user_once_whatever_properties_they_have():
    text = "alice@example.org: userPassword\nalice@example.org: cmusaslsecretOTP\nbob@example.net: userPassword\n"
    assert listed(text, "") == {"alice@example.org", "bob@example.net"}
    assert listed("", "") == set()


def test_a_listing_that_failed_is_no_empty_database():
    assert listed("", "BDB0004 fop_read_meta: ./g: unexpected file type or format\nlistusers failed\n") is None


def test_new_users_are_added_and_differing_passwords_changed():
    plan = plan_present([ALICE, BOB, CAROL], {BOB.name, CAROL.name}, {CAROL.name}, purge=False, always=True)
    assert plan == Plan([ALICE], [BOB], [])
    assert plan.sets == [ALICE, BOB]
    assert plan.counts() == {"added": 1, "removed": 0, "changed": 1}


def test_on_create_changes_nobody():
    assert plan_present([ALICE, BOB], {BOB.name}, set(), purge=False, always=False) == Plan([ALICE], [], [])


def test_purge_removes_those_who_are_not_listed():
    present = {ALICE.name, BOB.name, CAROL.name}
    assert plan_present([BOB], present, {BOB.name}, purge=True, always=True).remove == [ALICE.name, CAROL.name]
    assert plan_present([BOB], present, {BOB.name}, purge=False, always=True).remove == []


def test_only_those_who_are_there_are_removed():
    assert plan_absent([ALICE, BOB], {BOB.name, CAROL.name}) == Plan([], [], [BOB.name])


def test_what_is_there_afterwards():
    assert after(Plan([ALICE], [BOB], [CAROL.name]), {BOB.name, CAROL.name}) == {ALICE.name, BOB.name}


def test_no_password_is_an_argument_and_no_name_is_an_option():
    assert set_arguments("/db", User("-d", "example.org", "correct horse")) == [
        "-p", "-c", "-f", "/db", "-u", "example.org", "--", "-d"
    ]  # fmt: skip
    assert delete_arguments("/db", "-d@example.org") == ["-d", "-f", "/db", "-u", "example.org", "--", "-d"]


def test_a_diff_shows_names_and_marks_new_passwords():
    assert shown({"b@r", "a@r"}, ["b@r"]) == "a@r\nb@r (new password)\n"
