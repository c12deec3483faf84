"""What the mail host says to those who speak IMAP, LMTP and ManageSieve to it: the same, whichever Dovecot it is.

Each row is a dialogue: commands, each with its lines, and an expression for the answer to the last one.
"""

from __future__ import annotations

import base64
import json
import re
import uuid

import pytest

BOB = "bob@example.org"
TEXT = "From: <carol@sender.example>\r\nSubject: {mark}\r\nMessage-ID: <{mark}@sender.example>\r\n\r\nhello"
# Runs on a gateway, as Postfix would speak: the replies to the last command, to a text as many as there are recipients.
LMTP_CLIENT = """
import json, smtplib, sys
order = json.load(sys.stdin)
with smtplib.LMTP(order["socket"]) as client:
    taken = 0
    for line in order["send"]:
        client.send(line.encode() + b"\\r\\n")
        said = [client.getreply()]
        taken += line.startswith("RCPT") and said[0][0] == 250
    if line.endswith("\\r\\n."):
        said += [client.getreply() for _recipient in range(taken - 1)]
print(json.dumps("\\n".join(f"{code} {text.decode()}" for code, text in said)))
"""
FOLDERS = ("Drafts", "Junk", "Sent", "Trash", "Archive")
IN = 'LOGIN {bob} "{password}"'
PUT_IN = ("APPEND {mark} {{length}}", "{text}")
NEW = [IN, "CREATE {mark}", PUT_IN, "SELECT {mark}"]
IMAP = {
    "what it can do before a login": (
        ["CAPABILITY"],
        r"^\* CAPABILITY (?=.* AUTH=PLAIN AUTH=LOGIN)(?!.*LOGINDISABLED)(?!.* AUTH=(?!PLAIN|LOGIN)).*\r\na OK",
    ),
    "a login": ([IN], r"\ba OK (\[CAPABILITY .*\] )?Logged in"),
    "a login in capital letters": (['LOGIN BOB@EXAMPLE.ORG "{password}"'], r"^.*a OK .*Logged in"),
    "a wrong password": (["LOGIN {bob} wrong"], r"^a NO \[AUTHENTICATIONFAILED\]"),
    "nobody's name": (['LOGIN nobody@example.org "{password}"'], r"^a NO \[AUTHENTICATIONFAILED\]"),
    "a name without a domain": (['LOGIN bob "{password}"'], r"^a NO \[AUTHENTICATIONFAILED\]"),
    "an alias": (['LOGIN info@example.org "{password}"'], r"^a NO \[AUTHENTICATIONFAILED\]"),
    "an address with an extension": (['LOGIN bob+x@example.org "{password}"'], r"^a NO \[AUTHENTICATIONFAILED\]"),
    "AUTHENTICATE PLAIN": (["AUTHENTICATE PLAIN {plain}"], r"a OK .*Logged in"),
    "AUTHENTICATE PLAIN, asked for": (
        [("AUTHENTICATE PLAIN", "{plain}")],
        r"^\+ \r\n(\* CAPABILITY .*\r\n)?a OK .*Logged in",
    ),
    "AUTHENTICATE LOGIN": ([("AUTHENTICATE LOGIN", "{name64}", "{password64}")], r"a OK .*Logged in"),
    "AUTHENTICATE as somebody else": (["AUTHENTICATE PLAIN {other}"], r"^a NO \["),
    "a mechanism that is not offered": (["AUTHENTICATE CRAM-MD5"], r"^a NO "),
    "an empty password": (['LOGIN {bob} ""'], r"^a NO \[AUTHENTICATIONFAILED\]"),
    "a command before the login": (["SELECT INBOX"], r"^a BAD "),
    "STARTTLS under TLS": (["STARTTLS"], r"^a BAD "),
    "the folders": (
        [IN, 'LIST "" "*"'],
        "(?s)" + "".join(rf"(?=.*\\{name}\b.* {name}\r)" for name in FOLDERS) + r"(?=.* INBOX\r).*a OK",
    ),
    "the subscribed ones": (
        [IN, 'LSUB "" "*"'],
        r"(?s)(?=.*Drafts\r)(?=.*Junk\r)(?=.*Sent\r)(?=.*Trash\r)(?=.*Archive\r).*a OK Lsub completed",
    ),
    "the separator": ([IN, 'LIST "" ""'], r'^\* LIST \(\\Noselect\) "\." ""\r\na OK'),
    "the namespaces": ([IN, "NAMESPACE"], r'^\* NAMESPACE \(\("" "\."\)\) NIL NIL\r\na OK'),
    "the inbox": (
        [IN, "SELECT INBOX"],
        r"(?s)^\* FLAGS \(.*\* \d+ EXISTS\r\n.*\[UIDVALIDITY \d+\].*a OK \[READ-WRITE\]",
    ),
    "the inbox, to read": ([IN, "EXAMINE INBOX"], r"(?s)a OK \[READ-ONLY\]"),
    "a folder that is not there": ([IN, "SELECT Nowhere"], r"^a NO (\[NONEXISTENT\] )?Mailbox doesn't exist"),
    "a folder outside": ([IN, "CREATE ../x"], r"^a NO "),
    "a folder by its file name": ([IN, "SELECT /etc/passwd"], r"^a NO "),
    "a folder that comes": (
        [IN, "CREATE {mark}", "STATUS {mark} (MESSAGES UNSEEN)"],
        r"^\* STATUS \w+ \(MESSAGES 0 UNSEEN 0\)\r\na OK",
    ),
    "a folder that is there": ([IN, "CREATE {mark}", "CREATE {mark}"], r"^a NO \[ALREADYEXISTS\]"),
    "a folder below another": (
        [IN, "CREATE {mark}.below", 'LIST "" {mark}.%'],
        r'^\* LIST \(\\HasNoChildren\) "\." \w+\.below\r\na OK',
    ),
    "a folder of another name": (
        [IN, "CREATE {mark}", "RENAME {mark} {mark}x", 'LIST "" {mark}x'],
        r"^\* LIST .* \w+x\r\na OK",
    ),
    "a folder that goes": ([IN, "CREATE {mark}", "DELETE {mark}", 'LIST "" {mark}'], r"^a OK"),
    "the inbox cannot go": ([IN, "DELETE INBOX"], r"^a NO "),
    "a subscription": ([IN, "CREATE {mark}", "SUBSCRIBE {mark}", 'LSUB "" {mark}'], r"^\* LSUB .* \w+\r\na OK"),
    "a message that is put": ([IN, "CREATE {mark}", PUT_IN], r"^\+ OK\r\n(\* .*\r\n)*a OK \[APPENDUID \d+ 1\]"),
    "a message that is put nowhere": ([IN, PUT_IN], r"a NO \[TRYCREATE\]"),
    "its flags": (
        [IN, "CREATE {mark}", ("APPEND {mark} (\\Flagged) {{length}}", "{text}"), "SELECT {mark}", "FETCH 1 (FLAGS)"],
        r"^\* 1 FETCH \(FLAGS \((?=.*\\Flagged).*\)\)\r\na OK",
    ),
    "its size": ([*NEW, "FETCH 1 (RFC822.SIZE)"], r"^\* 1 FETCH \(RFC822.SIZE {length}\)\r\na OK"),
    "its header": (
        [*NEW, "FETCH 1 BODY.PEEK[HEADER.FIELDS (SUBJECT)]"],
        r"(?s)^\* 1 FETCH \(BODY\[HEADER.FIELDS \(SUBJECT\)\] \{\d+\}\r\nSubject: {mark}\r\n\r\n\)\r\na OK",
    ),
    "another flag": ([*NEW, "STORE 1 +FLAGS (\\Answered)"], r"^\* 1 FETCH \(FLAGS \((?=.*\\Answered).*\)\)\r\na OK"),
    "a flag in a folder to read": (
        [IN, "CREATE {mark}", PUT_IN, "EXAMINE {mark}", "STORE 1 +FLAGS (\\Answered)", "FETCH 1 (FLAGS)"],
        r"^\* 1 FETCH \(FLAGS \((?!.*\\Answered).*\)\)\r\na OK",
    ),
    "a message that is found": ([*NEW, "SEARCH SUBJECT {mark}"], r"^\* SEARCH 1\r\na OK"),
    "a message that is not there": (
        [IN, "CREATE {mark}", "SELECT {mark}", "SEARCH SUBJECT other"],
        r"^\* SEARCH\r\na OK",
    ),
    "a copy": ([*NEW, "COPY 1 Trash"], r"^a OK \[COPYUID \d+ 1 \d+\]"),
    "a move": ([*NEW, "MOVE 1 Trash"], r"^\* OK \[COPYUID \d+ 1 \d+\] .*\r\n\* 1 EXPUNGE\r\n(\* 0 RECENT\r\n)?a OK"),
    "a copy to nowhere": ([*NEW, "COPY 1 {mark}x"], r"^a NO \[TRYCREATE\]"),
    "an end for good": (
        [IN, "CREATE {mark}", ("APPEND {mark} (\\Deleted) {{length}}", "{text}"), "SELECT {mark}", "EXPUNGE"],
        r"^\* 1 EXPUNGE\r\n(\* 0 RECENT\r\n)?a OK",
    ),
    "no folder any more": ([IN, "SELECT INBOX", "UNSELECT", "FETCH 1 FLAGS"], r"^a BAD "),
    "waiting for mail": ([IN, "SELECT INBOX", ("IDLE", "DONE")], r"^\+ idling\r\n(\* .*\r\n)*a OK"),
    "what can be enabled": ([IN, "ENABLE QRESYNC"], r"^\* ENABLED QRESYNC\r\na OK"),
    "a command that nobody knows": ([IN, "FROBNICATE"], r"^a BAD "),
    "words without a sense": ([IN, "FETCH"], r"^a BAD "),
    "the quota": (
        [IN, "GETQUOTAROOT INBOX"],
        r'^\* QUOTAROOT INBOX "User quota"\r\n\* QUOTA "User quota" \(STORAGE \d+ \d+\)\r\na OK',
    ),
    "a quota of one's own": ([IN, 'SETQUOTA "User quota" (STORAGE 1000000000)'], r"^a NO "),
    "a goodbye": ([IN, "LOGOUT"], r"^\* BYE "),
}
FROM, TO = "MAIL FROM:<carol@sender.example>", "RCPT TO:<bob@example.org>"
LMTP = {
    "what it can do": (
        ["LHLO mx1.example.org"],
        r"(?s)^250 store\.example\.org\n(?=.*PIPELINING)(?=.*ENHANCEDSTATUSCODES)(?=.*8BITMIME)",
    ),
    "EHLO": (["EHLO mx1.example.org"], r"^50[02] "),
    "a sender": (["LHLO x", FROM], r"^250 2\.1\.0 "),
    "nobody as the sender": (["LHLO x", "MAIL FROM:<>"], r"^250 2\.1\.0 "),
    "a sender without brackets": (["LHLO x", "MAIL FROM:carol@sender.example"], r"^501 5\.5\.4 "),
    "a recipient": (["LHLO x", FROM, TO], r"^250 2\.1\.5 "),
    "a recipient in capital letters": (["LHLO x", FROM, "RCPT TO:<BOB@EXAMPLE.ORG>"], r"^250 2\.1\.5 "),
    "a recipient with an extension": (["LHLO x", FROM, "RCPT TO:<bob+lists@example.org>"], r"^250 2\.1\.5 "),
    "a recipient whom nobody knows": (["LHLO x", FROM, "RCPT TO:<nobody@example.org>"], r"^550 5\.1\.1 "),
    "a recipient of another domain": (["LHLO x", FROM, "RCPT TO:<bob@example.com>"], r"^550 5\.1\.1 "),
    "a recipient before the sender": (["LHLO x", TO], r"^503 5\.5\.[01] "),
    "a text for nobody": (["LHLO x", FROM, "RCPT TO:<nobody@example.org>", "DATA"], r"^503 5\.5\.[01] "),
    "a text": (["LHLO x", FROM, TO, "DATA", "{text}\r\n."], r"^250 2\.0\.0 <bob@example\.org> .*Saved$"),
    "a text for two": (
        ["LHLO x", FROM, TO, "RCPT TO:<alice@example.org>", "DATA", "{text}\r\n."],
        r"^250 2\.0\.0 <bob@.*Saved\n250 2\.0\.0 <alice@.*Saved$",
    ),
    "a text for one and nobody": (
        ["LHLO x", FROM, "RCPT TO:<nobody@example.org>", TO, "DATA", "{text}\r\n."],
        r"^250 2\.0\.0 <bob@.*Saved$",
    ),
    "a new beginning": (["LHLO x", FROM, TO, "RSET", "DATA"], r"^503 5\.5\.[01] "),
    "a command that nobody knows": (["LHLO x", "FROBNICATE"], r"^50[02] 5\.5\.[12] "),
    "a goodbye": (["LHLO x", "QUIT"], r"^221 2\.0\.0 "),
}
SCRIPT = 'require "fileinto";\r\nfileinto "Junk";\r\n'
PUT = 'PUTSCRIPT "{mark}" {script}'
SIEVE = {
    "what it can do": (
        ["CAPABILITY"],
        r'(?s)^(?=.*"SIEVE" "(?!.*(vacation|reject|enotify|regex|editheader))[^"]*fileinto)(?!.*"NOTIFY").*OK',
    ),
    "a script that is checked": (["CHECKSCRIPT {script}"], r"^OK"),
    "one that is wrong": (['CHECKSCRIPT "if {"'], r"^NO "),
    "a script that is put": ([PUT], r"^OK"),
    "a name with a slash": (['PUTSCRIPT "../x" {script}'], r"^NO "),
    "the scripts": ([PUT, "LISTSCRIPTS"], r'(?s)^(?=.*"{mark}"\r\n).*OK'),
    "what a script says": (
        [PUT, 'GETSCRIPT "{mark}"'],
        r'(?s)^\{\d+\}\r\nrequire "fileinto";\r\nfileinto "Junk";\r\n\r\nOK',
    ),
    "a script that is nowhere": (['GETSCRIPT "{mark}"'], r"^NO \(NONEXISTENT\)"),
    "a script at work": ([PUT, 'SETACTIVE "{mark}"', "LISTSCRIPTS"], r'(?s)"{mark}" ACTIVE\r\n.*OK'),
    "a script at work cannot go": ([PUT, 'SETACTIVE "{mark}"', 'DELETESCRIPT "{mark}"'], r"^NO \(ACTIVE\)"),
    "no script at work": ([PUT, 'SETACTIVE "{mark}"', 'SETACTIVE ""', 'DELETESCRIPT "{mark}"'], r"^OK"),
    "another name": ([PUT, 'RENAMESCRIPT "{mark}" "{mark}x"', 'GETSCRIPT "{mark}x"'], r"(?s)^\{.*OK"),
    "room for a script": (['HAVESPACE "{mark}" 1000'], r"^OK"),
    "no room for one": (['HAVESPACE "{mark}" 99999999'], r"^NO \(QUOTA/"),
    "an extension that sends": (['CHECKSCRIPT "require \\"vacation\\"; vacation \\"x\\";"'], r"^NO "),
    "a goodbye": (["LOGOUT"], r"^OK"),
}


