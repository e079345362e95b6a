"""Options and a marker of long tests, as a plugin, so that they are registered early."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """How much of tests/faults and tests/ui is run."""
    group = parser.getgroup("faults")
    group.addoption(
        "--kills",
        type=int,
        default=3,
        help="runs to kill at random moments on each kind of host (default 3)",
    )
    group.addoption(
        "--reviews", type=int, default=30, help="reviews while the server is killed (default 30)"
    )
    group.addoption(
        "--kills-seed", type=int, default=None, help="seed of the moments (default: a new one)"
    )
    group.addoption(
        "--changes",
        type=int,
        default=25,
        help="writes, deletions, runs and kills around a source of new images (default 25)",
    )
    group.addoption(
        "--both-databases",
        action="store_true",
        help="inject every fault on both SQLite and PostgreSQL, instead of taking turns",
    )
    group.addoption(
        "--every-host",
        action="store_true",
        help="inject every fault on every kind of host, not only marked ones, and all "
        "variants of a fault on each, instead of taking turns",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers."""
    config.addinivalue_line(
        "markers",
        "every_host(by_turns=False): runs on each kind of host; with by_turns, the variants of a "
        "test take turns, so that each host runs some variants and each variant one host",
    )
    config.addinivalue_line("markers", "both_databases: always runs on SQLite and PostgreSQL")
