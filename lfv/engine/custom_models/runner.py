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
#: Values beyond this, and those that are none, are cut: pooled to the fourth power they must
#: still be numbers.
LARGEST = 1e6
_LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def open_session(body: bytes, *, threads: int = 1) -> ort.InferenceSession:
    """A session without log messages and with the given number of threads."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return ort.InferenceSession(body, sess_options=options, providers=["CPUExecutionProvider"])


def tensor_of(source: ImageInput, pixels: Pixels) -> NDArray[Any]:
    """uint8 [height, width, 3] RGB as the model takes it."""
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
    """How images are given to a user's model, and which of its outputs are read."""

    #: Images are scaled to this, their aspect with them.
    width: int
    height: int
    source: ImageInput
    #: For a backbone the maps to join, for a detector score and map, ``""`` for none.
    outputs: tuple[str, ...]
    #: Of the joined maps, or of the detector's; 0 for none.
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
        """The named outputs for uint8 [height, width, 3] of the size that the model takes."""
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
        """(width, height) of the images it takes."""
        return self.view.size

    def __call__(self, pixels: Pixels, /) -> tuple[Matrix]:
        """uint8 [height, width, 3] of the view's size to float32 [channels, rows, columns]."""
        maps = [output[0] for output in self._run(pixels, self.view.outputs)]
        joined = [on_grid(one, self.view.rows, self.view.columns) for one in maps]
        return (np.concatenate(joined),)


def on_grid(maps: Matrix, rows: int, columns: int) -> Matrix:
    """[channels, any, any] by nearest neighbour on [channels, rows, columns]."""
    _, high, wide = maps.shape
    if (high, wide) == (rows, columns):
        return maps
    down = (np.arange(rows) * high) // rows
    across = (np.arange(columns) * wide) // columns
    return np.ascontiguousarray(maps[:, down[:, None], across])
