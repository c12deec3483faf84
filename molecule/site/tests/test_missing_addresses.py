"""An address that a host is supposed to have is not there: the VPN's comes up late, ::1 is switched off."""

import contextlib

import pytest


@contextlib.contextmanager
def kernel_settings(host):
    """The network's settings can be written, as on a host that is no container; systemd applies those of its files."""
    host.mount("mount", "--bind", "/proc/sys/net", "/proc/sys/net")
    host.mount("mount", "-o", "remount,bind,rw", "/proc/sys/net")
    try:
        host.out("systemctl", "restart", "systemd-sysctl")
        yield
    finally:
        host.mount("umount", "/proc/sys/net")


def setting(host, name):
    return host.out("cat", f"/proc/sys/net/{name}").strip()


@pytest.fixture
def without_vpn(lab, gateway):
    """The gateway has no address on the VPN, as before the VPN is up; called, it gets it back."""
    address = ("address", f"{gateway.mail_vpn_address}/24", "dev", "vpn0")
    routes = gateway.out("ip", "route")

    def come_back():
        if gateway.mail_vpn_address not in gateway.out("ip", "address", "show", "dev", "vpn0"):
            gateway.out("ip", "address", "add", *address[1:], "broadcast", "+")
        assert gateway.out("ip", "route") == routes

    with kernel_settings(gateway):
        gateway.out("ip", "address", "del", *address[1:])
    yield come_back
    come_back()


def test_port_25_does_not_wait_for_the_vpn(lab, gateway, without_vpn, mail, smtp, wait, submit, header):
    assert [setting(gateway, f"ipv{version}/ip_nonlocal_bind") for version in (4, 6)] == ["1", "1"]
    gateway.out("systemctl", "restart", "postfix")
    wait(lambda: smtp(gateway.mail_ipv4, "QUIT")[0].startswith("220 "), 30, "the greeting on port 25")
    number = mail.send(gateway.mail_ipv4, "bob@example.org")
    wait(lambda: [one for one in gateway.queue() if one["queue_name"] == "deferred"], 60, "mail that waits")
    # The last tasks of a run ask the gateway. The lab's Ansible comes by the VPN otherwise.
    here = ("--limit", gateway.name, "-e", f"lab_ssh_address={gateway.lab_address4}")
    results = lab.playbook("playbooks/site.yml", "--tags", "always", *here)
    assert not [result for result in results if result.get("failed") or result.get("unreachable")]
    assert "Insist that it knows the one and refuses the other" in [result["task"] for result in results]
    without_vpn()
    message = f"{header}To: dave@sender.example\r\nMessage-ID: {mail.new_id()}\r\n\r\nhello\r\n"
    message = message.replace("Carol <carol@sender.example>", "alice@example.org")
    assert [code for code, _text in submit(gateway, [message])] == [250]
    wait(lambda: not gateway.queue(), 120, "an empty queue")
    assert mail.wait_for("bob@example.org", number)


def test_the_resolver_serves_where_there_is_no_ipv6_loopback(gateway, mail, wait):
    switch = "/proc/sys/net/ipv6/conf/lo/disable_ipv6"
    with kernel_settings(gateway):
        try:
            gateway.out("sh", "-c", f"echo 1 > {switch}")
            assert "inet6" not in gateway.out("ip", "address", "show", "dev", "lo")
            gateway.out("systemctl", "restart", "unbound")
            question = ("dig", "@127.0.0.1", "+short", "sender.example", "MX")
            wait(lambda: gateway.run(*question, check=False).returncode == 0, 20, "an answer")
            number = mail.send(gateway.mail_ipv4, "bob@example.org")
            assert mail.wait_for("bob@example.org", number)
        finally:
            gateway.out("sh", "-c", f"echo 0 > {switch}")
    assert "::1" in gateway.out("ip", "address", "show", "dev", "lo")
