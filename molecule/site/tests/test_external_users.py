"""Dovecot's users are in a file of the operator's own, which no run writes."""

from __future__ import annotations

import json

import pytest

ALICE = "alice@example.org"
PEOPLE, USERS = "/etc/dovecot/people", "/etc/dovecot/users"
OWN = {"mail_users": "external", "vault_mail_password_hashes": {}, "mail_mailbox_quotas": {}}


@pytest.fixture(scope="module")
def hashed(lab):
    """hashed(password): a hash of it."""
    return lambda password: lab.store.out("doveadm", "pw", "-s", "BLF-CRYPT", "-p", password).strip()


@pytest.mark.stress  # four runs of site.yml
def test_users_of_the_operator_s_own_are_never_written(lab, mail, hashed, wait):
    store = lab.store

    def run(**variables):
        return lab.site(tags="dovecot", limit=store.name, **variables)

    def knows(password):
        command = ["doveadm", "auth", "test", "-x", "service=imap", ALICE, password]
        return store.run(*command, check=False).returncode == 0

    older = store.out("dovecot", "--version").startswith("2.3")
    quota = "userdb_quota_rule=*:storage=3G" if older else "userdb_quota_storage_size=3G"
    inventory_s, first, second = store.lab_passwords[ALICE], "correct horse own", "correct horse other own"
    assert [knows(password) for password in (inventory_s, first)] == [True, False]
    try:
        for there in ("rm -f", "truncate --size 0"):  # nobody could log in
            store.out("sh", "-c", f"{there} {PEOPLE}")
            chosen = ("--tags", "dovecot", "--limit", store.name, "--extra-vars", json.dumps(OWN))
            results = lab.playbook("playbooks/site.yml", *chosen)
            failed = [result for result in results if result.get("failed")]
            assert any(f"{PEOPLE} has nobody" in str(result.get("msg")) for result in failed), failed
            assert knows(inventory_s)
        store.run("tee", PEOPLE, given=f"{ALICE}:{hashed(first)}::::::\n")
        store.out("sh", "-c", f"chown root:dovecot {PEOPLE}; chmod 640 {PEOPLE}")
        run(**OWN)
        assert store.run("test", "-e", USERS, check=False).returncode == 1
        assert [knows(password) for password in (inventory_s, first)] == [False, True]
        for password in (first, second):  # each holds at once
            line = f"{ALICE}:{hashed(password)}::::::{quota}\n"
            store.run("tee", PEOPLE, given=line)
            assert [knows(word) for word in (inventory_s, first, second)] == [
                False,
                *(word == password for word in (first, second)),
            ]
        assert run(**OWN) == []
        assert store.out("cat", PEOPLE) == line
        assert "3145728" in store.out("doveadm", "quota", "get", "-u", ALICE)
        gateway = lab.gateways[0]
        mark = mail.send(gateway.mail_ipv4, ALICE)
        found = ["doveadm", "-f", "tab", "fetch", "-u", ALICE, "uid", "header", "message-id", mark]
        wait(lambda: len(store.out(*found).split()) > 1, 30, "the message")
    finally:
        run()
        store.out("rm", "-f", PEOPLE)
    assert [knows(password) for password in (inventory_s, second)] == [True, False]
    assert run() == []
