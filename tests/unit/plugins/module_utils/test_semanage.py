# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How an SELinux store differs from what is wanted of it."""

import pytest
from ansible_collections.gatehouse.mail.plugins.module_utils._semanage import (
    Module,
    PolicyError,
    PortKey,
    Store,
    blamed,
    boolean_changes,
    canonical,
    check_modules,
    checksums,
    fcontext_changes,
    fixed_part,
    module_changes,
    port_changes,
    port_key,
    port_type,
    port_warnings,
    relabelled,
    script,
    shown,
)


def key(low, high=None, proto="tcp"):
    return PortKey(low, high or low, proto)


STORE = Store(
    ports={
        key(25): "smtp_port_t",
        key(8891): "milter_port_t",
        key(8892): "keylime_port_t",
        key(1024, 32767): "unreserved_port_t",
        key(9000, 9009): "http_port_t",
        key(9005): "smtp_port_t",
        key(9100): "http_port_t",
        key(9200, 9209): "smtp_port_t",
        key(9205): "smtp_port_t",
    },
    local_ports=frozenset({key(9000, 9009), key(9100)}),
    fcontexts={("/etc/postfix.*", "all files"): "postfix_etc_t", ("/srv/x(/.*)?", "all files"): "mail_spool_t"},
    local_fcontexts=frozenset({("/srv/x(/.*)?", "all files")}),
    booleans={"jit": False, "scan": True, "torn": None},
    modules={"there": "sha256:aa", "off": "disabled sha256:aa"},
    equivalences={"/run": "/var/run"},
    port_types=frozenset({"smtp_port_t", "milter_port_t", "http_port_t", "unreserved_port_t"}),
    file_types=frozenset({"mail_spool_t", "postfix_etc_t"}),
)


def port(number, setype="milter_port_t", proto="tcp", state="present"):
    return {"port": number, "proto": proto, "setype": setype, "state": state}


def boolean(name, value=None, state="present"):
    return {"name": name, "value": value, "state": state}


def fcontext(target, setype="mail_spool_t", ftype="a", state="present"):
    return {"target": target, "ftype": ftype, "setype": setype, "state": state}


PORTS = {
    "new": (port("8894"), ["port -a -t milter_port_t -p tcp 8894"]),
    "new range": (port("9300-9309"), ["port -a -t milter_port_t -p tcp 9300-9309"]),
    "new for udp": (port("8891", proto="udp"), ["port -a -t milter_port_t -p udp 8891"]),
    "the policy's own is modified": (port("25"), ["port -m -t milter_port_t -p tcp 25"]),
    "an added one is modified": (port("9100"), ["port -m -t milter_port_t -p tcp 9100"]),
    "as wanted": (port("8891"), []),
    "as wanted within an added range": (port("9003", "http_port_t"), []),
    "as wanted within a range of the policy": (port("9201", "smtp_port_t"), []),
    "gone": (port("9100", None, state="absent"), ["port -d -p tcp 9100"]),
    "gone, of this type": (port("9100", "http_port_t", state="absent"), ["port -d -p tcp 9100"]),
    "gone, and somebody else's": (port("9100", "milter_port_t", state="absent"), []),
    "gone already": (port("9400", None, state="absent"), []),
    "the policy's own stays": (port("25", None, state="absent"), []),
}


@pytest.mark.parametrize("item, lines", PORTS.values(), ids=PORTS)
def test_a_port_takes_no_more_than_one_line(item, lines):
    assert [change.line for change in port_changes([item], STORE)] == lines


REFUSED_PORTS = {
    "word": ([port("smtp")], "port 'smtp': found no port"),
    "zero": ([port("0")], "port '0': found no port"),
    "too high": ([port("70000")], "port '70000': found no port"),
    "backwards": ([port("10-9")], "port '10-9': found no port"),
    "no port type": ([port("8894", "etc_t")], "port 8894/tcp: found setype etc_t, expected a port type"),
    "twice": ([port("8894"), port("8894", "smtp_port_t")], "port 8894/tcp: found port 8894/tcp in the same task"),
    "overlap": ([port("8894-8899"), port("8899")], "port 8899/tcp: found port 8894-8899/tcp in the same task"),
    "there and gone": ([port("9100"), port("9100", None, state="absent")], "port 9100/tcp: found port 9100/tcp in the"),
    "part of an added range": (
        [port("9003")],
        "port 9003/tcp: found port 9000-9009/tcp as http_port_t, which was added to the policy before and overlaps, "
        "expected that one gone (port: 9000-9009, proto: tcp, state: absent)",
    ),
}


@pytest.mark.parametrize("items, words", REFUSED_PORTS.values(), ids=REFUSED_PORTS)
def test_a_port_that_cannot_be_is_named(items, words):
    with pytest.raises(PolicyError) as refusal:
        port_changes(items, STORE)
    assert words in str(refusal.value)


def test_an_added_range_may_be_replaced_by_a_part_of_it():
    items = [port("9003", "http_port_t"), port("9000-9009", None, state="absent")]
    assert [change.line for change in port_changes(items, STORE)] == [
        "port -d -p tcp 9000-9009",
        "port -a -t http_port_t -p tcp 9003",
    ]


