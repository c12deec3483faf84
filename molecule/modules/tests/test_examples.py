"""The examples of each module's documentation do what they say they do, on real programs."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
import yaml

MODULES = Path(__file__).parents[3] / "plugins/modules"
VARIABLES = {
    "smarthost_user": "user",
    "smarthost_password": "a password of the test",
    "vault_alice_password": "a password of alice's",
    "vault_bob_password": "a password of bob's",
    "vault_carol_password": "a password of carol's",
    "vault_submission_users": [{"user": "dave", "realm": "example.org", "password": "a password of dave's"}],
}


def examples(module):
    tree = ast.parse((MODULES / f"{module}.py").read_text())
    values = {node.targets[0].id: node.value for node in tree.body if isinstance(node, ast.Assign)}
    return yaml.safe_load(ast.literal_eval(values["EXAMPLES"]))


def run_all(run, host, module):
    tasks = examples(module)
    results = run.tasks(host, tasks, "-e", json.dumps(VARIABLES))
    assert [result.get("msg") for result in results if result.get("failed")] == [], run.printed
    assert len(results) == len(tasks)


@pytest.mark.parametrize("module", ["postmap", "saslpasswd2"])
def test_examples(run, platform, module):
    platform.out("mkdir", "-p", "/var/lib/gatehouse", "/var/spool/postfix/etc")
    platform.run("tee", "/var/lib/gatehouse/recipients", given="alice@example.org OK\n")
    run_all(run, platform, module)


@pytest.fixture
def store(el9):
    """The store of a host, from which everything that a test adds to it is taken back."""
    listed = el9.out("semanage", "export")
    yield
    el9.run("semanage", "import", "--noreload", given=listed)


def test_examples_of_semanage(run, el9, store):
    el9.out("mkdir", "-p", "/srv/mail")
    run_all(run, el9, "semanage")
