# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: semanage
short_description: Teach SELinux ports, file contexts, booleans and modules in one transaction
description:
  - Compares what is wanted with the host's SELinux store, and hands the differences, nothing else, to one
    C(semanage import). All of a task is one transaction with one rebuild and one reload of the policy, however many
    items it has. When one item is refused all stays as it was, and the item is named.
  - Works where SELinux is enforcing, permissive or disabled. Without SELinux in the kernel the store is changed and
    nothing is reloaded, so that the store is right for the day on which SELinux is there.
  - Removes nothing but items with C(state=absent). What else was added to the policy stays.
  - In check mode a host without C(semanage) has nothing that a task of such items alone could remove.
version_added: 0.1.0
author:
  - gatehouse.mail contributors (@gatehouse)
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  platform:
    platforms: posix
options:
  ports:
    description:
      - Types of ports. A port that the policy itself defines is modified, any other is added.
      - A port that has the type already, for instance as a part of a range, is left alone. A range that overlaps one
        which was added before is refused, unless that one is V(absent) in the same task.
    type: list
    elements: dict
    default: []
    suboptions:
      port:
        description: A port (V(8894)) or a range (V(8890-8899)).
        type: str
        required: true
      proto:
        description: The protocol.
        type: str
        choices: [tcp, udp, dccp, sctp]
        default: tcp
      setype:
        description: The type. Required when O(ports[].state=present).
        type: str
      state:
        description:
          - V(absent) takes back what was added to the policy, with O(ports[].setype) only what has that type. What the
            policy itself says stays.
        type: str
        choices: [present, absent]
        default: present
  fcontexts:
    description:
      - Types of files. They are what C(restorecon) gives to files, which are not touched unless O(restorecon) says so.
    type: list
    elements: dict
    default: []
    suboptions:
      target:
        description:
          - The path as a regular expression, such as C(/srv/mail(/.*\)?).
          - Below a folder that the policy declares the same as another one, such as C(/run) and C(/var/run), either
            name does; the store has the one that the policy wants.
        type: str
        required: true
      ftype:
        description:
          - The kind of files. V(a) all, V(f) regular file, V(d) directory, V(c) character device, V(b) block device,
            V(s) socket, V(l) symbolic link, V(p) named pipe.
        type: str
        choices: [a, b, c, d, f, l, p, s]
        default: a
      setype:
        description: The type, or C(<<none>>). Required when O(fcontexts[].state=present).
        type: str
      state:
        description:
          - V(absent) takes back what was added to the policy, with O(fcontexts[].setype) only what has that type. What
            the policy itself says stays.
        type: str
        choices: [present, absent]
        default: present
  booleans:
    description:
      - Values of booleans, in the store and in the kernel.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The name.
        type: str
        required: true
      value:
        description: The value. Required when O(booleans[].state=present).
        type: bool
      state:
        description: V(absent) turns it off. One that the policy does not have is off.
        type: str
        choices: [present, absent]
        default: present
  modules:
    description:
      - Policy modules, at semanage's priority of 400. One that is disabled is enabled.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The name. In O(modules[].te) the C(module) statement has the same one.
        type: str
        required: true
      cil:
        description: The module's text in Common Intermediate Language.
        type: str
      te:
        description: The module's text in the language of type enforcement files.
        type: str
      needed_when:
        description:
          - A permission for which the module exists. Where the policy already grants it, whatever the booleans, the
            module is not installed.
          - Only asked while the module is not installed. One that is stays, for then it is what grants the permission.
        type: dict
        suboptions:
          source:
            description: The type that does something.
            type: str
            required: true
          target:
            description: The type that it is done to.
            type: str
            required: true
          class:
            description: The class of the object, such as V(tcp_socket).
            type: str
            required: true
          permission:
            description: The permission, such as V(name_bind).
            type: str
            required: true
      state:
        description: V(absent) removes the module.
        type: str
        choices: [present, absent]
        default: present
  restorecon:
    description:
      - Whether files below the paths of O(fcontexts) are given their types at once, also those that lost them since.
        Does nothing where the kernel has no SELinux.
    type: bool
    default: false
notes:
  - Needs C(semanage) and its Python bindings, which are in package C(policycoreutils-python-utils) on Debian and on the
    family of Red Hat, and with them Ansible must use the distribution's own Python.
  - O(modules[].te) also needs C(checkpolicy), on Debian C(semodule-utils) as well, and O(modules[].needed_when) needs
    C(python3-setools).
  - O(ports) does what M(community.general.seport) does for one type at a time, and O(booleans) what
    M(ansible.posix.seboolean) does with C(persistent=true).
