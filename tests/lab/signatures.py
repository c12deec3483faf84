"""DKIM: signatures of the owners of the lab's other domains, and what dkimpy says of ours."""

from __future__ import annotations

import base64
import dataclasses
from typing import Any, Callable

import dkim
import dns.message
import dns.query
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from .hosts import Lab
from .mail import octets


@pytest.fixture(scope="session")
def verifies(lab: Lab) -> Callable[..., bool]:
    """verifies(message, index=0): whether dkimpy says so of one of its signatures, with the lab's DNS."""

    def txt(name: bytes, timeout: int = 5) -> bytes:
        question = dns.message.make_query(name.decode(), "TXT")
        answer = dns.query.tcp(question, lab["ns.example.net"].lab_address4, timeout=timeout)
        return b"".join(
            string for rrset in answer.answer for rdata in rrset for string in getattr(rdata, "strings", [])
        )

    def verify(message: bytes, index: int = 0) -> bool:
        try:
            return dkim.DKIM(message).verify(index, dnsfunc=txt)
        except dkim.ValidationError:
            return False

    return verify


@dataclasses.dataclass(frozen=True)
class Signer:
    """Signs as the owners of the lab's other domains do; the public part of the one key is on the lab's name server."""

    private: bytes
    domains: tuple[str, ...] = ("reject.example", "quarantine.example", "none.example", "sender.example")

    def record(self) -> str:
        """The key's TXT record, in strings as a zone file has them."""
        public = load_pem_private_key(self.private, None).public_key()
        packed = base64.b64encode(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
        text = f"v=DKIM1; k=rsa; p={packed}"
        return " ".join(f'"{text[index : index + 200]}"' for index in range(0, len(text), 200))

    def sign(self, text: str, domain: str, selector: str = "s1", **options: Any) -> str:
        """The message with one signature more on top; options are dkimpy's."""
        options.setdefault("include_headers", [b"From", b"To", b"Subject"])
        given = octets(text)
        signature = dkim.sign(given, selector.encode(), domain.encode(), self.private, **options)
        return signature.decode() + text


@pytest.fixture(scope="session")
def signer(lab: Lab) -> Signer:
    made = rsa.generate_private_key(65537, 2048)
    found = Signer(made.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    for domain in found.domains:
        name = f"s1._domainkey.{domain}."
        lab.nsupdate(domain, f"del {name} TXT", f"add {name} 60 TXT {found.record()}")
    return found
