"""Made-up inventories in check mode: each is refused in the first play, or goes through."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

ROOT = Path(__file__).resolve().parents[3]
runpy.run_path(str(ROOT / "tests/unit/conftest.py"))  # lets Python import this collection from a clone
from generated import HOSTS, LAB, changed, judged  # noqa: E402

pytestmark = pytest.mark.stress
FIRST_PLAY = {"Compute the models of all hosts", "Check the files on the controller", "Take this host's model"}
LINE = r"(?:host|group) [^ :]+: {name}[^\n]*: [^\n]+; [^\n]+"
# What only the host knows: by which port and interface Ansible comes. Role firewall asks it before it changes anything.
OF_THE_HOST = ("firewall_ssh_port", "firewall_ssh_zones", "mail_vpn_interface", "firewall_vpn_interface")


def written(name: str, hosts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """{host: {variable: value}} of what differs from the lab's inventory, with the addresses that this lab has."""
    differs = {
        host: {name: own[name]} for host, own in hosts.items() if name in own and own[name] != HOSTS[host].get(name)
    }
    text = json.dumps(differs)
    for variable, value in sorted(LAB.items(), key=lambda pair: -len(pair[1])):
        text = text.replace(value, f"{{{{ {variable} }}}}")
    return json.loads(text)


def drawn() -> list[Any]:
    """Ten that the model refuses and ten that it lets through, each of another variable, always the same."""
    found: dict[bool, dict[str, Any]] = {True: {}, False: {}}

    @seed(16)
    @settings(max_examples=2000, deadline=None, database=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(changed())
    def draw(change: tuple[str, dict[str, dict[str, Any]]]) -> None:
        name, hosts = change
        if name in OF_THE_HOST or name in {**found[True], **found[False]}:
            return
        try:
            differs = written(name, hosts)
            values = [hosts[host][name] for host in differs]
            same = json.loads(json.dumps(values)) == values
        except (TypeError, ValueError):
            return
        problems, _models = judged(hosts)
        few = found[bool(problems)]
        if same and differs and len(few) < 10:
            few[name] = differs

    draw()
    return [
        pytest.param(name, differs, refused, id=f"{name}, {'refused' if refused else 'taken'}")
        for refused, few in found.items()
        for name, differs in few.items()
    ]


@pytest.mark.parametrize("name, differs, refused", drawn())
def test_a_made_up_value_is_refused_before_any_host_is_touched_or_goes_through(lab, tmp_path, name, differs, refused):
    beside = tmp_path / "hosts.json"
    beside.write_text(json.dumps({"all": {"hosts": differs}}))
    gateway = next(iter([host.name for host in lab.gateways if host.name in differs]), lab.gateways[-1].name)
    results = lab.playbook(
        "-i", str(beside), "--limit", f"{gateway},{lab.store.name}", "--check", "playbooks/site.yml"
    )  # fmt: skip
    failed = [result for result in results if result.get("failed") or result.get("unreachable")]
    print(name, json.dumps(differs)[:300], "refused" if failed else "went through")
    assert bool(failed) == refused, failed
    if refused:
        assert {result["task"] for result in results} <= FIRST_PLAY
        said = "\n".join(str(result["msg"]) for result in failed)
        assert said.endswith("nothing was changed")
        assert re.search(LINE.format(name=re.escape(name)), said), said
