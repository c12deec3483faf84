#!/usr/bin/env python3
"""Take the types hash and btree out of this Postfix, which has Berkeley DB compiled in, as EL 10's has not.

What names one is answered with "unsupported" by each of its programs. default_database_type becomes "none" where
main.cf does not say it, but not to postconf, which has defaults of its own.
"""

import platform
import struct
from pathlib import Path

RELATIVE = {"x86_64": 8, "aarch64": 1027}[platform.machine()]  # a kind of relocation, which an address follows
READS, WRITES = (Path(f"/usr/lib64/postfix/libpostfix-{name}.so") for name in ("util", "global"))

# Types that can be read: a table has the addresses of their names. An address that is moved to the end of the name
# leaves the name as it is, since the linker made one of hash and the end of texthash.
content = READS.read_bytes()
for name in (b"hash\0", b"btree\0"):
    place = content.index(name)
    old, new = (struct.pack("<QQ", RELATIVE, address) for address in (place, place + len(name) - 1))
    content = content.replace(old, new)
READS.write_bytes(content)

# Types that can be written.
content = WRITES.read_bytes()
WRITES.write_bytes(content.replace(b"\0hash\0", b"\0none\0").replace(b"\0btree\0", b"\0none\0\0"))
