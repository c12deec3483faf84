# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""See that postgrey remembers whom it told to come again, and restart it where it does not.

When its disk is full it goes on saying "come again" and notes down nothing, so strangers would wait forever. Restarted
without room it does not start, and mail is taken without it, until there is room. One that hangs is restarted as well.
"""

import json
import secrets
import socket
import subprocess
import time

SETTINGS = "/etc/gatehouse/greylist-probe.json"


def request(mark, when):
    """What Postfix would ask of a stranger with this mark (SMTPD_POLICY_README), as of a time."""
    question = {
        "request": "smtpd_access_policy",
        "client_address": f"2001:db8::{mark[:4]}",
        "client_name": "gatehouse-greylist-probe",
        "sender": f"x{mark}@invalid",
        "recipient": "postgrey@invalid",
        "policy_test_time": when,
    }
    return "".join(f"{key}={value}\n" for key, value in question.items()) + "\n"


def times(now, delay, max_age):
    """When a stranger comes, and when he comes again. Older than all that counts (max_age is in days), so that the next
    clean-up takes it away."""
    first = int(now) - (max_age + 1) * 86400
    return first, first + delay


def waits(action):
    """Whether postgrey tells the stranger to come again."""
    return action.startswith("action=DEFER_IF_PERMIT")


def ask(stream, question):
    """The action for a request."""
    stream.write(question.encode())
    stream.flush()
    answer = stream.readline()
    stream.readline()
    return answer.decode("utf-8", "replace").strip()


def remembers(settings):
    first, again = times(time.time(), settings["delay"], settings["max_age"])
    mark = secrets.token_hex(7)
    where = settings["address"], settings["port"]
    # It also answers nobody while it removes old entries, once a night.
    with socket.create_connection(where, timeout=60) as connection, connection.makefile("rwb") as stream:
        ask(stream, request(mark, first))
        return not waits(ask(stream, request(mark, again)))


def main():
    with open(SETTINGS, encoding="utf-8") as file:
        settings = json.load(file)
    try:
        wrong = "" if remembers(settings) else "postgrey forgets whom it told to come again"
    except ConnectionRefusedError:
        wrong = ""  # it is stopped, or being started: mail is taken
    except OSError as error:
        wrong = f"postgrey does not answer ({error})"
    if wrong:
        print(f"{wrong}; it is restarted")
        subprocess.run(["systemctl", "--no-block", "try-restart", "postgrey"], check=True)


if __name__ == "__main__":
    main()