def filler(password):
    """A function that fills in the words of a row."""
    mark = f"d{uuid.uuid4().hex[:12]}"
    text = TEXT.replace("{mark}", mark)
    words = {
        "mark": mark, "text": text, "length": str(len(text)), "script": f"{{{len(SCRIPT)}+}}\r\n{SCRIPT}",
        "bob": BOB, "password": password, "name64": base64.b64encode(BOB.encode()).decode(),
        "password64": base64.b64encode(password.encode()).decode(),
        "plain": base64.b64encode(f"\0{BOB}\0{password}".encode()).decode(),
        "other": base64.b64encode(f"alice@example.org\0{BOB}\0{password}".encode()).decode(),
    }  # fmt: skip

    def fill(row):
        for name, word in words.items():
            row = row.replace(f"{{{name}}}", word)
        return row

    return fill


@pytest.fixture(scope="module")
def reader(lab):
    """How Bob's own program reaches the mail host; his folders and scripts are as they were in the end."""
    store, home = lab.store, "/var/spool/dovecot/vmail/example.org/bob"
    ca = store.out("cat", "/etc/pki/gatehouse/ca.crt")
    yield {"host": store.name, "address": store.mail_vpn_address, "ca": ca}
    folders = store.out("doveadm", "mailbox", "list", "-u", BOB).split()
    made = [name for name in folders if re.match(r"d[0-9a-f]{12}", name)]
    store.out("sh", "-c", f"doveadm mailbox delete -r -s -u {BOB} {' '.join(made)} || true")
    store.out("rm", "-rf", f"{home}/sieve", f"{home}/.dovecot.sieve")


@pytest.mark.parametrize("name", IMAP)
def test_imap(lab, reader, name):
    commands, expected = IMAP[name]
    fill = filler(lab.store.lab_passwords[BOB])
    lines = [[command] if isinstance(command, str) else command for command in commands]
    order = {**reader, "port": 993, "send": [[fill(line) for line in command] for command in lines]}
    said = lab.client.python("imap_dialogue.py", order)
    assert re.search(fill(expected), said[-1]), said


@pytest.mark.parametrize("name", LMTP)
def test_lmtp(lab, name):
    commands, expected = LMTP[name]
    fill = filler("")
    order = {"socket": f"/run/gatehouse-lmtp/{lab.store.name}", "send": [fill(command) for command in commands]}
    said = json.loads(lab.gateways[0].out("python3", "-c", LMTP_CLIENT, given=json.dumps(order)))
    assert re.search(fill(expected), said), said


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize("name", SIEVE)
def test_managesieve(lab, managesieve, name):
    commands, expected = SIEVE[name]
    fill = filler(lab.store.lab_passwords[BOB])
    said = managesieve(*map(fill, commands))
    assert re.search(fill(expected), said[-1]), said
