"""``python -m lfv.server OPTIONS``: runs the service, for programs that start one.

OPTIONS is a JSON object with the fields of ``lfv.server.options.ServeOptions``. On the command
line, use ``lfv serve``.
"""

from __future__ import annotations

import json
import logging
import sys

from lfv.server.errors import ServiceError
from lfv.server.options import options_from
from lfv.server.service import run


def main() -> int:
    """Run until the service ends. Return 0, or 2 if it could not start."""
    try:
        options = options_from(json.loads(sys.argv[1]))
        logging.basicConfig(
            level=options.log_level.upper(),
            format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        )
        run(options)
    except (IndexError, ValueError):
        sys.stderr.write("usage: python -m lfv.server OPTIONS (a JSON object); or lfv serve\n")
        return 2
    except ServiceError as error:
        sys.stderr.write(f"lfv.server: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
