# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Concern: the certificates of each host, and what TLS agrees to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import hosts, inventory
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.given import Given
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.inventory import Place, kind

HOST_VARIABLES: dict[str, Any] = {"mail_certificate_files": []}
CA_PHRASE = "vault_mail_ca_passphrase"
SECRETS = (CA_PHRASE,)

TLS_DIRECTORY = "/etc/pki/gatehouse"  # below it SELinux lets every mail daemon read (cert_t)
# What all our ports agree to in TLS 1.2, by OpenSSL's names: forward secrecy and authenticated encryption.
CIPHERS = [
    f"ECDHE-{key}-{cipher}"
    for cipher in ("AES256-GCM-SHA384", "CHACHA20-POLY1305", "AES128-GCM-SHA256")
    for key in ("ECDSA", "RSA")
]
# What a handshake may be signed with, by the best first; RFC 9155 forbids SHA-1, and nobody needs SHA-224.
SIGNATURES = [f"ECDSA+SHA{bits}" for bits in (256, 384, 512)] + ["ed25519", "ed448"]
SIGNATURES += [f"{key}+SHA{bits}" for key in ("RSA-PSS", "RSA") for bits in (256, 384, 512)]
OLD_SIGNATURES = ["ECDSA+SHA1", "RSA+SHA1"]  # of receivers that know no other, and would else get the mail in clear
PASSPHRASE_LENGTH = 12  # characters at least


def read(given: Given, site: Mapping[str, Any]) -> dict[str, Any]:
    """For the view: `_certificate_files`, those of each host."""
    found = {}
    for host, group in given.members.items():
        own = given.of(host)
        files, at = own["mail_certificate_files"], own.at("mail_certificate_files")
        found[host] = _certificate_files(at, files)
        if files and not hosts.ROWS[group].exchanger:
            instead = "remove it: IMAP and LMTP show the private CA's certificate"
            at.refuse(files, "is for gateways only", instead)
    phrase = given.shared(CA_PHRASE, list(given.members))  # one CA issues to all
    if phrase:
        _passphrase(*phrase)
    return {"_certificate_files": found}


def view(me: Mapping[str, Any], site: Mapping[str, Any]) -> dict[str, Any]:
    """The parts `certificate_files` and `tls` of one host's model."""
    files = site["_certificate_files"][me["host"]]
    return {"certificate_files": files, "tls": _tls(me["group"], len(files), bool(site["logins"]))}


def _certificate_files(at: Place, value: object) -> list[dict[str, str]]:
    """Pairs of paths on the controller, in the order written; whether they fit is for who reads them to say."""
    example = '{certificate: "files/mx1.crt", key: "files/mx1.key"}'
    pairs = []
    for index, item in enumerate(inventory.sequence(at, value, f"[{example}]")):
        here = at[index]
        record = inventory.record(here, item, ("certificate", "key"), example)
        for part in ("certificate", "key") if isinstance(item, Mapping) else ():
            path = record.get(part, inventory.MISSING)
            if path is inventory.MISSING:
                here[part].note("is missing", f"write both, as in {example}")
            elif not isinstance(path, str) or not path or not path.isprintable():
                here[part].refuse(path, "is not a path", f"write a path on the controller, as in {example}")
        pairs.append({part: str(record.get(part)) for part in ("certificate", "key")})
    return pairs


def _passphrase(at: Place, value: object) -> None:
    length = f"{PASSPHRASE_LENGTH} characters"
    instead = f"write {length} or more in quotes, or remove it to leave the CA's key unencrypted"
    if not isinstance(value, str):
        at.note(f"is {kind(value)}, not a string", instead)
    elif len(value) < PASSPHRASE_LENGTH or not value.isprintable():
        at.note(f"is shorter than {length}, or has a line break", instead)


def _tls(group: str, files: int, submits: bool) -> dict[str, Any]:
    """Where a host keeps its keys and certificates, and which of them the private CA issues to it.

    private: with which gateways and mail host know each other. public: what a gateway shows on port 25, the operator's
    own files or the private CA's; a mail host shows strangers nothing. submission: what it shows on the submission
    port, the private CA's anyhow, since who sends there verifies it against that CA. The CA issues for both an ECDSA
    and an RSA certificate side by side.
    """
    own = ["public-ecdsa", "public-rsa"] if hosts.ROWS[group].exchanger else []
    public = [f"public-{index}" for index in range(files)] or own
    submission = own if submits else []
    issued = [{"name": "private", "algorithm": "ECDSA", "usage": ["serverAuth", "clientAuth"]}]
    issued += [
        {"name": name, "algorithm": name[7:].upper(), "usage": ["serverAuth"]}
        for name in own
        if name in (*public, *submission)
    ]

    def pair(name: str) -> dict[str, str]:
        return {"certificate": f"{TLS_DIRECTORY}/{name}.crt", "key": f"{TLS_DIRECTORY}/{name}.key"}

    return {
        "directory": TLS_DIRECTORY,
        "ca": f"{TLS_DIRECTORY}/ca.crt",
        "issued": issued,
        "private": pair("private"),
        "public": [pair(name) for name in public],
        "submission": [pair(name) for name in submission],
        "openssl_conf": f"{TLS_DIRECTORY}/openssl.cnf",
        "ciphers": CIPHERS,
        "signature_algorithms": SIGNATURES,
        "old_signature_algorithms": OLD_SIGNATURES,
    }
