"""Client and server code for the edge agent, generated from its .proto by protoc."""

from __future__ import annotations

import importlib
import sys
import tempfile
import warnings
from pathlib import Path
from types import ModuleType

from grpc_tools import protoc

PROTO = Path(__file__).parents[2] / "lfv" / "formats" / "edge_agent.proto"


def compile_proto() -> tuple[ModuleType, ModuleType]:
    """The modules of messages and services that protoc generates."""
    with tempfile.TemporaryDirectory(prefix="edge-stubs-") as folder:
        arguments = [f"-I{PROTO.parent}", f"--python_out={folder}", f"--grpc_python_out={folder}"]
        if protoc.main(["protoc", *arguments, PROTO.name]) != 0:
            raise AssertionError("the .proto does not compile")
        sys.path.insert(0, folder)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                messages = importlib.import_module("edge_agent_pb2")
                services = importlib.import_module("edge_agent_pb2_grpc")
        finally:
            sys.path.remove(folder)
    return messages, services


pb, pb_grpc = compile_proto()
