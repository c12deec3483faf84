# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: smtp_info
short_description: Ask an SMTP or LMTP server whom it would take mail for
description:
  - Begins a message for each recipient, and takes it back (C(RSET), RFC 5321 section 4.1.1.5). Nothing is sent.
  - Where the server asks milters, each of them must have answered for a recipient to be taken.
version_added: 0.1.0
author:
  - gatehouse.mail contributors (@gatehouse)
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  platform:
    platforms: posix
options:
  host:
    description:
      - The name or address of an SMTP server.
      - One of O(host) and O(path) must be given.
    type: str
  path:
    description: The unix socket of an LMTP server.
    type: path
  port:
    description: Its port.
    type: int
    default: 25
  helo:
    description: What to say in C(EHLO) or C(LHLO).
    type: str
    default: localhost
  sender:
    description: The envelope's sender. By default the empty one, that of a bounce.
    type: str
    default: ''
  recipients:
    description: Whom to ask for, each in a transaction of its own. Without any the greeting is all that is asked.
    type: list
    elements: str
    default: []
  wait:
    description: >-
      For how many seconds to ask again while there is no answer, or that of a server in trouble (421 and 451, RFC 5321
      section 4.2.3).
    type: int
    default: 0
"""

EXAMPLES = r"""
- name: Ask for a mailbox and for nobody
  gatehouse.mail.smtp_info:
    host: 127.0.0.1
    recipients: [alice@example.org, nobody-here@example.org]
    wait: 60
  register: answers
"""

RETURN = r"""
replies:
  description:
    - For each of O(recipients), in their order, the reply that decided, to the connection, C(EHLO), C(MAIL) or C(RCPT).
    - A code of 0 means that there was no answer, and the text says why.
  returned: always
  type: list
  elements: dict
  contains:
    recipient:
      description: The recipient.
      type: str
    code:
      description: The reply's code (RFC 5321 section 4.2).
      type: int
    text:
      description: Its text.
      type: str
  sample: [{recipient: alice@example.org, code: 250, text: 2.1.5 Ok}]
greeting:
  description: The text of the greeting; empty where there was none.
  returned: always
  type: str
  sample: mx1.example.org ESMTP Postfix
"""

import smtplib
import time
from collections.abc import Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule

TIMEOUT = 120  # seconds for one reply; longer than Postfix waits for a milter
PAUSE = 1  # seconds
TROUBLE = (0, 421, 451)


def ask(server: str, port: int, helo: str, sender: str, recipients: Sequence[str]) -> tuple[str, list[tuple[int, str]]]:
    """The greeting, and for each recipient (code, text) of the reply that decided; code 0 and why where none came.

    server: a name or an address, or the path of a unix socket, where LMTP is spoken.
    """
    greeting = ""
    kind = smtplib.LMTP if server.startswith("/") else smtplib.SMTP
    client = kind(local_hostname=helo)
    client.timeout = TIMEOUT
    try:
        code, said = client.connect(server, port)
        if code != 220:
            return greeting, [(code, _text(said))] * len(recipients)
        greeting = _text(said)
        code, said = client.ehlo()
        if code != 250:
            return greeting, [(code, _text(said))] * len(recipients)
        replies = []
        for recipient in recipients:
            code, said = client.mail(sender)
            if code == 250:
                code, said = client.rcpt(recipient)
            replies.append((code, _text(said)))
            client.rset()
        client.quit()
    except (OSError, smtplib.SMTPException) as error:
        return greeting, [(0, str(error))] * len(recipients)
    finally:
        client.close()
    return greeting, replies


def _text(said: bytes) -> str:
    return said.decode("utf-8", "replace")


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "host": {"type": "str"},
            "path": {"type": "path"},
            "port": {"type": "int", "default": 25},
            "helo": {"type": "str", "default": "localhost"},
            "sender": {"type": "str", "default": ""},
            "recipients": {"type": "list", "elements": "str", "default": []},
            "wait": {"type": "int", "default": 0},
        },
        mutually_exclusive=[("host", "path")],
        required_one_of=[("host", "path")],
        supports_check_mode=True,
    )
    wanted: dict[str, Any] = {name: module.params[name] for name in ("port", "helo", "sender", "recipients")}
    wanted["server"] = module.params["path"] or module.params["host"]
    end = time.monotonic() + module.params["wait"]
    greeting, replies = ask(**wanted)
    while (not greeting or any(code in TROUBLE for code, _said in replies)) and time.monotonic() < end:
        time.sleep(PAUSE)
        greeting, replies = ask(**wanted)
    told = [
        {"recipient": recipient, "code": code, "text": said}
        for recipient, (code, said) in zip(wanted["recipients"], replies)
    ]
    module.exit_json(changed=False, greeting=greeting, replies=told)


if __name__ == "__main__":
    main()
