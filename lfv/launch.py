"""Fast start: ``python -m lfv.launch MODULE ARGUMENTS...`` imports a module and calls its `main()`.

Imports create some hundred thousand objects that all stay alive. The garbage collector would scan
them again and again, which takes a quarter of the CPU time of a start. So it is off during imports.
"""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Turn the garbage collector off in the block, which imports modules.

    Afterwards all objects that are alive are frozen: the collector never scans them again.
    """
    if not gc.isenabled():  # inside another such block
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def main() -> None:
    """Import the module that the first argument names, and call its `main()`."""
    del sys.argv[0]
    with loading():
        module = importlib.import_module(sys.argv[0])
    sys.exit(module.main())


if __name__ == "__main__":
    main()
