"""Lets tests import what role awstats puts onto a host."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[4] / "roles/awstats/files/usr/local/lib/gatehouse-statistics"))
