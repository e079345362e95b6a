"""Serves the flow of shards, each in a process of its own: ``python serve_shards.py``."""

from __future__ import annotations

from flows.shards import inspect_shard

if __name__ == "__main__":
    inspect_shard.serve(name="shard", pause_on_shutdown=False)
