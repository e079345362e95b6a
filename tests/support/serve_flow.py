"""Serves the flow as an operator may: ``python serve_flow.py NAME``."""

from __future__ import annotations

import sys

from flows.inspect_images import inspect_images

if __name__ == "__main__":
    inspect_images.serve(name=sys.argv[1], pause_on_shutdown=False)
