"""Frames a second of `lfv edge-agent` at 640x480 through shared memory, with the smallest model.

    python benchmarks/edge_agent.py [--frames 600] [--workers 2]

The model is a classification model without the pretrained backbone. Each thread of the client has
its own shared memory, writes a frame into it and waits for the answer. CPU time per frame, of the
agent and of the client, shows what an idle machine could do.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from lfv.client.hosts.edge.memory import shared_memory
from lfv.engine.seam import TrainingImage, TrainingOptions, load_engine
from lfv.formats import edge_agent as wire
from lfv.formats import edge_agent_pb2 as pb
from lfv.server.edge_agent import Component, EdgeAgent, agent_server

WIDTH, HEIGHT = 640, 480
_TICKS = os.sysconf("SC_CLK_TCK")


def frame(number: int) -> np.ndarray:
    """A part on a noisy ground; every second one has a dark stripe."""
    noise = np.random.default_rng(number).integers(0, 12, (HEIGHT, WIDTH, 3), np.uint8)
    image = 120 + noise
    image[180:300, 220:420] = (180, 170, 160)
    if number % 2:
        left = 240 + 7 * number % 120
        image[200:280, left : left + 12] = (30, 20, 20)
    return image


def train(folder: Path) -> Path:
    """The smallest model."""
    images = []
    for number in range(16):
        path = folder / f"{number}.png"
        Image.fromarray(frame(number)).save(path)
        images.append(TrainingImage(str(path), path, number % 2 == 1))
    options = TrainingOptions(pretrained=False)
    load_engine("lfv.engine").train(
        images, [], folder / "artifact", options=options, progress=lambda *_: None
    )
    return folder / "artifact"


def serve(artifact: str, address: str, workers: int) -> None:
    """The agent, until its standard input ends."""
    agent = EdgeAgent([Component("part", "arn", Path(artifact), "lfv.engine", workers)])
    agent.start_all()
    with agent_server(agent, address, threads=workers + 4):
        print("ready", flush=True)
        sys.stdin.read()


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def ask(address: str, frames: int) -> None:
    """One thread of the client."""
    pixels = frame(1).tobytes()
    with (
        grpc.insecure_channel(wire.grpc_target(address)) as channel,
        shared_memory(len(pixels)) as (handle, memory),
    ):
        detect = channel.unary_unary(f"/{wire.PACKAGE}.{wire.SERVICE}/DetectAnomalies")
        bitmap = pb.Bitmap(width=WIDTH, height=HEIGHT, shared_memory_handle=handle)
        request = pb.DetectAnomaliesRequest(
            model_component="part", bitmap=bitmap
        ).SerializeToString()
        for _ in range(frames):
            memory[:] = pixels
            detect(request)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, default=600)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--serve", nargs=2, metavar=("ARTIFACT", "ADDRESS"))
    given = parser.parse_args()
    if given.serve:
        serve(*given.serve, given.workers)
        return
    with tempfile.TemporaryDirectory() as name:
        address = f"unix://{name}/agent.sock"
        command = [sys.executable, __file__, "--workers", str(given.workers), "--serve"]
        agent = subprocess.Popen(
            [*command, str(train(Path(name))), address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert agent.stdout is not None and agent.stdin is not None  # noqa: PT018
        agent.stdout.readline()
        ask(address, 20)
        mine, its, began = time.process_time(), cpu_seconds(agent.pid), time.perf_counter()
        each = given.frames // given.workers
        with ThreadPoolExecutor(given.workers) as pool:
            list(pool.map(lambda _: ask(address, each), range(given.workers)))
        seconds, frames = time.perf_counter() - began, each * given.workers
        found = {
            "frames": frames,
            "frames_per_second": round(frames / seconds, 1),
            "agent_cpu_ms": round(1000 * (cpu_seconds(agent.pid) - its) / frames, 1),
            "client_cpu_ms": round(1000 * (time.process_time() - mine) / frames, 1),
            "load": os.getloadavg()[0],
        }
        agent.stdin.close()
        agent.wait()
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
