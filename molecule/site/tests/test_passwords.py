"""All passwords of a site change in one run, and all are used: they are nowhere but in files of their own."""

from __future__ import annotations

import runpy
import secrets
import subprocess
from pathlib import Path

import pytest
from lab.canaries import Canaries
from lab.hosts import ROOT, ansible_environment
from lab.mail import DOORS

runpy.run_path(str(Path(__file__).resolve().parents[3] / "tests/unit/conftest.py"))  # lets Python import from a clone
from ansible_collections.gatehouse.mail.plugins.plugin_utils._gateway_password import derived  # noqa: E402

ROUND = secrets.token_hex(6)
PEOPLE = {"alice@example.org": f"{ROUND} reads and sends", "bob@example.org": f"{ROUND}$(id) bob reads"}
LOGINS = {
    "alice@example.org": f"{ROUND} alice submits",
    "bob@example.org": f"{ROUND}'bob' submits",
    "store@example.org": f"{ROUND}+/=store submits",
}
# Of its secret a password for each gateway is made.
MAIL_HOST, SECRET = "submission@store.example.org", f"{ROUND}-people-submit"
TAGS = "dovecot,submission,sasl,postfix"
DATABASES = {"RedHat": "/etc/sasl2/sasldb2", "Debian": "/etc/sasldb2"}
TABLE = "/etc/postfix/gateway_passwords"


@pytest.mark.stress  # two runs of site.yml
def test_a_password_is_nowhere_but_in_files_of_its_own(lab, inventory, doors, message, mail, send, received):
    """Neither in what the run prints at -vvvv, nor in a log, an argument or an environment; nor are hashes."""
    store = lab.store
    hashes = {
        login: store.out("doveadm", "pw", "-s", "BLF-CRYPT", "-p", text).strip() for login, text in PEOPLE.items()
    }
    made = {gateway.name: derived(SECRET, gateway.name) for gateway in lab.gateways}
    secret = [SECRET, *PEOPLE.values(), *LOGINS.values(), *hashes.values(), *made.values()]
    canaries = Canaries(secret, ROUND, "$2", *made.values())
    with inventory.edit("group_vars/all/vault.yml") as vault:
        vault |= {"vault_mail_password_hashes": hashes, "vault_mail_login_passwords": {**LOGINS, MAIL_HOST: SECRET}}
    command = ["ansible-playbook", "-i", str(inventory.folder), "playbooks/site.yml", "--tags", TAGS, "-vvvv", "--diff"]
    try:
        with canaries.watch() as watch:
            run = subprocess.run(
                command, cwd=ROOT, env=ansible_environment(), capture_output=True, check=False, timeout=1800
            )
            assert run.returncode == 0, run.stdout[-3000:]
            for login, password in PEOPLE.items():
                assert [doors(login, text) for text in (password, f"{password}x")] == [DOORS, []]
            for gateway in lab.gateways:
                for login, password in {**LOGINS, MAIL_HOST: made[gateway.name]}.items():
                    said = [doors(login, text, gateway, [32841]) for text in (password, f"{password}x")]
                    assert said == [[32841], []], (gateway.name, login)
            mark, login = mail.new_id(), "alice@example.org"
            assert send([message(mark, [f"From: {login}"])], login=login, password=PEOPLE[login])[0][0] == 250
            received([mark])
        printed = run.stdout + run.stderr
        assert len(printed) > 100000
        assert watch.samples > 20
        assert canaries.within(printed) == []
        assert watch.seen == set()
        for host in [*lab.gateways, store, lab.client]:
            assert canaries.journal(host) == []
        assert canaries.files(store) == {TABLE, f"{TABLE}.lmdb", "/etc/dovecot/users"}
        for gateway in lab.gateways:
            assert canaries.files(gateway) == {DATABASES[gateway.family]}
    finally:
        lab.site(tags=TAGS)