seealso:
  - module: community.general.seport
  - module: community.general.sefcontext
  - module: ansible.posix.seboolean
"""

EXAMPLES = r"""
- name: Label ports as community.general.seport does, all at once
  gatehouse.mail.semanage:
    ports:
      - port: "32841"
        setype: smtp_port_t
      - port: 8894-8895
        proto: tcp
        setype: milter_port_t

- name: Teach SELinux all that a mail gateway needs, in one transaction
  gatehouse.mail.semanage:
    ports:
      - port: "32841"
        setype: smtp_port_t
    fcontexts:
      - target: /srv/mail(/.*)?
        setype: mail_spool_t
    booleans:
      - name: antivirus_can_scan_system
        value: true
    restorecon: true

- name: Let the virus scanner bind its milter's port, where the policy does not already
  gatehouse.mail.semanage:
    modules:
      - name: gatehouse_clamav_milter
        te: |
          module gatehouse_clamav_milter 1.0;
          require {
              type antivirus_t;
              type milter_port_t;
              class tcp_socket name_bind;
          }
          allow antivirus_t milter_port_t:tcp_socket name_bind;
        needed_when:
          source: antivirus_t
          target: milter_port_t
          class: tcp_socket
          permission: name_bind

- name: Take them back
  gatehouse.mail.semanage:
    ports:
      - port: "32841"
        state: absent
    modules:
      - name: gatehouse_clamav_milter
        state: absent
"""

RETURN = r"""
commands:
  description: The lines for C(semanage import); empty when nothing differs. Modules are files of the run.
  returned: success
  type: list
  elements: str
  sample: ["port -a -t smtp_port_t -p tcp 32841"]
unneeded:
  description: Modules that were not installed since the policy grants what they are for.
  returned: success
  type: list
  elements: str
  sample: [gatehouse_clamav_milter]
reloaded:
  description: Whether the kernel was given the new policy.
  returned: success
  type: bool
  sample: true
restored:
  description: Files that C(restorecon) gave another type; in check mode those that it would now.
  returned: success
  type: list
  elements: str
  sample: [/srv/mail/alice]
"""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gatehouse.mail.plugins.module_utils import _semanage as core
from ansible_collections.gatehouse.mail.plugins.module_utils._semanage import (
    Change,
    Module,
    PolicyError,
    PortKey,
    Store,
)

Run = Callable[..., tuple[int, str, str]]
Item = Mapping[str, Any]

#: Reads what semodule_package writes and gives CIL; libsemanage runs it for each module that is not CIL.
HLL = "/usr/libexec/selinux/hll/pp"


class Tools(NamedTuple):
    """How to run commands, where they are, and a folder that goes away with this run."""

    run: Run
    find: Callable[[str], str | None]
    folder: str

    def path(self, name: str, package: str) -> str:
        found = self.find(name)
        if not found:
            raise PolicyError(name, "none on this host", f"package {package}")
        return found


class Bindings(NamedTuple):
    """semanage's own Python modules."""

    seobject: Any
    sepolicy: Any
    selinux: Any


def bindings() -> Bindings:
    try:
        import selinux
        import seobject
        import sepolicy
    except ImportError as error:
        raise PolicyError(
            f"Python module {error.name}",
            "none for Ansible's Python on this host",
            "package policycoreutils-python-utils",
        ) from None
    return Bindings(seobject, sepolicy, selinux)


def read_store(python: Bindings, tools: Tools, with_modules: bool) -> Store:
    """What the store says now."""
    seobject = python.seobject
    try:
        ports, fcontexts, booleans = seobject.portRecords(), seobject.fcontextRecords(), seobject.booleanRecords()
    except ValueError as error:
        raise PolicyError(
            "the SELinux store",
            f"that semanage says: {error}",
            "package selinux-policy-targeted (EL), selinux-policy-default",
        ) from None
    try:
        local_ports = ports.get_all(locallist=True)
        return Store(
            # A port of the policy that was modified is listed twice.
            ports={PortKey(*key): found[0] for key, found in {**ports.get_all(), **local_ports}.items()},
            local_ports=frozenset(PortKey(*key) for key in local_ports),
            fcontexts={key: found[2] if found else core.NO_CONTEXT for key, found in fcontexts.get_all().items()},
            local_fcontexts=frozenset(fcontexts.get_all(locallist=True)),
            booleans={name: agreed(values) for name, values in booleans.get_all().items()},
            modules=installed(tools) if with_modules else {},
            equivalences=fcontexts.equiv_dist,
            port_types=frozenset(ports.valid_types),
            file_types=frozenset(fcontexts.valid_types),
        )
    finally:
        # The next reader shall see what semanage wrote in the meantime.
        seobject.semanage_disconnect(seobject.semanageRecords.handle)
        seobject.semanageRecords.handle = None


