"""Fast starts: ``python -m lfv.launch MODULE ARGUMENTS...`` calls `main()` of one of our modules.

Importing creates some hundred thousand objects that all stay. The garbage collector looks through
them again and again while they are created, which is a quarter of the CPU time of a start: while
modules are loaded it is off.
"""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Keep the garbage collector off while modules are imported in the block.

    Afterwards everything that is alive counts as permanent and is never looked through again.
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
