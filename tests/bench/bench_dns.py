"""DNS records of ten thousand domains, as data and as zone text, against f-strings that write the same text."""

from __future__ import annotations

import base64
import importlib
import random
import runpy
import time
from pathlib import Path
from typing import Any, Callable

import measure

ROOT = Path(__file__).resolve().parents[2]
runpy.run_path(str(ROOT / "tests/unit/conftest.py"))  # lets Python import this collection from a clone
_dns = importlib.import_module("ansible_collections.gatehouse.mail.plugins.module_utils._dns")
_records = importlib.import_module("ansible_collections.gatehouse.mail.plugins.plugin_utils._records")
_dkim = importlib.import_module("ansible_collections.gatehouse.mail.plugins.plugin_utils._model.dkim")

DOMAINS = 10000
ALLOWED = 4  # times plain formatting; a dictionary for each record alone costs half of it
TTL = 3600  # seconds
GATEWAYS = [
    {
        "name": "mx1.example.org",
        "preference": 10,
        "retiring": False,
        "ipv4": "198.51.100.11",
        "ipv6": "2001:db8:51::11",
    },
    {"name": "mx2.example.org", "preference": 20, "retiring": False, "ipv4": "198.51.100.12", "ipv6": None},
]


def model() -> dict[str, Any]:
    """The parts of a model that records are made of: two gateways, each with two keys for every domain."""
    made_up = random.Random(1)  # noqa: S311 - keys that nobody signs with
    names = [f"d{number}.example" for number in range(DOMAINS)]
    return {
        "gateways": GATEWAYS,
        "domains": [{"name": name} for name in names],
        "dkim_senders": {},
        "dns": {
            "ttl": TTL, "zones": [], "caa": [],
            "domains": [
                {
                    "name": name, "spf": "v=spf1 ip4:198.51.100.11 ip6:2001:db8:51::11 ip4:198.51.100.12 -all",
                    "dmarc": "v=DMARC1; p=reject; np=reject; rua=mailto:reports@d0.example",
                    "reports": ["d0.example"] if name != "d0.example" else [], "caa": [], "dkim_test": False,
                }
                for name in names
            ],
        },
        "dkim": [
            {
                "domain": name, "host": gateway["name"], "type": kind, "stage": "signing",
                "selector": gateway["name"].partition(".")[0] + _dkim.KEY_TYPES[kind],
                "public": base64.b64encode(made_up.randbytes(octets)).decode(),
            }
            for name in names for gateway in GATEWAYS for kind, octets in (("rsa", 294), ("ed25519", 32))
        ],
    }  # fmt: skip


def plain(site: dict[str, Any]) -> list[str]:
    """The lines of the domains as somebody would write them who trusts all values and wants no data."""
    keys: dict[str, list[dict[str, Any]]] = {}
    for key in site["dkim"]:
        keys.setdefault(key["domain"], []).append(key)
    lines = []
    for domain in site["dns"]["domains"]:
        name = domain["name"]
        for gateway in site["gateways"]:
            lines.append(f"@ {TTL} IN MX {gateway['preference']} {gateway['name']}.\n")
        lines.append(f'@ {TTL} IN TXT "{domain["spf"]}"\n')
        lines.append(f'_dmarc {TTL} IN TXT "{domain["dmarc"]}"\n')
        for key in keys[name]:
            text = f"v=DKIM1; k={key['type']}; p={key['public']}"
            strings = '" "'.join([text[start : start + 255] for start in range(0, len(text), 255)])
            lines.append(f'{key["selector"]}._domainkey {TTL} IN TXT "{strings}"\n')
        for _receiver in domain["reports"]:
            lines.append(f'{name}._report._dmarc {TTL} IN TXT "v=DMARC1"\n')  # in the receiver's zone
    return lines


def best(*functions: Callable[[], Any], times: int = 7) -> list[float]:
    """The shortest CPU seconds of each; they take turns, so that a busy machine weighs on all of them."""
    taken: list[list[float]] = [[] for _function in functions]
    for _turn in range(times):
        for function, seconds in zip(functions, taken):
            started = time.process_time()
            function()
            seconds.append(time.process_time() - started)
    return [min(seconds) for seconds in taken]


def main() -> None:
    site = model()
    ours = "".join(_dns.zone_texts(_records.records(site)).values())
    lines = plain(site)
    written = set(ours.splitlines(keepends=True))
    if not set(lines) <= written:
        raise SystemExit("bench_dns: the two do not write the same text")
    took, formatting = best(lambda: _dns.zone_texts(_records.records(site)), lambda: "".join(plain(site)))
    what = f"records and zone text of {DOMAINS} domains ({len(lines)} lines), against {ALLOWED} x plain formatting"
    measure.row(what, took, ALLOWED * formatting)


if __name__ == "__main__":
    main()
    raise SystemExit(measure.report())
