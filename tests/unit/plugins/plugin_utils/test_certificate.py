# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pairs of certificate and key are refused for a host, and which are not."""

from __future__ import annotations

import datetime

import pytest
from ansible_collections.gatehouse.mail.plugins.plugin_utils import _certificate
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

NOW = datetime.datetime(2026, 11, 22, 12, tzinfo=datetime.timezone.utc)
KEY = ec.generate_private_key(ec.SECP256R1())
OTHER_KEY = ec.generate_private_key(ec.SECP256R1())


def pem_of(key, passphrase=None):
    how = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)


def certificate(*names, key=KEY, start=-1, end=90):
    """A self-signed certificate in PEM for the names, valid from and to so many days from now."""
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mx1.example.org")])
    builder = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(NOW + datetime.timedelta(days=start))
        .not_valid_after(NOW + datetime.timedelta(days=end))
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


GOOD = certificate("mx1.example.org")
RSA_KEY = rsa.generate_private_key(65537, 2048)

ACCEPTED = {
    "by name": (GOOD, KEY),
    "by one of several names": (certificate("www.example.org", "MX1.example.org"), KEY),
    "by a wildcard": (certificate("*.example.org"), KEY),
    "RSA": (certificate("mx1.example.org", key=RSA_KEY), RSA_KEY),
    "with its chain": (GOOD + certificate("ca.example", key=OTHER_KEY), KEY),
    "for seven days and an hour": (certificate("mx1.example.org", end=7 + 1 / 24), KEY),
}

REFUSED = {
    # case: (certificate, key, [part, why, instead])
    "another key": (GOOD, pem_of(OTHER_KEY), ["key", "is not the key of the certificate", "belong together"]),
    "the chain before it": (
        certificate("mx1.example.org", key=OTHER_KEY) + GOOD,
        pem_of(KEY),
        ["key", "is not the key of the certificate", "belong together"],
    ),
    "expired": (certificate("mx1.example.org", end=0), pem_of(KEY), ["certificate", "expired on 2026-11-22", "renew"]),
    "expires soon": (
        certificate("mx1.example.org", end=6),
        pem_of(KEY),
        ["certificate", "expires on 2026-11-28, in less than 7 days", "renew"],
    ),
    "not yet valid": (
        certificate("mx1.example.org", start=1),
        pem_of(KEY),
        ["certificate", "is not valid before 2026-11-23 12:00 UTC", "clock"],
    ),
    "another name": (
        certificate("mx2.example.org", "*.mx1.example.org"),
        pem_of(KEY),
        ["certificate", "is for mx2.example.org, *.mx1.example.org", "write one for mx1.example.org"],
    ),
    "the name in its subject alone": (certificate(), pem_of(KEY), ["certificate", "is for no name", "mx1.example.org"]),
    "a passphrase": (GOOD, pem_of(KEY, b"hunter2"), ["key", "has a passphrase of its own", "ansible-vault"]),
    "no certificate": (b"hunter2", pem_of(KEY), ["certificate", "is not a certificate in PEM", "PEM"]),
    "no key": (GOOD, b"hunter2", ["key", "is not a private key in PEM", "PEM"]),
    "the files swapped": (GOOD, GOOD, ["key", "is not a private key in PEM", "PEM"]),
}


@pytest.mark.parametrize("pem, key", ACCEPTED.values(), ids=ACCEPTED)
def test_a_good_pair_has_no_problem(pem, key):
    assert _certificate.problems(pem, pem_of(key), "mx1.example.org", NOW) == []


@pytest.mark.parametrize("pem, key, expected", REFUSED.values(), ids=REFUSED)
def test_a_bad_pair_has_the_problem_that_it_has(pem, key, expected):
    (problem,) = _certificate.problems(pem, key, "mx1.example.org", NOW)
    part, why, instead = expected
    assert problem.part == part
    assert why in problem.why
    assert instead in problem.instead
    assert "hunter2" not in str(problem)


def test_all_problems_of_a_pair_come_together():
    found = _certificate.problems(certificate("x.example", end=0), pem_of(OTHER_KEY), "mx1.example.org", NOW)
    assert [problem.part for problem in found] == ["certificate", "certificate", "key"]
