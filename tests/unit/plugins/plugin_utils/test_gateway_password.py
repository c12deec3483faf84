# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A password for each gateway, of one secret."""

from __future__ import annotations

import subprocess

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.gatehouse.mail.plugins.filter.gateway_password import gateway_password
from ansible_collections.gatehouse.mail.plugins.plugin_utils._gateway_password import derived

SECRET = "correct horse people submit"
MX1, MX2 = "mx1.example.org", "mx2.example.org"


def test_it_is_what_openssl_makes():
    command = ["openssl", "dgst", "-sha256", "-hmac", SECRET, "-binary"]
    digest = subprocess.run(command, input=MX1.encode(), check=True, capture_output=True).stdout
    made = subprocess.run(["openssl", "base64", "-A"], input=digest, check=True, capture_output=True).stdout
    assert derived(SECRET, MX1) == made.decode()


def test_each_gateway_has_its_own_and_always_the_same():
    assert derived(SECRET, MX1) == derived(SECRET, MX1.upper()) == gateway_password(MX1, SECRET)
    assert len({derived(secret, gateway) for secret in (SECRET, SECRET + "s") for gateway in (MX1, MX2)}) == 4


@pytest.mark.parametrize(
    ("gateway", "secret"), [(MX1, ""), ("", SECRET), (MX1, None), (None, SECRET), ("mx\xe4", SECRET)]
)
def test_nothing_is_made_of_nothing_and_no_error_shows_the_secret(gateway, secret):
    with pytest.raises(AnsibleFilterError) as error:
        gateway_password(gateway, secret)
    assert SECRET not in str(error.value)
    assert error.value.__cause__ is None
