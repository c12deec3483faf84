"""What runs on the controller is not reached by what the inventory says of becoming root on the hosts."""

import json

import pytest


@pytest.fixture
def becoming(tmp_path):
    """Arguments for an inventory whose group all has ansible_become, with a sudo that works on the hosts alone."""
    path = tmp_path / "become.json"
    everywhere = {"ansible_become": True, "ansible_become_exe": "/bin/false"}
    path.write_text(
        json.dumps({"all": {"vars": everywhere, "children": {"lab": {"vars": {"ansible_become_exe": "sudo"}}}}})
    )
    return "-i", str(path)


@pytest.mark.parametrize(
    "arguments",
    [
        ("playbooks/dns.yml",),
        ("playbooks/rotate_dkim.yml", "--check"),
        ("playbooks/site.yml", "--tags", "certificate,opendkim", "--limit", "mail_gateways[0]"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_the_controllers_work_needs_no_root(lab, becoming, arguments):
    results = lab.playbook(*becoming, *arguments)
    assert [result for result in results if result.get("failed")] == []


def test_a_sudo_that_refuses_would_be_seen(lab, becoming):
    """The control: a task on the controller that says nothing of becoming root."""
    path = becoming[1].replace("become.json", "play.yml")
    task = {"ansible.builtin.command": "true", "delegate_to": "localhost"}
    with open(path, "w") as play:
        json.dump(
            [{"hosts": "mail_gateways[0]", "gather_facts": False, "tasks": [{"name": "Try", "become": False, **task}]}],
            play,
        )
    assert [result["failed"] for result in lab.playbook(*becoming, path)] == [True]
