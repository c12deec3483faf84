"""A gateway that does not answer is named, and the others get what is theirs."""

import json
import re
import subprocess

import pytest


@pytest.fixture
def frozen(lab, tmp_path):
    """The first gateway stands still, while Ansible has kept a connection to it."""
    play = tmp_path / "ping.yml"
    play.write_text(
        json.dumps([{"hosts": "mail_gateways", "gather_facts": False, "tasks": [{"ansible.builtin.ping": {}}]}])
    )
    assert not [result for result in lab.playbook(str(play)) if result.get("failed") or result.get("unreachable")]
    gateway = lab.gateways[0]
    subprocess.run(["podman", "pause", gateway.container], check=True, capture_output=True, timeout=60)
    yield gateway
    subprocess.run(["podman", "unpause", gateway.container], check=True, capture_output=True, timeout=60)


def test_the_others_are_done_and_the_run_fails(lab, frozen):
    run = lab.start_playbook("playbooks/site.yml", "--tags", "firewall")
    said, _nothing = run.communicate(timeout=300)
    assert run.returncode != 0
    assert f"host {frozen.name}: cannot be reached, and the run goes on without it" in said
    assert f"--limit 'all:!{frozen.name}'" in " ".join(said.split())
    for other in lab.gateways[1:]:
        assert f"ok: [{other.name}]" in said.partition("TASK [gatehouse.mail.firewall : Start firewalld]")[2]
        assert re.search(rf"^{re.escape(other.name)} .* unreachable=0 +failed=0", said, re.MULTILINE)
    assert re.search(rf"^{re.escape(frozen.name)} .* unreachable=1 ", said, re.MULTILINE)
