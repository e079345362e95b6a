"""An inference unit: ``python -m lfv.launch lfv.server.hosting.unit_process FD ENGINE``.

Imports the engine, loads the model named over the socket, and inspects images, one after the
other, until the service closes the socket to stop the model, or ends. The process also ends with
the socket while it loads the model or inspects an image.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from lfv.engine.seam import ImageRejected, LoadedModel, load_engine
from lfv.formats.errors import ImageError
from lfv.formats.images import CONTENT_TYPES, check_header
from lfv.launch import loading
from lfv.server.hosting import frames
from lfv.server.options import Limits


def main() -> None:
    """Run the unit that the process's arguments describe."""
    descriptor, engine = sys.argv[1:]
    serve(int(descriptor), engine)


def serve(descriptor: int, engine_name: str) -> None:
    with socket.socket(fileno=descriptor) as connection, connection.makefile("rb") as stream:
        threading.Thread(target=_end_with_service, args=[descriptor], daemon=True).start()
        with suppress(Exception), loading():  # an error occurs again below, and is reported there
            load_engine(engine_name).load  # noqa: B018 (imports what it needs)
        try:
            order, _ = frames.receive(stream)
        except frames.FrameError:
            return
        limits = Limits(**order["limits"])
        try:
            with loading():
                model = load_engine(engine_name).load(Path(order["artifact"]), threads=1)
        except Exception as error:  # noqa: BLE001 (the service reports any cause)
            frames.send(connection, {"failed": f"{type(error).__name__}: {error}"})
            return
        frames.send(connection, {"ready": [model.width, model.height]})
        while True:
            try:
                head, body = frames.receive(stream)
            except frames.FrameError:
                return
            frames.send(connection, *_answer(model, head, body, limits))


def _end_with_service(descriptor: int) -> None:
    hang_up = select.poll()
    hang_up.register(descriptor, 0)  # hang-ups are always reported, and nothing else is needed
    hang_up.poll()
    os._exit(0)  # not sys.exit, which would wait for the image


def _answer(
    model: LoadedModel, head: dict[str, Any], body: bytes, limits: Limits
) -> tuple[dict[str, Any], bytes]:
    content_type = head["content_type"]
    try:
        header = check_header(body, limits.image, (model.width, model.height))
        if CONTENT_TYPES[header.format] != content_type:
            return {"rejected": f"the image is {header.format}, not {content_type}"}, b""
        result = model.predict(body, with_map=head["with_map"])
    except ImageError as error:
        return {"rejected": str(error)}, b""
    except ImageRejected as error:
        return {"rejected": str(error)}, b""
    except Exception as error:  # noqa: BLE001 (one image must not end the unit)
        return {"broke": f"{type(error).__name__}: {error}"}, b""
    mask, heat_map = result.anomaly_mask or b"", result.anomaly_map or b""
    return {"answer": result.to_response(), "mask_bytes": len(mask)}, mask + heat_map


if __name__ == "__main__":
    main()
