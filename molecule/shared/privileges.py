# Copyright 2026 the ical-swarm maintainers. Licence: Apache-2.0.
"""Inside a container: print NoNewPrivs of its own processes; the init and what is executed later do not count."""

import re
from pathlib import Path

found = set()
for status in Path("/proc").glob("[0-9]*/status"):
    try:
        fields = dict(re.findall(r"^(\w+):\s*(.*)$", status.read_text(), re.MULTILINE))
    except OSError:  # ended meanwhile
        continue
    if fields["Pid"] != "1" and fields["PPid"] != "0":
        found.add(fields["NoNewPrivs"])
print(" ".join(sorted(found)))