TYPES = {
    "exactly": (key(8891), "milter_port_t"),
    "the narrowest range": (key(8893), "unreserved_port_t"),
    "an added range before the policy": (key(9005), "http_port_t"),
    "a range of parts that agree": (key(9204, 9206), "smtp_port_t"),
    "a range of parts that differ": (key(8890, 8893), None),
    "nothing": (key(40000), None),
}


@pytest.mark.parametrize("wanted, setype", TYPES.values(), ids=TYPES)
def test_the_type_of_a_port_is_what_the_kernel_takes(wanted, setype):
    assert port_type(wanted, STORE) == setype


def test_a_range_that_takes_in_another_service_is_told():
    changes = port_changes([port("8890-8893")], STORE)
    assert port_warnings(changes, STORE) == [
        "port 8890-8893/tcp as milter_port_t takes in port 8892/tcp, which the policy has as keylime_port_t"
    ]
    assert port_warnings(port_changes([port("8894"), port("25")], STORE), STORE) == []


def test_a_label_of_somebody_else_is_told():
    assert port_warnings(port_changes([port("9100")], STORE), STORE) == [
        "port 9100/tcp as milter_port_t was http_port_t, which was added to the policy before"
    ]


def test_a_port_that_is_to_go_twice_goes_once():
    gone = [port("9100", None, state="absent"), port("9100", "http_port_t", state="absent")]
    assert len(port_changes(gone, STORE)) == 1


def test_a_port_that_two_options_had_is_taken_back_by_either_type():
    gone = [port("9100", "http_port_t", state="absent"), port("9100", "milter_port_t", state="absent")]
    assert [len(port_changes(items, STORE)) for items in (gone, gone[::-1])] == [1, 1]


FCONTEXTS = {
    "new": (fcontext("/srv/y(/.*)?"), ["fcontext -a -f a -t mail_spool_t '/srv/y(/.*)?'"]),
    "other kind of file": (fcontext("/srv/x(/.*)?", ftype="d"), ["fcontext -a -f d -t mail_spool_t '/srv/x(/.*)?'"]),
    "no context": (fcontext("/srv/y", "<<none>>"), ["fcontext -a -f a -t <<none>> '/srv/y'"]),
    "the policy's own is modified": (fcontext("/etc/postfix.*"), ["fcontext -m -f a -t mail_spool_t '/etc/postfix.*'"]),
    "as wanted": (fcontext("/srv/x(/.*)?"), []),
    "gone": (fcontext("/srv/x(/.*)?", None, state="absent"), ["fcontext -d -f a '/srv/x(/.*)?'"]),
    "gone, of this type": (fcontext("/srv/x(/.*)?", state="absent"), ["fcontext -d -f a '/srv/x(/.*)?'"]),
    "gone, and somebody else's": (fcontext("/srv/x(/.*)?", "etc_t", state="absent"), []),
    "gone already": (fcontext("/srv/y", None, state="absent"), []),
    "the policy's own stays": (fcontext("/etc/postfix.*", None, state="absent"), []),
}


@pytest.mark.parametrize("item, lines", FCONTEXTS.values(), ids=FCONTEXTS)
def test_a_file_context_takes_no_more_than_one_line(item, lines):
    assert [change.line for change in fcontext_changes([item], STORE)] == lines


@pytest.mark.parametrize("target", ["srv", "/srv/a b", "/srv/'", '/srv/"', "/srv\nport -D"])
def test_a_target_that_semanage_would_split_is_refused(target):
    with pytest.raises(PolicyError, match="found another target"):
        fcontext_changes([fcontext(target)], STORE)


def test_an_item_stands_once():
    with pytest.raises(PolicyError, match="found it twice"):
        fcontext_changes([fcontext("/srv/y"), fcontext("/srv/y")], STORE)
    with pytest.raises(PolicyError, match="boolean jit: found it twice"):
        boolean_changes([boolean("jit", True), boolean("jit", False)], STORE)


def test_a_file_type_is_one_of_the_policy():
    with pytest.raises(PolicyError, match=r"fcontext /srv/y \(all files\): found setype smtp_port_t"):
        fcontext_changes([fcontext("/srv/y", "smtp_port_t")], STORE)


BOOLEANS = {
    "on": (boolean("jit", True), ["boolean -m --on jit"]),
    "off": (boolean("scan", False), ["boolean -m --off scan"]),
    "as wanted": (boolean("scan", True), []),
    "as wanted in the store alone": (boolean("torn", True), ["boolean -m --on torn"]),
    "taken back": (boolean("scan", state="absent"), ["boolean -m --off scan"]),
    "taken back, whatever its value": (boolean("scan", True, state="absent"), ["boolean -m --off scan"]),
    "taken back already": (boolean("jit", state="absent"), []),
    "taken back, and none of the policy's": (boolean("nonesuch", state="absent"), []),
}


@pytest.mark.parametrize("item, lines", BOOLEANS.values(), ids=BOOLEANS)
def test_a_boolean_takes_no_more_than_one_line(item, lines):
    assert [change.line for change in boolean_changes([item], STORE)] == lines


