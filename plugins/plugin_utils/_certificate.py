# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a certificate and its key will do for a host. No I/O, no Ansible; on the controller only."""

from __future__ import annotations

import datetime
from typing import NamedTuple

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
except ImportError:
    HAS_CRYPTOGRAPHY = False
else:
    HAS_CRYPTOGRAPHY = True

LEAST_REMAINDER = datetime.timedelta(days=7)


class Problem(NamedTuple):
    """What is wrong with one file of a pair, and what to do about it."""

    part: str  # "certificate" or "key"
    why: str
    instead: str


def problems(certificate: bytes, key: bytes, name: str, now: datetime.datetime) -> list[Problem]:
    """What is wrong with a pair of PEM files for the host of this name, at the time now (aware).

    The first certificate of the file is the host's own, as Postfix wants it (postconf(5), smtpd_tls_chain_files).
    """
    found: list[Problem] = []
    public = None
    try:
        own, *_chain = x509.load_pem_x509_certificates(certificate)
        public = own.public_key()
        found += _of_certificate(own, name, now)
    except ValueError:
        found.append(Problem("certificate", "is not a certificate in PEM", "write the file that your CA sent, in PEM"))
    try:
        private = serialization.load_pem_private_key(key, password=None)
    except TypeError:
        decrypt = "take it off with `openssl pkey`; ansible-vault may encrypt the file instead"
        return [*found, Problem("key", "has a passphrase of its own", decrypt)]
    except ValueError:
        return [*found, Problem("key", "is not a private key in PEM", "write the file with the key, in PEM")]
    if public is not None and _bytes_of(public) != _bytes_of(private.public_key()):
        found.append(Problem("key", "is not the key of the certificate", "write the two that belong together"))
    return found


def _of_certificate(certificate: x509.Certificate, name: str, now: datetime.datetime) -> list[Problem]:
    found = []
    renew = "renew it, or remove the pair: the private CA then issues one"
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < start:
        found.append(
            Problem("certificate", f"is not valid before {start:%Y-%m-%d %H:%M} UTC", "wait, or look at the clock")
        )
    elif now >= end:
        found.append(Problem("certificate", f"expired on {end:%Y-%m-%d}", renew))
    elif now > end - LEAST_REMAINDER:
        days = LEAST_REMAINDER.days
        found.append(Problem("certificate", f"expires on {end:%Y-%m-%d}, in less than {days} days", renew))
    names = _names_of(certificate)
    if not {name, f"*.{name.partition('.')[2]}"} & set(names):
        which = ", ".join(names) or "no name at all"
        found.append(Problem("certificate", f"is for {which}", f"write one for {name}"))
    return found


def _names_of(certificate: x509.Certificate) -> list[str]:
    """Its DNS names in lower case; nobody looks at the subject any more (RFC 9525 4.1)."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return [name.lower() for name in extension.value.get_values_for_type(x509.DNSName)]


def _bytes_of(public: object) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return public.public_bytes(serialization.Encoding.DER, form)  # type: ignore[attr-defined]
