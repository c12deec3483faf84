# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The judge of a gateway: whose mail a message is. Installed by role dmarc of gatehouse.mail.

reading   what a message says of itself: pure functions, one reading of each field
policy    DMARC records and the verdict: pure functions
sender    SPF, by pyspf
resolver  DNS, by dnspython
milter    the daemon
"""
