# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: saslpasswd2
short_description: Keep the users and passwords of a SASL database (sasldb)
description:
  - Sets and removes users of the database that Cyrus SASL reads with C(auxprop_plugin=sasldb), all in one task.
  - Whether a password holds is asked of the host's SASL library, so a password is written only where it differs.
  - A changed database is made aside in the same folder by C(saslpasswd2), which reads each password from standard
    input. It is then asked for every password, flushed to disk and renamed into place. A run that is killed at any
    point leaves the old database whole, and the next run finishes the work.
  - No password is shown, logged, or an argument of a command.
version_added: 0.1.0
author:
  - gatehouse.mail contributors (@gatehouse)
extends_documentation_fragment:
  - ansible.builtin.files
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Names only. A name whose password changes is marked.
  platform:
    platforms: posix
options:
  users:
    description:
      - The users, each named once.
    type: list
    elements: dict
    required: true
    suboptions:
      user:
        description:
          - The name before the C(@). It has no C(:), no C(@) and no white space.
        type: str
        required: true
      realm:
        description:
          - The realm, for a mail server its C(smtpd_sasl_local_domain) or the domain that clients write after the C(@).
        type: str
        required: true
      password:
        description:
          - The password. It has no newline, carriage return or NUL, and at most 1024 octets.
          - Required when O(state=present).
        type: str
  state:
    description:
      - V(absent) removes the users that are listed; their passwords need not be given.
    type: str
    choices: [present, absent]
    default: present
  update_password:
    description:
      - V(always) sets every password that differs. V(on_create) sets those of new users only.
    type: str
    choices: [always, on_create]
    default: always
  purge:
    description:
      - Whether users that are not listed are removed. Only with O(state=present).
    type: bool
    default: false
  minimum_length:
    description:
      - How many characters a password has at least. An empty one is always refused.
    type: int
    default: 12
  path:
    description:
      - The database. Its folder must exist. Anything but a regular file at this place is refused.
      - By default V(/etc/sasl2/sasldb2) on the family of Red Hat and V(/etc/sasldb2) elsewhere, where the programs look
        for it.
    type: path
  copy:
    description:
      - A second place for the same file, kept in step with O(path). On Debian, where Postfix' smtpd runs in a chroot,
        that is V(/var/spool/postfix/etc/sasldb2).
    type: path
  mode:
    description:
      - The permissions of the database and of its copy, as for M(ansible.builtin.file).
      - By default V(0640).
  owner:
    description:
      - The owner of the database and of its copy.
      - By default V(root).
  group:
    description:
      - The group of the database and of its copy, which is who may read all passwords.
      - By default V(postfix).
  unsafe_writes:
    description:
      - Has no effect. Nothing is ever written in place, because a reader would see half of it.
notes:
  - Needs C(saslpasswd2) and C(sasldblistusers2), which are in package C(sasl2-bin) on Debian and in C(cyrus-sasl-lib)
    on the family of Red Hat. In check mode they need not be installed yet.
  - A database holds passwords in clear, as the mechanisms beyond PLAIN and LOGIN want them.
  - Daemons open the database for each question; no reload is needed.
  - Ansible itself shows the items of a loop. Give the users as one list, which is quicker as well.
seealso:
  - module: gatehouse.mail.postmap
"""

EXAMPLES = r"""
- name: Let two people submit mail, and nobody else
  gatehouse.mail.saslpasswd2:
    users:
      - user: alice
        realm: example.org
        password: "{{ vault_alice_password }}"
      - user: bob
        realm: example.org
        password: "{{ vault_bob_password }}"
    purge: true

- name: Do so for a Postfix in a chroot
  gatehouse.mail.saslpasswd2:
    users: "{{ vault_submission_users }}"
    copy: /var/spool/postfix/etc/sasldb2

- name: Give a first password that may be changed on the host
  gatehouse.mail.saslpasswd2:
    users:
      - user: carol
        realm: example.org
        password: "{{ vault_carol_password }}"
    update_password: on_create

