# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a DKIM key grows old: which step is next for each key, and when. No I/O, no clock, no Ansible.

A key's stages are `published` (in DNS, signs nothing yet), `signing`, `retired` (signs no more, but mail that it signed
is under way, and verified with what is in DNS) and `removed` (gone from DNS and from its gateway; its line stays, lest
its selector be used again). The first key of a lane is made by role opendkim, and signs at once.

A key that has no lane, because its gateway, its domain or its sender has left the site, has nothing left to sign. A key
whose private part is lost has nothing to sign with. Both retire at once.

The state is mail_dkim, nothing else, so that a run that was interrupted is taken up by the next one.
"""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Optional

from ansible_collections.gatehouse.mail.plugins.plugin_utils import _records
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import dkim

Key = dict[str, Any]


def plan(
    model: Mapping[str, Any],
    now: datetime.datetime,
    shown: Collection[tuple[str, str]],
    start: bool = False,
    lost: str = "",
) -> dict[str, Any]:
    """The next step of each key, and what mail_dkim becomes when those that are due are taken.

    shown: the (domain, selector) that every authoritative server shows as wanted. start: give each signing key a
    successor now, however young it is. lost: the name of a gateway that has the private parts of its keys no more; role
    opendkim makes others there, which sign at once, as first keys do.

    steps: for each key that has one, domain, host, type, selector; do ("make", "sign", "retire" or "remove"); at, the
        earliest time; due, whether it is taken now; waits_for, in words, empty when due.
    make: by gateway, the keys to be made on it now by role opendkim, in the shape of its opendkim_keys.
    keys: mail_dkim after the steps that are due, but for the keys to be made.
    text: the steps in words, a line each.
    lost: as given.
    left: of the keys whose gateway, domain or sender has left, the steps in words, with what to run.
    """
    waits = model["dkim_rotation"]
    lanes = _lanes(model)
    used = {(key["domain"], key["selector"]) for key in model["dkim"]}
    steps: list[dict[str, Any]] = []
    left: set[tuple[str, str]] = set()
    for key in model["dkim"]:
        near = lanes.get((key["host"], key["domain"], key["type"]), {})
        own = next((lane for lane in near if lane.owns(key)), None)
        if not own:
            left.add((key["domain"], key["selector"]))
        if own and key["host"] != lost:
            near[own].append(key)
        elif key["stage"] in ("published", "signing"):
            steps.append(_step(key, "retire", now, ""))
        if key["stage"] == "retired":
            at = _after(key, waits["retired"])
            steps.append(_step(key, "remove", at, _until(now, at, "mail that it signed may still be under way")))
    for lane, keys in (pair for near in lanes.values() for pair in near.items()):
        steps += _steps_of_lane(model, lane, keys, now, shown, used, start)

    steps.sort(key=lambda step: (not step["due"], step["at"], step["domain"], step["selector"]))
    due = [step for step in steps if step["due"]]
    stages = {"sign": "signing", "retire": "retired", "remove": "removed"}
    moved = {(step["domain"], step["selector"]): stages[step["do"]] for step in due if step["do"] != "make"}
    make: dict[str, list[Key]] = {}
    for step in due:
        if step["do"] == "make":
            new = {name: step[name] for name in ("domain", "sender", "type", "selector")}
            make.setdefault(step["host"], []).append({**new, "stage": "published", "public": None})
    return {
        "steps": steps,
        "text": [_words(step) for step in steps],
        "lost": lost,
        "left": [_words_of_left(step) for step in steps if (step["domain"], step["selector"]) in left],
        "make": make,
        "keys": [_moved(key, moved.get((key["domain"], key["selector"])), now) for key in model["dkim"]],
    }


def _lanes(model: Mapping[str, Any]) -> dict[tuple[str, str, str], dict[dkim.Lane, list[Key]]]:
    """By host, domain and type the lanes there, each without a key yet."""
    found: dict[tuple[str, str, str], dict[dkim.Lane, list[Key]]] = {}
    for gateway in model["gateways"]:
        for lane in dkim.lanes(model, gateway["name"]):
            found.setdefault((lane.host, lane.domain, lane.type), {})[lane] = []
    return found


def shown(model: Mapping[str, Any], differences: Sequence[Mapping[str, Any]]) -> set[tuple[str, str]]:
    """The (domain, selector) whose record, and whose zone's servers, are in no difference of dns_info."""
    zones = _records.Zones(model)
    wrong = {difference["name"] for difference in differences if difference["kind"] == "DKIM"}
    ill = {difference["zone"] for difference in differences if difference["kind"] in ("server", "DNSSEC")}
    return {
        (key["domain"], key["selector"])
        for key in model["dkim"]
        if f"{key['selector']}._domainkey.{key['domain']}" not in wrong
        and zones.of(key["domain"], key["domain"]) not in ill
    }