def agreed(values: Sequence[int]) -> bool | None:
    """What the store says of a boolean and what the kernel does; None while they differ."""
    return bool(values[0]) if len(set(values)) == 1 else None


def installed(tools: Tools) -> dict[str, str]:
    code, stdout, stderr = tools.run([tools.path("semodule", "policycoreutils"), "-lfull", "-m"])
    if code != 0:
        raise PolicyError("the SELinux store", f"that semodule says: {stderr.strip()}", "a list of modules")
    return core.checksums(stdout)


def compiled(item: Item, tools: Tools) -> Module:
    """The module in CIL, in a file of its own; PolicyError with the compiler's words where it is none."""
    name = item["name"]
    if item["state"] == "absent":
        return Module(name, "", None)
    file = os.path.join(tools.folder, f"{name}.cil")
    text = item["cil"] if item["cil"] is not None else from_te(name, item["te"], tools)
    with open(file, "w", encoding="utf-8") as cil:
        cil.write(text)
    return Module(name, file, "sha256:" + hashlib.sha256(text.encode()).hexdigest())


def from_te(name: str, text: str, tools: Tools) -> str:
    base = os.path.join(tools.folder, name)
    with open(f"{base}.te", "w", encoding="utf-8") as source:
        source.write(text)
    for command in (
        [tools.path("checkmodule", "checkpolicy"), "-M", "-m", "-o", f"{base}.mod", f"{base}.te"],
        [
            tools.path("semodule_package", "policycoreutils (EL), semodule-utils (Debian)"),
            "-o",
            f"{base}.pp",
            "-m",
            f"{base}.mod",
        ],
        [HLL, f"{base}.pp", f"{base}.cil"],
    ):
        code, stdout, stderr = tools.run(command)
        if code != 0:
            words = " ".join((stdout + stderr).replace(f"{tools.folder}/", "").split())
            raise PolicyError(
                f"module {name}", f"that {os.path.basename(command[0])} says: {words}", "a module that compiles"
            )
    with open(f"{base}.cil", encoding="utf-8") as cil:
        return cil.read()


def allows(rule: Mapping[str, str], name: str) -> bool:
    """Whether the policy grants a permission, whatever the booleans."""
    try:
        import setools
    except ImportError:
        raise PolicyError(
            f"module {name}", "no Python module setools on this host", "package python3-setools"
        ) from None
    try:
        query = setools.TERuleQuery(
            setools.SELinuxPolicy(),
            ruletype=["allow"],
            source=rule["source"],
            target=rule["target"],
            tclass=[rule["class"]],
            perms=[rule["permission"]],
        )
        return any(not is_conditional(found, setools) for found in query.results())
    except setools.exception.SEToolsException as error:
        raise PolicyError(f"module {name}", f"in needed_when: {error}", "names of the host's policy") from None


def is_conditional(rule: Any, setools: Any) -> bool:
    try:
        return bool(rule.conditional)
    except setools.exception.RuleNotConditional:
        return False


def real_types(items: Sequence[Item], python: Bindings) -> list[dict[str, Any]]:
    """The items with the types' own names, since the store does not know aliases."""
    return [{**item, "setype": python.sepolicy.get_real_type_name(item["setype"])} for item in items]


def transact(changes: Sequence[Change], tools: Tools, reload: bool) -> None:
    """All changes or none, by one semanage."""
    semanage = tools.path("semanage", "policycoreutils-python-utils")
    command = [semanage, "import"] if reload else [semanage, "import", "-N"]
    code, _stdout, stderr = tools.run(command, data=core.script(changes))
    if code != 0:
        words = " ".join(stderr.replace(f"{tools.folder}/", "").split())
        raise PolicyError(
            core.blamed(changes, stderr), f"that semanage says: {words}", "a change that the policy takes"
        )


