"""The keeper: runs a supervisor's command, and restarts it if it is killed."""

from __future__ import annotations

import sys

from lfv.cli.plant.supervisor import restart_while_killed
from lfv.settings import child_environment

if __name__ == "__main__":
    sys.exit(restart_while_killed(sys.argv[1:], child_environment()))
