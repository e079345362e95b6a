"""The network as stored in a model, and how its output is combined with the heads' output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lfv.engine.artifact import Contents
from lfv.engine.errors import ArtifactError
from lfv.engine.learners import CLIP
from lfv.engine.metrics import Floats
from lfv.engine.network.design import Design
from lfv.engine.onnx_safety import check_stored
from lfv.engine.onnx_session import OnnxSession
from lfv.engine.pixel_head import log_probabilities, summarise
from lfv.engine.plugins import NETWORK

Matrix = NDArray[np.float32]
#: Share of the network in a model's maps, 0 to 1.
MapShare = float


@dataclass(frozen=True)
class Stack:
    """Combines two scores to one on the scale of the engine's own.

    With a share of 0, the own score is returned unchanged.
    """

    own_centre: float
    own_spread: float
    centre: float
    spread: float
    #: Share of the network's score, 0 to 1.
    share: float

    def __call__(self, own: Floats, network: Floats) -> Floats:
        """Return [images] scores."""
        ours = (own - self.own_centre) / self.own_spread
        other = np.clip((network - self.centre) / self.spread, -CLIP, CLIP)
        both = (1 - self.share) * ours + self.share * other
        scores: Floats = self.own_centre + self.own_spread * both
        return scores

    def to_json(self) -> list[float]:
        """Return plain numbers."""
        return [self.own_centre, self.own_spread, self.centre, self.spread, self.share]

    @classmethod
    def from_json(cls, value: Any) -> Stack:
        """Inverse of :meth:`to_json`."""
        numbers = [float(number) for number in value]
        stack = cls(*numbers)
        usable = min(stack.own_spread, stack.spread) > 0 and 0 <= stack.share <= 1
        if not np.isfinite(numbers).all() or not usable:
            raise ValueError("a stack has finite numbers, positive spreads and a share")
        return stack


def blend(own: Matrix, network: Matrix, share: MapShare) -> Matrix:
    """Average log-probabilities: [classes, rows, columns] on the network's grid."""
    if share == 1:
        return network
    rows, columns = network.shape[1:]
    if own.shape != network.shape:
        resized = (
            np.asarray(Image.fromarray(plane).resize((columns, rows), Image.Resampling.BILINEAR))
            for plane in own
        )
        own = np.stack(list(resized))
    if share == 0:
        return own
    mixed = (1 - share) * log_probabilities(own) + share * log_probabilities(network)
    return mixed.astype(np.float32)


def score_of(output: Matrix) -> float:
    """Return the score of an image by the network alone.

    With masks, this is the mean log-odds of its most anomalous cells.
    """
    return float(output.item() if output.size == 1 else summarise(output)[:-1].mean())


@dataclass(frozen=True)
class Network:
    """A trained network as stored in a model."""

    #: Width of its images, in pixels.
    width: int
    height: int
    onnx_model: bytes
    #: For verdicts; None if the network is not used for them.
    stack: Stack | None
    #: Share of the network in the maps.
    share: MapShare

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) an image is scaled to."""
        return self.width, self.height

    def open(self, *, threads: int = 1) -> OnnxSession:
        """Open a session: uint8 [height, width, 3] to logits [classes, rows, columns] or [1, 1, 1].

        Raises:
            ArtifactError: If onnxruntime cannot load the model.
        """
        return OnnxSession(self.onnx_model, threads=threads)

    def paint(self, own: Matrix, output: Matrix) -> Matrix:
        """Combine the engine's logits with the network's."""
        return blend(own, output, self.share) if self.share else own

    def score(self, own: float, output: Matrix) -> float:
        """Combine the engine's score with the network's."""
        if self.stack is None:
            return own
        return float(self.stack(np.array([own]), np.array([score_of(output)]))[0])

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "size": [self.width, self.height],
            "stack": None if self.stack is None else self.stack.to_json(),
            "share": self.share,
        }

    @classmethod
    def from_contents(cls, contents: Contents, classes: int) -> Network:
        """Load and inspect the stored network.

        Args:
            classes: Number of classes of the model's masks; 0 without masks.

        Raises:
            ArtifactError: If its ONNX model is refused, or differs from its description.
        """
        value: Any = contents.model[NETWORK]
        onnx_model = contents.onnx_models[NETWORK]
        model = check_stored(onnx_model)
        width, height = (int(side) for side in value["size"])
        stack = None if value["stack"] is None else Stack.from_json(value["stack"])
        share = float(value["share"])
        if not 0 <= share <= 1 or (stack is None and not share):
            raise ValueError("a network has a share in verdicts or masks")
        design = Design(width, height, classes)
        if not design.is_possible or _shapes(model) != design.shapes or (share and not classes):
            raise ArtifactError("The model's network is not of the shape that it describes.")
        return cls(width, height, onnx_model, stack, share)


def _shapes(model: Any) -> tuple[list[int], list[int]]:
    """Return the shapes of the only input and the only output.

    Raises:
        ValueError: If there is more than one input or output.
    """
    (source,), (output,) = model.graph.input, model.graph.output
    shapes = [
        [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in (source, output)
    ]
    return shapes[0], shapes[1]