def restore(targets: Sequence[str], tools: Tools, check_mode: bool) -> list[tuple[str, str, str]]:
    """Give the files below these targets the types of the store; (path, before, after) of each that had another."""
    paths = sorted({core.fixed_part(target) for target in targets})
    there = [path for path in paths if os.path.lexists(path)]
    if not there:
        return []
    restorecon = tools.path("restorecon", "policycoreutils")
    code, stdout, stderr = tools.run([restorecon, "-Rv", *(["-n"] if check_mode else []), *there])
    if code != 0:
        raise PolicyError(", ".join(there), f"that restorecon says: {stderr.strip()}", "files that take their types")
    return core.relabelled(stdout)


def converge(params: Mapping[str, Any], tools: Tools, warn: Callable[[str], None], check_mode: bool) -> dict[str, Any]:
    """Make it so, unless in check mode; the module's result."""
    core.check_modules(params["modules"])
    try:
        python = bindings()
    except PolicyError:
        # A fresh host in check mode: what brings semanage was not installed, and nothing was added to the policy.
        if check_mode and core.takes_back_only(params):
            return {"changed": False, "commands": [], "unneeded": [], "reloaded": False, "restored": [], "diff": {}}
        raise
    store = read_store(python, tools, bool(params["modules"]))
    ports = real_types(params["ports"], python)
    fcontexts = [
        {**item, "target": core.canonical(item["target"], store.equivalences)}
        for item in real_types(params["fcontexts"], python)
    ]
    unneeded = [
        item["name"]
        for item in params["modules"]
        if item["state"] == "present"
        and item["needed_when"]
        and item["name"] not in store.modules
        and allows(item["needed_when"], item["name"])
    ]
    modules = [compiled(item, tools) for item in params["modules"] if item["name"] not in unneeded]

    def differences(there: Store) -> list[Change]:
        return [
            *core.port_changes(ports, there),
            *core.fcontext_changes(fcontexts, there),
            *core.boolean_changes(params["booleans"], there),
            *core.module_changes(modules, there),
        ]

    changes = differences(store)
    reload = bool(python.selinux.is_selinux_enabled())
    restored = []
    if changes and not check_mode:
        for warning in core.port_warnings(changes, store):
            warn(warning)
        transact(changes, tools, reload)
        # semanage passes over a module that libsemanage does not take.
        lost = differences(read_store(python, tools, bool(params["modules"])))
        if lost:
            names = ", ".join(change.item for change in lost)
            raise PolicyError(names, "that semanage took it and did not keep it", "a store that has it")
    if params["restorecon"] and reload:
        restored = restore([item["target"] for item in fcontexts], tools, check_mode)
    before = core.shown(changes, "before") + "".join(f"{path}: {old}\n" for path, old, _new in restored)
    after = core.shown(changes, "after") + "".join(f"{path}: {new}\n" for path, _old, new in restored)
    return {
        "changed": bool(changes or restored),
        "commands": core.script(changes).replace(f"{tools.folder}/", "").splitlines(),
        "unneeded": unneeded,
        "reloaded": bool(changes) and reload and not check_mode,
        "restored": [path for path, _old, _new in restored],
        "diff": {"before": before, "after": after},
    }


def main() -> None:
    state = {"type": "str", "choices": ["present", "absent"], "default": "present"}
    text = {"type": "str"}
    name = {"type": "str", "required": True}
    module = AnsibleModule(
        argument_spec={
            "ports": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "port": name,
                    "proto": {"type": "str", "choices": ["tcp", "udp", "dccp", "sctp"], "default": "tcp"},
                    "setype": text,
                    "state": state,
                },
                "required_if": [("state", "present", ["setype"])],
            },
            "fcontexts": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "target": name,
                    "ftype": {"type": "str", "choices": list(core.FILE_KINDS), "default": "a"},
                    "setype": text,
                    "state": state,
                },
                "required_if": [("state", "present", ["setype"])],
            },
            "booleans": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {"name": name, "value": {"type": "bool"}, "state": state},
                "required_if": [("state", "present", ["value"])],
            },
            "modules": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": name,
                    "cil": text,
                    "te": text,
                    "needed_when": {
                        "type": "dict",
                        "options": {"source": name, "target": name, "class": name, "permission": name},
                    },
                    "state": state,
                },
            },
            "restorecon": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    tools = Tools(module.run_command, module.get_bin_path, module.tmpdir)
    try:
        result = converge(module.params, tools, module.warn, module.check_mode)
    except (PolicyError, OSError) as error:
        module.fail_json(msg=str(error))
    if not module._diff:
        del result["diff"]
    module.exit_json(**result)


if __name__ == "__main__":
    main()
