# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether roles' variables can be meant as they are written. No I/O, no Ansible.

What a value may be is said by the argument specification of its role: type, elements, choices, options. Of what these
cannot say, a variable has a kind here: a time, a size, a range. Ansible would check the former where the role begins,
one host and one mistake at a time, and leave the latter to the daemon.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import inventory
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.inventory import Place, show

LARGEST = 2**31 - 1  # of what daemons keep in an int


class Kind(NamedTuple):
    """What a string may say. `fits` is asked for the text that a template would write."""

    fits: Callable[[str], bool]
    why: str
    instead: str


def _like(pattern: str, why: str, instead: str) -> Kind:
    return Kind(lambda text: re.fullmatch(pattern, text) is not None, why, instead)


def _time(low: int, high: int, example: str) -> Kind:
    """postconf(5): an integer and s, m, h, d or w; the unit is wanted, since without it each parameter has its own."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

    def fits(text: str) -> bool:
        match = re.fullmatch("([0-9]{1,10})([smhdw])", text)
        return match is not None and low <= int(match[1]) * units[match[2]] <= high

    return Kind(fits, "is not a time of Postfix, or out of range", f'write a number with its unit, such as "{example}"')


def _is_address(text: str) -> bool:
    return "%" not in text and inventory.is_ip(text)


def _is_network(text: str) -> bool:
    try:
        return "%" not in text and ipaddress.ip_network(text).prefixlen > 0
    except ValueError:
        return False


ANY = Kind(lambda _text: True, "", "")
NAME = Kind(inventory.is_name, "is not a full host name", 'write a name such as "mx1.example.org"')
WORD = _like(r"\S+", "holds white space", "write one word; each of several is an item of its own")
INTERFACE = Kind(inventory.is_interface, "is not the name of an interface", 'write a name such as "wg0"')
ADDRESS = Kind(_is_address, "is not an IP address", 'write an address such as "192.0.2.53"')
NETWORK = Kind(
    _is_network,
    "is neither an address nor a network, or is everybody",
    'write one such as "10.8.0.0/24", without host bits',
)
# Without what a shell, systemd, Python or a daemon's file would read as something else.
_PATH = r"/[\w.@+,:=~/-]*"
HOST_PATH = _like(
    f"(?a:{_PATH})",
    "is not an absolute path",
    'write one that begins with "/", of letters, digits and . _ @ + , : = ~ -',
)
LISTEN = _like(
    r"(?:[0-9.]{7,15}|\[[0-9A-Fa-f:.]{2,45}\]):[0-9]{1,5}",
    "is not an address and a port",
    'write one such as "10.8.0.31:60000" or "[fd00::31]:60000"',
)
PORTS = _like(r"[0-9]{1,5}(?:-[0-9]{1,5})?", "is neither a port nor a range", 'write one such as "8890-8899"')
MILTER = _like(
    rf"(?a:local:{_PATH}|inet:[0-9]{{1,5}}@[\w.:\[\]-]+)",
    "is not where a milter listens",
    'write "local:/run/name/name.sock" or "inet:8890@127.0.0.1"',
)
DELIMITER = _like("[-+_.=]?", "is not a recipient delimiter", 'write one of + - _ . = in quotes, or "" for none')
SIZE = _like("[1-9][0-9]{0,14}[kKmMgG]?", "is not a size", 'write a number with k, m or g, such as "64m"')
JOURNAL_SIZE = _like("[1-9][0-9]{0,14}[KMGTPE]?", "is not a size", 'write a number with K, M, G or T, such as "1G"')
_UNIT = "(?:s|sec|seconds?|m|min|minutes?|h|hr|hours?|d|days?|w|weeks?)"
SPAN = _like(
    rf"(?=.*[1-9])(?:[0-9]{{1,9}}|[0-9]{{1,9}} ?{_UNIT}(?: ?[0-9]{{1,9}} ?{_UNIT})*)",
    "is not a time of systemd.time(7)",
    'write one such as "5min"',
)
RETRY_WINDOW = _like("[1-9][0-9]{0,4}h?", "is neither days nor hours", 'write days, as in "2", or hours, as in "48h"')
_URL = r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]"  # RFC 3986 2
URL = _like(rf"https?://(?!/){_URL}+/{_URL}*", "is not a URL", 'write one that begins with "https://"')
FILE_URL = _like(
    rf"(?:https?|ftp|file)://{_URL}+", "is not a URL", 'write one that begins with "https://" or "file://"'
)

# Of what an argument specification cannot say: what the strings of a variable are, below it with its options' names.
KINDS = {
    "certificate_ca_directory": ANY,  # paths on the controller may be relative
    "certificate_files.certificate": ANY,
    "certificate_files.key": ANY,
    "opendkim_inventory_file": ANY,
    "certificate_ca_passphrase": Kind(lambda text: len(text) >= 12, "is too short", "write 12 characters or more"),
    "awstats_site_domain": NAME,
    "certificate_name": NAME,
    "clamav_report_hostname": NAME,
    "dmarc_authserv_id": NAME,
    "dovecot_hostname": NAME,
    "opendkim_authserv_id": NAME,
    "opendkim_sockets.*": MILTER,
    "opendmarc_authserv_id": NAME,
    "postfix_myhostname": NAME,
    "stunnel_mail_hosts.name": NAME,
    "submission_myhostname": NAME,
    "submission_relay_name": NAME,
    "clamav_freshclam_database_mirrors": WORD,
    "clamav_freshclam_exclude_databases": WORD,
    "clamav_freshclam_http_proxy_server": WORD,
    "clamav_freshclam_private_mirrors": WORD,
    "awstats_directory_group": WORD,
    "clamav_milter_group": WORD,
    "dovecot_lmtp_clients": WORD,
    "greylist_whitelist_clients": WORD,
    "opendkim_internal_hosts": WORD,
    "platform_ntp_pools": WORD,
    "postfix_greylist": _like(
        r"(?a:inet:[\w.:\[\]-]+:[0-9]{1,5}|unix:[\w./@-]+)",
        "is not where a policy service listens",
        'write one such as "inet:10.8.0.31:60000", or "" for none',
    ),
    "postfix_lmtp_tls_match": WORD,
    "postfix_relay_recipients": WORD,
    "postfix_virtual_alias_maps.*": WORD,
    "sasl_logins": _like(r"[^@\s]+@[^@\s]+", "is not a login", 'write it in full, such as "alice@example.org"'),
    "spamassassin_milter_group": WORD,
    "submission_domains": NAME,
    "submission_login": _like(r"[^@\s]+@[^@\s]+", "is not a login", 'write it in full, such as "store@example.org"'),
    "submission_mailboxes": WORD,
    "submission_relay_domains": NAME,
    "submission_relay_recipients": WORD,
    "submission_virtual_alias_maps.*": WORD,
    "unbound_local_data": _like(
        r"[^\s\"\\]+ [^\"\\\n]+", "is no record", 'write one such as "mx1.example.org. 60 IN A 10.8.0.11"'
    ),
    "unbound_open_zones": WORD,
    "unbound_probe_name": WORD,
    "firewall_vpn_interface": INTERFACE,
    # No choices in the argument specification: Ansible would take null, which is the default, for a wrong one.
    "firewall_ssh_zones": _like("internet|vpn", "is none of what it may be", 'write one of "internet", "vpn"'),
    "greylist_listen": LISTEN,
    "dmarc_nameservers": ADDRESS,
    "stunnel_mail_hosts.address": ADDRESS,
    "dovecot_address": ADDRESS,
    "postfix_submission_address": ADDRESS,
    "postfix_submission_unlimited_clients": ADDRESS,
    "submission_address": ADDRESS,
    "dmarc_exempt_clients": NETWORK,
    "fail2ban_ignoreip": NETWORK,
    "fail2ban_smtp_ignoreip": NETWORK,
    "fail2ban_allow_lists.zone": NAME,
    "fail2ban_allow_lists.codes": _like(
        r"[0-9.;\[\]]+", "is no return-code filter", 'write what counts as an answer, such as "127.0.0.[2..11]"'
    ),
    "firewall_ports.sources": NETWORK,
    "opendmarc_ignore_hosts": NETWORK,
    "postfix_exempt_clients": NETWORK,
    "spf_skip_addresses": NETWORK,
    "platform_selinux_ports.port": PORTS,
    "clamav_milter_socket": MILTER,
    "dmarc_socket": MILTER,
    "opendmarc_socket": MILTER,
    "spamassassin_milter_socket": MILTER,
    "dmarc_recipient_delimiter": DELIMITER,
    "dovecot_recipient_delimiter": DELIMITER,
    "postfix_recipient_delimiter": DELIMITER,
    "submission_recipient_delimiter": DELIMITER,
    "unbound_cache_size": SIZE,
    "platform_journal_size": JOURNAL_SIZE,
    "dns_lists_interval": SPAN,
    "greylist_retry_window": RETRY_WINDOW,
    "awstats_archive": _like(
        rf"https?://(?!/){_URL}+/{_URL}*|(?!\w+://)[^\x00-\x1f\x7f]+",
        "is neither a URL nor a path on the controller",
        'write one that begins with "https://", or a path',
    ),
    "awstats_archive_checksum": _like(
        "(?a:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})",
        "is no checksum",
        'write "sha256:" and the 64 digits that sha256sum prints',
    ),
    "public_suffix_list_url": URL,
    "clamav_freshclam_database_custom_urls": FILE_URL,
    "postfix_anvil_rate_time_unit": _time(1, LARGEST, "60s"),
    "postfix_maximal_backoff_time": _time(1, LARGEST, "10m"),
    "postfix_maximal_queue_lifetime": _time(0, 8640000, "10d"),  # qmgr: at most 100 days
    "postfix_milter_command_timeout": _time(1, LARGEST, "30s"),
    "postfix_milter_content_timeout": _time(1, LARGEST, "120s"),
    "postfix_postscreen_greet_wait": _time(1, LARGEST, "6s"),
    "postfix_smtpd_error_sleep_time": _time(0, LARGEST, "2s"),
    "submission_delay_warning_time": _time(0, LARGEST, "4h"),
    "submission_maximal_queue_lifetime": _time(0, 8640000, "10d"),
}
# Numbers that are not from 0 to LARGEST, of which 0 often means no limit.
_PORT = (1, 65535)
RANGES = {
    "clamav_freshclam_http_proxy_port": _PORT,
    "dovecot_imaps_port": _PORT,
    "dovecot_lmtp_port": _PORT,
    "dovecot_managesieve_port": _PORT,
    "dovecot_pop3s_port": _PORT,
    "fail2ban_jails.port": _PORT,
    "firewall_ports.port": _PORT,
    "firewall_ssh_port": _PORT,
    "platform_reserved_ports": _PORT,
    "postfix_relay_domains.lmtp.port": _PORT,
    "stunnel_mail_hosts.port": _PORT,
    "postfix_submission_port": _PORT,
    "submission_relay_port": _PORT,
    "submission_starttls_port": _PORT,
    "submission_tls_port": _PORT,
    "submission_message_size_limit": (32768, 2**63 - 1),
    "certificate_lifetime_days": (1, LARGEST),
    "dovecot_mailbox_quotas.*": (0, 2**63 - 1),
    "dovecot_quota": (0, 2**63 - 1),
    "clamav_freshclam_checks": (1, 50),  # freshclam.conf(5)
    "clamav_message_size_limit": (1, LARGEST),
    "clamav_milter_read_timeout": (1, LARGEST),
    "dmarc_header_size_limit": (1, 524288),
    "fail2ban_dbpurgeage": (1, LARGEST),
    "fail2ban_findtime": (1, LARGEST),
    "fail2ban_login_bantime": (1, LARGEST),
    "fail2ban_login_bantime_maxtime": (1, LARGEST),
    "fail2ban_maxretry": (1, LARGEST),
    "fail2ban_smtp_bantime": (1, 3600),  # less than anybody's queue lives
    "greylist_delay": (1, 3600),
    "greylist_ipv4cidr": (1, 32),
    "greylist_ipv6cidr": (1, 128),
    "greylist_max_age": (1, LARGEST),
    "platform_mail_log_days": (1, LARGEST),
    "postfix_message_size_limit": (65536, 2**63 - 1),
    "postfix_postscreen_dnsbl_threshold": (1, LARGEST),
    "postfix_smtpd_hard_error_limit": (1, LARGEST),
    "postfix_smtpd_recipient_limit": (1, LARGEST),
    "postfix_smtpd_soft_error_limit": (1, LARGEST),
    "spamassassin_max_children": (1, LARGEST),
    "spamassassin_max_size": (1, 268435456),  # spamc(1)
    "spamassassin_timeout": (1, LARGEST),
}
# Booleans that a role reads by the filter bool, since they are meant for the command line, where all are strings.
WORDS = ("postfix_allow_shrink",)
# What a mapping must have though its argument specification knows no options: the roles read these of it.
KEYS = {
    "opendkim_sockets": ("opendkim", "opendkim-ed25519"),
    "postfix_access": ("clients", "senders", "recipients"),
    "postfix_greylist_exceptions": ("clients", "recipients"),
    "postfix_milter_chains": ("smtp", "submission", "local"),
}
# The type of a mapping's values, and of a list's elements within.
ELEMENTS = {
    "postfix_access": "dict",
    "postfix_greylist_exceptions": "str",
    "postfix_milter_chains": "str",
    "postfix_submission_sender_login_maps": "str",
    "postfix_virtual_alias_maps": "str",
    "submission_sender_login_maps": "str",
    "submission_virtual_alias_maps": "str",
}
# Lists in them.
NOT_EMPTY = (
    "postfix_submission_sender_login_maps",
    "postfix_virtual_alias_maps",
    "submission_sender_login_maps",
    "submission_virtual_alias_maps",
)
VALUES = {
    **dict.fromkeys(ELEMENTS, "list"),
    "clamav_selinux_booleans": "bool",
    "dovecot_mailbox_quotas": "int",
    "dovecot_password_hashes": "str",
    "opendkim_sockets": "str",
    "postfix_parameters": "str",
}
# What a role has from the model, or from the secret that the model looked at, since its parts must fit one another.
DERIVED = {
    "postfix_dns_lists": "mail_dns_lists",
    "postfix_milters": "the variables mail_* that switch milters",
    "postfix_slow_destinations": "mail_slow_destinations",
    "sasl_passwords": "vault_mail_login_passwords",
    "submission_milters": "the variables mail_* that switch milters",
    "submission_passwords": "vault_mail_login_passwords",
    "unbound_keyed_zones": "mail_dns_lists",
    "unbound_zone_keys": "vault_mail_dns_list_keys",
}


class _Hidden(Place):
    """The place of a secret, whose value no message shows."""

    __slots__ = ()

    def refuse(self, value: object, why: str, instead: str) -> None:
        self.note(why, instead)


def problems(hosts: Mapping[str, Mapping[str, Any]], options: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A line for each value that cannot be meant, with the first host that has it.

    hosts: {inventory host: {variable: value}}; options: {variable: what the argument specification of its role says}.
    """
    found: dict[str, str] = {}
    seen: set[tuple[str, int]] = set()  # what hosts have from one place is one object
    for host, variables in hosts.items():
        for name in sorted(variables.keys() & options.keys()):
            if (name, id(variables[name])) in seen:
                continue
            seen.add((name, id(variables[name])))
            if variables[name] is None and options[name].get("default", "") is None:
                continue  # null is the default, and says that nothing is written
            lines: list[str] = []
            place = (_Hidden if options[name].get("no_log") else Place)(lines, f"host {host}")[name]
            if name in DERIVED:
                place.note("is made by the collection from other variables", f"remove it; write {DERIVED[name]}")
            else:
                check(place, variables[name], options[name], name)
            for line in lines:
                found.setdefault(line.partition(": ")[2], line)
    return list(found.values())