- name: Remove a user
  gatehouse.mail.saslpasswd2:
    users:
      - user: mallory
        realm: example.org
    state: absent
"""

RETURN = r"""
path:
  description: The database.
  returned: always
  type: str
  sample: /etc/sasldb2
count:
  description: How many users the database has.
  returned: success
  type: int
  sample: 2
counts:
  description: How many users were added, removed, and given another password.
  returned: success
  type: dict
  sample: {added: 1, removed: 0, changed: 0}
"""

import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gatehouse.mail.plugins.module_utils import _libsasl2 as library
from ansible_collections.gatehouse.mail.plugins.module_utils import _saslpasswd2 as core
from ansible_collections.gatehouse.mail.plugins.module_utils._aside import folder_aside, go_live, leftovers
from ansible_collections.gatehouse.mail.plugins.module_utils._saslpasswd2 import Plan, SaslError, User

Run = Callable[..., tuple[int, str, str]]
Dress = Callable[[str, str], bool]


class Tools(NamedTuple):
    """What of SASL is on the host; a path is None where it is not installed."""

    run: Run
    saslpasswd2: str | None
    sasldblistusers2: str | None

    @property
    def complete(self) -> bool:
        return bool(self.saslpasswd2 and self.sasldblistusers2)


class QuietModule(AnsibleModule):
    """Gives none of its arguments back: a password may stand under a misspelt name, where no_log does not find it."""

    def fail_json(self, msg: str, **more: Any) -> None:
        super().fail_json(msg, **{**more, "invocation": {"module_args": "not shown"}})

    def exit_json(self, **more: Any) -> None:
        super().exit_json(**{**more, "invocation": {"module_args": "not shown"}})


def default_path() -> str:
    """Where the distribution's SASL library looks for its database."""
    return "/etc/sasl2/sasldb2" if os.path.exists("/etc/redhat-release") else "/etc/sasldb2"


