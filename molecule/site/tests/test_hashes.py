"""A hash that the model takes is one that Dovecot can verify, and a damaged one is refused."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

runpy.run_path(str(Path(__file__).resolve().parents[3] / "tests/unit/conftest.py"))  # lets Python import from a clone
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import passwords  # noqa: E402

PASSWORD = "correct horse battery"
ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def taken(value):
    return not passwords._why_no_hash(value)


@pytest.fixture(scope="module")
def made(lab):
    """{scheme: a hash of it}, as the mail host's Dovecot makes them."""
    return {
        scheme: lab.store.out("doveadm", "pw", "-s", scheme, "-p", PASSWORD).strip() for scheme in passwords.SCHEMES
    }


def verifies(lab, *values):
    """Whether Dovecot finds the password again in each, with one shell for all."""
    script = 'while read -r hash; do doveadm pw -t "$hash" -p "$0" > /dev/null 2>&1; echo $?; done'
    said = lab.store.out("bash", "-c", script, PASSWORD, given="".join(f"{value}\n" for value in values))
    return [line == "0" for line in said.split()]


def test_dovecot_has_every_scheme_that_the_model_takes(lab):
    assert set(passwords.SCHEMES) - set(lab.store.out("doveadm", "pw", "-l").split()) == set()


@pytest.mark.parametrize("scheme", passwords.SCHEMES)
def test_what_dovecot_makes_is_taken_and_verified(lab, made, scheme):
    assert taken(made[scheme])
    assert verifies(lab, made[scheme]) == [True]


@pytest.mark.parametrize("scheme", passwords.SCHEMES)
def test_a_damaged_hash_that_is_taken_is_a_whole_one_of_another_password(lab, made, scheme):
    """Cut short, longer, of another scheme, and with every other last character: what the model can tell, it tells."""
    value = made[scheme]
    damaged = [value[:-1], value[: len(value) // 2], f"{value}x", f"{{{scheme}}}{PASSWORD}"]
    assert not any(verifies(lab, *damaged))
    # crypt(3) goes by what is in the hash, so Dovecot verifies some of these. By their name they are mistakes.
    others = [f"{{{scheme}}}{made[other].partition('}')[2]}" for other in made if other != scheme]
    assert [one for one in damaged + others if taken(one)] == []
    ends = [value[:-1] + last for last in ALPHABET if value[:-1] + last != value]
    assert not any(verifies(lab, *ends))
    assert sum(map(taken, ends)) < len(ends) / 2