def check(at: Place, value: object, option: Mapping[str, Any], name: str) -> None:
    """Note what `option` and the kind of variable `name` do not let the value be."""
    wanted = option.get("type", "str")
    if wanted == "list":
        example = f"write [{show(value)}]" if isinstance(value, str) and not option.get("no_log") else "write a list"
        if not isinstance(value, (list, tuple)):
            at.refuse(value, f"is {inventory.kind(value)}, not a list", inventory.of_type(at, value, example))
            return
        element = {**option, "type": option.get("elements", "raw"), "default": None}
        for index, item in enumerate(value):
            check(at[index], item, element, name)
    elif wanted == "dict":
        _mapping(at, value, option.get("options") or {}, name)
    elif wanted == "bool":
        inventory.boolean(at, value, name in WORDS)
    elif wanted == "int":
        low, high = RANGES.get(name, (0, LARGEST))
        inventory.integer(at, value, low, high, low, words=False)
    elif wanted == "float":
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            at.refuse(value, f"is {inventory.kind(value)}, not a number", "write a number, without quotes")
    elif wanted == "path" and not isinstance(value, str):
        at.refuse(value, f"is {inventory.kind(value)}, not a string", "write a path, in quotes")
    elif wanted in ("str", "path"):
        _text(at, value, option, KINDS.get(name, HOST_PATH if wanted == "path" else ANY))


