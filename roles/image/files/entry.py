#!/opt/ical/bin/python
"""The command `ical`."""

import sys

from ical.cli import main

sys.exit(main())