def _steps_of_lane(
    model: Mapping[str, Any],
    lane: dkim.Lane,
    keys: Sequence[Key],
    now: datetime.datetime,
    shown: Collection[tuple[str, str]],
    used: set[tuple[str, str]],
    start: bool,
) -> list[dict[str, Any]]:
    waits = model["dkim_rotation"]
    signing = [key for key in keys if key["stage"] == "signing"]
    waiting = [key for key in keys if key["stage"] == "published"]
    if waiting:
        successor = max(waiting, key=lambda key: (key["since"], key["selector"]))
        at = _after(successor, waits["published"])
        why = _until(now, at, "every resolver may have forgotten that it was not there")
        if not why and (lane.domain, successor["selector"]) not in shown:
            why = "not every authoritative server shows its record"
        # One key takes over from another at the same moment: the gateway reads both from one KeyTable.
        others = [key for key in signing + waiting if key is not successor]
        return [_step(successor, "sign", at, why), *(_step(key, "retire", at, why) for key in others)]
    if signing:
        newest = max(signing, key=lambda key: (key["since"], key["selector"]))
        at = now if start else _after(newest, waits["lifetime"])
        selector = dkim.unused(model, lane, used, _selectors(lane, max(at, now)))
        successor = {**newest, "sender": lane.sender, "selector": selector}
        make = _step(successor, "make", at, _until(now, at, f"{newest['selector']} is young enough"))
        return [make, *(_step(key, "retire", now, "") for key in signing if key is not newest)]
    return []


def _selectors(lane: dkim.Lane, now: datetime.datetime) -> Iterator[str]:
    """What the lane's selectors begin with, the month, and a number where the month was used before."""
    numbers = itertools.chain([""], (f"-{number}" for number in itertools.count(2)))
    return (f"{lane.base}-{now:%Y%m}{number}{dkim.KEY_TYPES[lane.type]}" for number in numbers)


def _step(key: Mapping[str, Any], do: str, at: datetime.datetime, why: str) -> dict[str, Any]:
    named = {**{name: key[name] for name in ("domain", "host", "type", "selector")}, "sender": key.get("sender")}
    return {**named, "do": do, "at": f"{at:{dkim.SINCE}}", "due": not why, "waits_for": why}


def _words(step: Mapping[str, Any]) -> str:
    what = f"{step['selector']}._domainkey.{step['domain']} ({step['type']}, {step['host']}): {step['do']} "
    return what + (f"from {step['at']} on: {step['waits_for']}" if step["waits_for"] else "now")


def _words_of_left(step: Mapping[str, Any]) -> str:
    when = "now" if step["due"] else f"from {step['at']} on"
    return f"{_words(step)}; its gateway, domain or sender has left the inventory; run rotate_dkim.yml {when}"


def gateway(model: Mapping[str, Any], word: str) -> str:
    """The name of the gateway that somebody calls by its name, the first label of it, or its name in the inventory;
    ValueError, in words, where there is none."""
    for each in model["gateways"]:
        if word.lower() in (each["name"], each["name"].partition(".")[0], each["host"].lower()):
            return each["name"]
    raise ValueError(f"{word!r} is no gateway; write one of {', '.join(each['name'] for each in model['gateways'])}")


def _after(key: Mapping[str, Any], seconds: int) -> datetime.datetime:
    return dkim.moment(key["since"]) + datetime.timedelta(seconds=seconds)


def _until(now: datetime.datetime, at: datetime.datetime, why: str) -> str:
    return why if now < at else ""


def _moved(key: Mapping[str, Any], stage: Optional[str], now: datetime.datetime) -> Key:
    return {**key, "stage": stage, "since": f"{now:{dkim.SINCE}}"} if stage else dict(key)
