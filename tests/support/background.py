"""Calls that run in parallel to a test."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")


def in_background(call: Callable[[], T]) -> Future[T]:
    """Run `call` in a thread, in a copy of this context."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(copy_context().run, call)
    pool.shutdown(wait=False)
    return future
