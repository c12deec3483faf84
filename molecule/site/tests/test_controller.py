"""What runs on the controller is not reached by what the inventory says of becoming root on the hosts."""

import json

import pytest

# Another user than root, since Ansible leaves out a sudo from root to root.
CONTROLLER = {"ansible_become": True, "ansible_become_user": "nobody", "ansible_become_exe": "/bin/false"}
HOSTS = {"ansible_become_user": "root", "ansible_become_exe": "sudo"}


@pytest.fixture
def becoming(tmp_path):
    """Arguments for an inventory whose group all has ansible_become, with a sudo that works on the hosts alone."""
    path = tmp_path / "become.json"
    path.write_text(json.dumps({"all": {"vars": CONTROLLER, "children": {"lab": {"vars": HOSTS}}}}))
    return "-i", str(path)


PLAYBOOKS = {
    "dns": ("playbooks/dns.yml",),
    "rotate_dkim": ("playbooks/rotate_dkim.yml", "--check"),
    "statistics": ("playbooks/statistics.yml", "--limit", "mail_gateways[0]"),
    "site": ("playbooks/site.yml", "--tags", "certificate,opendkim", "--limit", "mail_gateways[0]"),
}


@pytest.mark.parametrize(
    "arguments",
    [pytest.param(PLAYBOOKS[name], id=name, marks=[] if name == "dns" else pytest.mark.stress) for name in PLAYBOOKS],
)
def test_the_controllers_work_needs_no_root(lab, becoming, arguments):
    results = lab.playbook(*becoming, *arguments)
    assert [result for result in results if result.get("failed")] == []


def test_a_sudo_that_refuses_would_be_seen(lab, becoming, tmp_path):
    """The control: a task on the controller that says no more than the keyword."""
    play = tmp_path / "play.yml"
    task = {"ansible.builtin.command": "true", "delegate_to": "localhost", "become": False}
    play.write_text(json.dumps([{"hosts": "mail_gateways[0]", "gather_facts": False, "tasks": [task]}]))
    assert [result.get("failed") for result in lab.playbook(*becoming, str(play))] == [True]
