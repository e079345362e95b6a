"""Run PatchCore of anomalib 0.7 on EfficientNet-Lite0; started by engine_patchcore.py.

    PYTHON benchmarks/patchcore_worker.py JOB.json RESULT.npz

Needs anomalib, timm and torch, and nothing of this project.  Without arguments it only imports
them.  anomalib's model makes the embedding, the score and the map; the loop over images is ours.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from anomalib.models.components import KCenterGreedy
from anomalib.models.patchcore.torch_model import PatchcoreModel
from PIL import Image

#: Names under which anomalib's model finds the maps at strides 8 and 16.
LAYERS = ("layer2", "layer3")
#: The normalisation of EfficientNet-Lite.
MEAN, DEVIATION = 127, 128


class Lite0(torch.nn.Module):
    """From a path, the bottlenecks at strides 8 and 16, which anomalib 0.7 cannot name here."""

    def __init__(self, weights: Path, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size
        self.known: dict[str, dict[str, torch.Tensor]] = {}
        self.net = timm.create_model(
            "tf_efficientnet_lite0", features_only=True, exportable=True, out_indices=(2, 3)
        )
        stored = torch.load(weights)  # the same tensors in the same order, under other names
        names = self.net.state_dict()
        self.net.load_state_dict(dict(zip(names, stored.values(), strict=False)))

    def forward(self, path: str) -> dict[str, torch.Tensor]:
        if path not in self.known:
            image = Image.open(path).convert("RGB").resize(self.size, Image.BILINEAR)
            samples = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
            maps = self.net.eval()((samples.float() - MEAN) / DEVIATION)  # also while it trains
            self.known[path] = dict(zip(LAYERS, maps, strict=True))
        return self.known[path]


class Unprojected:
    """In place of a random projection, which here would double the number of channels."""

    def fit(self, _features: torch.Tensor) -> None:
        pass

    def transform(self, features: torch.Tensor) -> torch.Tensor:
        return features


class Greedy(KCenterGreedy):
    """The same choice as anomalib's, in less time: squared distances by one product."""

    def __init__(self, embedding: torch.Tensor, sampling_ratio: float) -> None:
        super().__init__(embedding, sampling_ratio)
        self.model = Unprojected()
        self.squares = embedding.square().sum(1, keepdim=True)

    def update_distances(self, cluster_centers: list[int]) -> None:
        center = self.features[cluster_centers].T
        distance = self.squares - 2 * (self.features @ center) + center.square().sum()
        known = self.min_distances
        self.min_distances = distance if known is None else torch.minimum(known, distance)


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Return the scores of each bank, and maps of the last."""
    width, height = job["size"]
    torch.set_num_threads(1)
    torch.manual_seed(job["seed"])
    model = PatchcoreModel((height, width), list(LAYERS), "resnet18", pre_trained=False)
    model.feature_extractor = Lite0(Path(job["weights"]), (width, height))
    mapper, model.anomaly_map_generator = model.anomaly_map_generator, torch.nn.Identity()
    result: dict[str, Any] = {}
    for number, bank in enumerate(job["banks"]):
        model.train()
        patches = torch.vstack([model(path) for path in bank["train"]])
        patches = patches[torch.randperm(len(patches))[: job["patches"]]]
        model.memory_bank = Greedy(patches, job["ratio"]).sample_coreset()
        model.eval()
        result[f"scores{number}"] = [float(model(path)[1]) for path in bank["score"]]
    maps = [mapper(model(path)[0])[0, 0].numpy() for path in job["maps"]]
    return result | {"maps": np.array(maps, np.float16)}


def main() -> None:
    """Run a job."""
    if len(sys.argv) == 3:
        with torch.no_grad():
            result = run(json.loads(Path(sys.argv[1]).read_text()))
        np.savez(sys.argv[2], **result)


if __name__ == "__main__":
    main()