def _mapping(at: Place, value: object, options: Mapping[str, Mapping[str, Any]], name: str) -> None:
    example = "{" + ", ".join(f"{key}: …" for key, option in options.items() if option.get("required")) + "}"
    if not options:
        for key, item in inventory.mapping(at, value, "{}").items():
            if not isinstance(key, str) or not re.fullmatch(r"[^\s\x00-\x1f\x7f\ud800-\udfff]+", key):
                at.refuse(key, "is no key of it", "write keys in quotes, without white space")
                continue
            of = {"type": VALUES.get(name, "raw"), "elements": ELEMENTS.get(name, "raw"), "default": ""}
            check(at[key], item, of, f"{name}.*")
            if name in NOT_EMPTY and item in ([], ()):
                at[key].refuse(item, "is an empty list", "write at least one, or remove the key")
        for key in KEYS.get(name, ()) if isinstance(value, Mapping) else ():
            if key not in value:
                at[key].note("is missing", f"write all of {', '.join(KEYS[name])}")
        return
    record = inventory.record(at, value, tuple(options), example)
    for key, option in options.items() if isinstance(value, Mapping) else ():
        if key not in record and option.get("required"):
            at[key].note("is missing", f"write all of {example}")
        elif key in record and (record[key] is not None or option.get("required")):
            check(at[key], record[key], option, f"{name}.{key}")


def _text(at: Place, value: object, option: Mapping[str, Any], kind: Kind) -> None:
    """A number is taken for a string, as a template writes both alike."""
    text = str(value)
    choices = [str(choice) for choice in option.get("choices") or ()]
    if choices:
        if isinstance(value, (Mapping, list, tuple)) or text not in choices:
            at.refuse(value, "is none of what it may be", f"write one of {', '.join(map(show, choices))}")
    elif isinstance(value, bool) or not isinstance(value, (str, int, float)):
        at.refuse(value, f"is {inventory.kind(value)}, not a string", "write a string, in quotes")
    elif re.search(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]", text):
        at.refuse(value, "holds a line break, a control character or a lone surrogate", "write one line without it")
    elif not text:
        if option.get("default") != "" and (kind is ANY or not kind.fits("")):
            at.refuse(value, "is empty", "write a value, or remove the variable")
    elif not kind.fits(text):
        at.refuse(value, kind.why, kind.instead)
