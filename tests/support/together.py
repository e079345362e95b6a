"""Start several worker processes, let them go at the same moment, and collect what they say."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
WORKERS = "tests.support.store_workers"


def together(url: str, jobs: Sequence[Sequence[object]], timeout: float = 60) -> list[Any]:
    """Results of jobs (name, arguments ...) run on one store by a process each."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-m", WORKERS, str(name), url, *map(str, arguments)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name, *arguments in jobs
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            said = process.stdout.readline()
            assert said == "ready\n", process.communicate(timeout=timeout)[1]
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        results = []
        for process in processes:
            out, err = process.communicate(timeout=timeout)
            assert process.returncode == 0, err
            results.append(json.loads(out))
        return results
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.communicate()
