"""Lets tests import what role dmarc puts onto a host."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[4] / "roles/dmarc/files/usr/local/lib/gatehouse-dmarc"))