def is_there(path: str) -> bool:
    """Whether there is a database; SaslError when there is something that is no regular file."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(status.st_mode):
        raise SaslError(path, "something that is not a regular file", "a SASL database, or nothing")
    return True


def names_in(path: str, tools: Tools) -> set[str]:
    """Names in a database that is there; none while SASL is not installed."""
    if not tools.complete:
        return set()
    _code, stdout, stderr = tools.run([tools.sasldblistusers2, "-f", path])
    names = core.listed(stdout, stderr)
    if names is None:
        raise SaslError(path, "a file that sasldblistusers2 cannot list", "a SASL database, or nothing")
    return names


def same_octets(path: str, copy: str) -> bool:
    with open(path, "rb") as first, open(copy, "rb") as second:
        return first.read() == second.read()


def carry_out(plan: Plan, path: str, tools: Tools, dress: Dress, expected: set[str]) -> None:
    """Make the new database aside, ask it for everything that was set, and let it go live.

    With nothing to do, only what a killed run left behind goes away.
    """
    if any(plan) and not tools.complete:
        raise SaslError(path, "no saslpasswd2 on this host", "package sasl2-bin (Debian) or cyrus-sasl-lib (EL)")
    with folder_aside(path) as folder:
        if not any(plan):
            return
        new = os.path.join(folder, os.path.basename(path))
        if is_there(path):
            shutil.copyfile(path, new)
        for name in plan.remove:
            run_saslpasswd2(tools, name, core.delete_arguments(new, name))
        for user in plan.sets:
            run_saslpasswd2(tools, user.name, core.set_arguments(new, user), user.password)
        lacking = {user.name for user in plan.sets} - library.holding(new, plan.sets)
        lacking |= expected ^ names_in(new, tools)
        if lacking:
            raise SaslError(path, f"that saslpasswd2 did not keep {', '.join(sorted(lacking)[:5])}", "all as asked")
        dress(new, path)
        go_live(new, path)


def run_saslpasswd2(tools: Tools, name: str, arguments: list[str], given: str | None = None) -> None:
    # Not run_command, which copies this process for each call: a thousand users would take half as long again.
    done = subprocess.run(
        [tools.saslpasswd2 or "", *arguments], input=(given or "").encode(), capture_output=True, check=False
    )
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace").strip()
        raise SaslError(f"user {name!r}", f"that saslpasswd2 says: {words}", "a password that it takes")


def keep_in_step(path: str, copy: str, dress: Dress) -> None:
    with folder_aside(copy) as folder:
        new = os.path.join(folder, os.path.basename(copy))
        shutil.copyfile(path, new)
        dress(new, copy)
        go_live(new, copy)


def plan_for(params: dict[str, Any], users: Sequence[User], path: str, present: set[str]) -> Plan:
    if params["state"] == "absent":
        return core.plan_absent(users, present)
    when = params["update_password"]
    always = when == "always"
    known = [user for user in users if user.name in present] if always else []
    holding = library.holding(path, known) if known else set()
    return core.plan_present(users, present, holding, params["purge"], always)


def converge(params: dict[str, Any], tools: Tools, dress: Dress, check_mode: bool) -> dict[str, Any]:
    """Make it so, unless in check mode; the module's result."""
    path, copy = params["path"], params["copy"]
    users = [User(**item) for item in params["users"]]
    core.check(users, params["minimum_length"], params["state"] == "present")
    for place in (path, copy or path):
        if not os.path.isabs(place):
            raise SaslError("path", place, "an absolute path")
    there = is_there(path)
    present = names_in(path, tools) if there else set()
    plan = plan_for(params, users, path, present)
    after = core.after(plan, present)
    alter = any(plan) or bool(leftovers(path))
    if alter and not check_mode:
        carry_out(plan, path, tools, dress, after)
    changed = alter or (there and dress(path, path))
    if copy and (there or plan.add):
        behind = alter or not is_there(copy) or not same_octets(path, copy) or bool(leftovers(copy))
        if behind and not check_mode:
            keep_in_step(path, copy, dress)
        changed = behind or dress(copy, copy) or changed
    return {
        "changed": changed,
        "path": path,
        "count": len(after),
        "counts": plan.counts(),
        "diff": {
            "before_header": path,
            "after_header": path,
            "before": core.shown(present),
            "after": core.shown(after, [user.name for user in plan.change]),
        },
    }


def main() -> None:
    module = QuietModule(
        argument_spec={
            "users": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "user": {"type": "str", "required": True},
                    "realm": {"type": "str", "required": True},
                    "password": {"type": "str", "no_log": True},
                },
            },
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "update_password": {
                "type": "str",
                "choices": ["always", "on_create"],
                "default": "always",
                "no_log": False,
            },
            "purge": {"type": "bool", "default": False},
            "minimum_length": {"type": "int", "default": 12},
            "path": {"type": "path"},
            "copy": {"type": "path"},
        },
        add_file_common_args=True,
        supports_check_mode=True,
        no_log=True,  # of the arguments in syslog
    )
    params = {**module.params, "path": module.params["path"] or default_path()}
    dressed = {
        "owner": params["owner"] or "root",
        "group": params["group"] or "postfix",
        "mode": params["mode"] or "0640",
    }
    tools = Tools(module.run_command, module.get_bin_path("saslpasswd2"), module.get_bin_path("sasldblistusers2"))

    def dress(file: str, path: str) -> bool:
        """Owner, group, mode and label of ``path`` for ``file``; True when they differed."""
        attributes = module.load_file_common_arguments({**params, **dressed, "path": path})
        return module.set_fs_attributes_if_different({**attributes, "path": file}, False)

    try:
        result = converge(params, tools, dress, module.check_mode)
    except (SaslError, OSError) as error:
        module.fail_json(msg=str(error), path=params["path"])
    if not module._diff:
        del result["diff"]
    module.exit_json(**result)


if __name__ == "__main__":
    main()
