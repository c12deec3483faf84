# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a gateway leaves: what speaks against it, since when its MX records are gone, and what is next. No I/O, no clock.

Senders know an MX record for its TTL after the last server answered with it. Nobody can be asked later when that was,
so `gone` is kept by who asks the servers, from the first time on that all of them answered without it.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import dkim

Differences = Sequence[Mapping[str, Any]]


def gone(model: Mapping[str, Any], found: Differences, before: Mapping[str, str], now: str) -> dict[str, str]:
    """{name of a gateway that leaves: since when no server answers with an MX record of it}.

    found: what module dns_info says. before: what this function said the last time. A server that does not answer may
    have the records still, but brings none back that were gone. A time that a clock has yet to reach counts as now.
    """
    since = {}
    for gateway in model["gateways"]:
        name = gateway["name"]
        if gateway["retiring"] and not _shown(found, name):
            if name in before:
                since[name] = min(before[name], now, key=dkim.moment)
            elif not _silent(model, found) and not _hidden(found):
                since[name] = now
    return since


def named(model: Mapping[str, Any], name: str) -> Optional[Mapping[str, Any]]:
    """The gateway of this name, or that the inventory calls so."""
    return next((each for each in model["gateways"] if name.lower() in (each["name"], each["host"].lower())), None)


def refusal(model: Mapping[str, Any], name: str) -> str:
    """Why the gateway cannot leave as the inventory is, and the remedy; empty where it can."""
    gateway = named(model, name)
    if gateway is None:
        hosts = ", ".join(each["host"] for each in model["gateways"])
        return (
            f'gateway: "{name}" is no gateway of the inventory; run with -e gateway= and one of {hosts}; where its '
            "line was removed already, run site.yml and rotate_dkim.yml"
        )
    if gateway["retiring"]:
        return ""
    host = gateway["host"]
    if not any(each is not gateway and not each["retiring"] for each in model["gateways"]):
        return (
            f"host {host}: mail_retiring: false must stay, since no other gateway takes mail from the internet; set up "
            "another one first, and publish its records"
        )
    return (
        f"host {host}: mail_retiring: false says that the gateway stays; write mail_retiring: true at the host in the "
        "inventory, and run again"
    )


def step(
    model: Mapping[str, Any],
    gateway: Mapping[str, Any],
    found: Differences,
    since: Mapping[str, str],
    now: str,
    check: bool = False,
    ttl: int = 0,
) -> dict[str, str]:
    """What is next for a gateway that leaves: {"do", "text"}.

    do: "unpublish", where a server has its MX records still or does not say, or has none of a gateway that stays;
    "wait", for the TTL; "write", that the inventory is to say `shut`; "empty", its queue.

    check: whether nothing was published in this run, so that what its updates would mend is still found.
    ttl: seconds, that MX records are served with. They may be older than the inventory's, which comes with new ones.
    """
    host, at_host = gateway["host"], "mail_retiring: shut at the host in the inventory"
    shown, silent, lacking = _shown(found, gateway["name"]), _silent(model, found), _lacking(found)
    why = ""
    if check and (shown or lacking):
        by_update = {zone["name"] for zone in model["dns"]["zones"] if zone["server"]}
        by_hand = [each for each in found if each["zone"] not in by_update or each["problem"] == "alias"]
        shown, lacking = _shown(by_hand, gateway["name"]), _lacking(by_hand)
        if not shown and not lacking:
            text = "this run without --check would remove its MX records, and add those that others lack"
            return {"do": "unpublish", "text": f"host {host}: {text}"}
    if shown:
        why = f"the MX records of {', '.join(shown)} still name it; remove it there"
    elif lacking:
        why = f"other gateways need their MX records first: {lacking}"
    elif gateway["name"] not in since:
        why = (
            f"whether its MX records are gone is not known, since not all servers of {', '.join(silent)} have "
            "answered with the newest zone; see what differs"
        )
    if why:
        return {"do": "unpublish", "text": f"host {host}: {why}, and run again"}
    began = dkim.moment(since[gateway["name"]])
    over = began + datetime.timedelta(seconds=max(model["dns"]["ttl"], ttl))
    gone_since = f"host {host}: its MX records are gone since {_clock(began)}"
    left = over - dkim.moment(now)
    if left > datetime.timedelta(0):
        minutes = -(-int(left.total_seconds()) // 60)
        end = _clock(over + datetime.timedelta(seconds=59))  # a whole minute, and not before it is over
        after = f"; senders may know them until {end}, for {minutes} min more"
        then = "run again then" if gateway["shut"] else f"write {at_host} then, and run again"
        return {
            "do": "wait",
            "text": f"{gone_since}{after}; let programs that submit mail there use another gateway; {then}",
        }
    if not gateway["shut"]:
        return {
            "do": "write",
            "text": f"{gone_since}, and no sender knows them any more; when no program submits mail there, write "
            f"{at_host}, and run again",
        }
    return {
        "do": "empty",
        "text": f"{gone_since}, and no sender knows them any more; now its ports are shut and its queue empties",
    }


def _clock(moment: datetime.datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def _shown(found: Differences, name: str) -> list[str]:
    """The domains of which a server has an MX record that names the gateway, and that is not wanted."""
    return [
        each["name"]
        for each in _of_mx(found)
        if any(value.lower().split()[-1:] == [f"{name}."] for value in each["found"])
    ]


def _of_mx(found: Differences) -> list[Mapping[str, Any]]:
    return [each for each in found if each["kind"] == "MX"]


def _lacking(found: Differences) -> str:
    """What the first domain lacks, whose MX records do not lead to the gateways that stay; and what to do."""
    wrong = [each for each in _of_mx(found) if each["problem"] in ("missing", "wrong", "alias")]
    return f"{wrong[0]['words']}; {wrong[0]['todo']}" if wrong else ""


def _hidden(found: Differences) -> bool:
    """Whether a domain has its MX records where an alias leads, and nobody knows which."""
    return any(each["problem"] == "alias" and not each["found"] for each in _of_mx(found))


def _silent(model: Mapping[str, Any], found: Differences) -> list[str]:
    """The zones of mail domains of which a server does not answer, or has an older zone."""
    domains = [domain["name"] for domain in model["domains"]]
    zones = dict.fromkeys(each["zone"] for each in found if each["kind"] == "server")
    return [zone for zone in zones if any(f".{domain}".endswith(f".{zone}") for domain in domains)]
