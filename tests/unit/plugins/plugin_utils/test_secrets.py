# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which variables of a file are secrets in clear."""

from __future__ import annotations

import pytest
from ansible_collections.gatehouse.mail.plugins.plugin_utils import _secrets

TEXTS = {
    "in clear": ("vault_a: hunter2", ["vault_a"]),
    "a number": ("vault_a: 1234", ["vault_a"]),
    "within": ("vault_a: {alice@example.org: [hunter2]}", ["vault_a"]),
    "in an inventory": (
        "all: {vars: {vault_b: x, vault_a: y}, hosts: {mx1: {vault_c: z}}}",
        ["vault_a", "vault_b", "vault_c"],
    ),
    "one of two encrypted": ("vault_a: {x: !vault '$ANSIBLE_VAULT;1.1;AES256', y: hunter2}", ["vault_a"]),
    "encrypted": ("vault_a: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  3132", []),
    "encrypted within": ("vault_a: {x: !vault '$ANSIBLE_VAULT;1.1;AES256'}", []),
    "a template": ("vault_a: \"{{ lookup('ansible.builtin.env', 'SECRET') }}\"", []),
    "an encrypted file": ("$ANSIBLE_VAULT;1.1;AES256\n31323334\n", []),
    "nothing": ("vault_a:\nvault_b: {}", []),
    "no secret": ("mail_vault_x: hunter2\nmail_a: vault_b", []),
    "no YAML": ("[mail_gateways]\nmx1 vault_a=[", []),
    "a comment": ("# vault_a: hunter2", []),
}


@pytest.mark.parametrize("text, names", TEXTS.values(), ids=TEXTS)
def test_secrets_in_clear_are_found_by_name(text, names):
    assert _secrets.clear_secrets(text) == names