def test_a_boolean_is_one_of_the_policy():
    with pytest.raises(PolicyError, match="boolean nonesuch: found none of that name"):
        boolean_changes([boolean("nonesuch", True)], STORE)


MODULES = {
    "new": (Module("new", "/t/new.cil", "sha256:bb"), ["module -a /t/new.cil"]),
    "other text": (Module("there", "/t/there.cil", "sha256:bb"), ["module -a /t/there.cil"]),
    "same text": (Module("there", "/t/there.cil", "sha256:aa"), []),
    "disabled": (Module("off", "/t/off.cil", "sha256:aa"), ["module -e off"]),
    "disabled, other text": (Module("off", "/t/off.cil", "sha256:bb"), ["module -a /t/off.cil\nmodule -e off"]),
    "gone": (Module("there", "", None), ["module -r there"]),
    "disabled and gone": (Module("off", "", None), ["module -r off"]),
    "gone already": (Module("new", "", None), []),
}


@pytest.mark.parametrize("module, lines", MODULES.values(), ids=MODULES)
def test_a_module_takes_no_more_than_one_line(module, lines):
    assert [change.line for change in module_changes([module], STORE)] == lines


def module(name, cil=None, te=None, state="present"):
    return {"name": name, "cil": cil, "te": te, "state": state}


REFUSED_MODULES = {
    "name": ([module("../x", "()")], r"module \.\./x: found another name"),
    "no text": ([module("x")], "module x: found neither cil nor te"),
    "two texts": ([module("x", "()", "module x 1;")], "module x: found cil and te"),
    "twice": ([module("x", "()"), module("x", "()")], "module x: found it twice"),
}


@pytest.mark.parametrize("items, words", REFUSED_MODULES.values(), ids=REFUSED_MODULES)
def test_a_module_that_cannot_be_is_named(items, words):
    with pytest.raises(PolicyError, match=words):
        check_modules(items)
    check_modules([module("x", "()"), module("y", te=""), module("z", state="absent")])


def test_modules_of_the_policy_are_not_ours():
    listing = "400 mine cil sha256:aa\n100 mine pp sha256:bb\n400 off pp disabled sha256:cc\n100 other pp sha256:dd\n"
    assert checksums(listing) == {"mine": "sha256:aa", "off": "disabled sha256:cc"}


def test_what_restorecon_says_is_read():
    said = (
        "Would relabel /run/x y from system_u:object_r:var_run_t:s0 to system_u:object_r:stunnel_var_run_t:s0\n"
        "/srv/z not reset as customized by admin to system_u:object_r:usr_t:s0\n"
        "Relabeled /srv/x from system_u:object_r:usr_t:s0 to system_u:object_r:mail_spool_t:s0\n"
    )
    assert [path for path, _before, _after in relabelled(said)] == ["/run/x y", "/srv/x"]


def test_changes_are_shown_as_items_and_done_as_lines():
    changes = [*port_changes([port("25")], STORE), *fcontext_changes([fcontext("/srv/y")], STORE)]
    assert shown(changes, "before") == "port 25/tcp: smtp_port_t\nfcontext /srv/y (all files): not there\n"
    assert shown(changes, "after") == "port 25/tcp: milter_port_t\nfcontext /srv/y (all files): mail_spool_t\n"
    assert script(changes) == "port -m -t milter_port_t -p tcp 25\nfcontext -a -f a -t mail_spool_t '/srv/y'\n"


def test_a_complaint_is_laid_at_the_item_that_it_names():
    changes = [*port_changes([port("8894")], STORE), *boolean_changes([boolean("jit", True)], STORE)]
    assert blamed(changes, "ValueError: Port tcp/8894 already defined") == "port 8894/tcp"
    assert blamed(changes, "OSError: Error") == "port 8894/tcp, boolean jit"


PATHS = {
    "/srv/mail(/.*)?": "/srv/mail",
    "/srv/mail": "/srv/mail",
    r"/etc/aliases\.lmdb": "/etc/aliases.lmdb",
    "/srv/mail[0-9]+(/.*)?": "/srv",
    "/srv/mail/.*": "/srv/mail",
    "/srvx?": "/",
    r"/srv/\d+": "/srv",
}


@pytest.mark.parametrize("target, path", PATHS.items())
def test_the_path_below_which_a_target_matches(target, path):
    assert fixed_part(target) == path


def test_a_port_key_reads_as_its_port():
    assert [str(port_key(text, "tcp")) for text in ("25", "25-25", "8890-8899")] == [
        "25/tcp",
        "25/tcp",
        "8890-8899/tcp",
    ]


@pytest.mark.parametrize(
    "target, stored",
    [
        ("/run/x(/.*)?", "/var/run/x(/.*)?"),
        ("/var/run/x(/.*)?", "/var/run/x(/.*)?"),
        ("/running/x", "/running/x"),
        ("/run", "/run"),
    ],
)
def test_a_path_has_the_name_that_the_policy_wants(target, stored):
    assert canonical(target, STORE.equivalences) == stored
