"""Runs a user's ONNX model on an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from lfv.engine.custom_models.inspection import ImageInput
from lfv.engine.errors import ArtifactError
from lfv.engine.onnx_safety import first_line

Matrix = NDArray[np.float32]
Pixels = NDArray[np.uint8]
#: Outputs are clipped here, and NaN replaced, so that their fourth powers are finite.
LARGEST = 1e6
_LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def open_session(body: bytes, *, threads: int = 1) -> ort.InferenceSession:
    """Open a session without log messages."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return ort.InferenceSession(body, sess_options=options, providers=["CPUExecutionProvider"])


def tensor_of(source: ImageInput, pixels: Pixels) -> NDArray[Any]:
    """Convert uint8 [height, width, 3] RGB to the model's input."""
    image: NDArray[Any] = pixels
    if source.channels == 1:
        image = (pixels.astype(np.float32) @ _LUMINANCE)[..., None]
    if source.uint8:
        image = np.round(image).astype(np.uint8)
    else:
        mean, std = (np.array(v[: source.channels], np.float32) for v in (source.mean, source.std))
        image = (image.astype(np.float32) / 255 - mean) / std
    if source.planar:
        image = image.transpose(2, 0, 1)
    return np.ascontiguousarray(image[None])


@dataclass(frozen=True)
class CustomView:
    """The size and input of images for a user's model, and the outputs that are used."""

    #: Images are scaled to this width and height, ignoring their aspect.
    width: int
    height: int
    source: ImageInput
    #: The maps of a backbone; score and map of a detector, ``""`` if missing.
    outputs: tuple[str, ...]
    #: Rows of the joined maps, or of the detector's map; 0 if there is none.
    rows: int
    columns: int

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) an image is scaled to."""
        return self.width, self.height

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "size": [self.width, self.height],
            "brought": self.source.to_json(),
            "outputs": list(self.outputs),
            "grid": [self.rows, self.columns],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> CustomView:
        """Inverse of :meth:`to_json`."""
        (width, height), (rows, columns) = value["size"], value["grid"]
        source = ImageInput.from_json(value["brought"])
        outputs = tuple(str(name) for name in value["outputs"])
        return cls(int(width), int(height), source, outputs, int(rows), int(columns))


class OnnxRunner:
    """A user's ONNX model in a session."""

    def __init__(self, body: bytes, source: ImageInput, *, threads: int = 1) -> None:
        """Raises:
        ArtifactError: If onnxruntime cannot load it.
        """
        self._source = source
        try:
            self._session = open_session(body, threads=threads)
        except Exception as error:
            raise ArtifactError(
                f"The model's ONNX file cannot be loaded: {first_line(error)}"
            ) from error

    def __call__(self, pixels: Pixels, outputs: Sequence[str]) -> list[Matrix]:
        """Return the named outputs for uint8 [height, width, 3] of the model's size."""
        feed = {self._source.name: tensor_of(self._source, pixels)}
        return [
            np.clip(np.nan_to_num(value.astype(np.float32), posinf=LARGEST), -LARGEST, LARGEST)
            for value in self._session.run(list(outputs), feed)
        ]


class CustomExtractor:
    """Computes the joined feature maps of a user's backbone."""

    def __init__(self, view: CustomView, onnx_model: bytes, *, threads: int = 1) -> None:
        self.view = view
        self.onnx_model = onnx_model
        self._run = OnnxRunner(onnx_model, view.source, threads=threads)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the images it accepts."""
        return self.view.size

    def __call__(self, pixels: Pixels, /) -> tuple[Matrix]:
        """Map uint8 [height, width, 3] of the view's size to float32 [channels, rows, columns]."""
        maps = [output[0] for output in self._run(pixels, self.view.outputs)]
        joined = [on_grid(one, self.view.rows, self.view.columns) for one in maps]
        return (np.concatenate(joined),)


def on_grid(maps: Matrix, rows: int, columns: int) -> Matrix:
    """Scale maps to [channels, rows, columns] by nearest neighbour."""
    _, high, wide = maps.shape
    if (high, wide) == (rows, columns):
        return maps
    down = (np.arange(rows) * high) // rows
    across = (np.arange(columns) * wide) // columns
    return np.ascontiguousarray(maps[:, down[:, None], across])
