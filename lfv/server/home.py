"""The state folder: the paths of its files, and the lock that admits one service at a time.

HOME/service.db                   projects, datasets, models, jobs and their states
HOME/service.lock                 held by the running service
HOME/graphs/                      copies of the operator's ONNX graphs that were accepted
HOME/models/ID/artifact/          the trained model
HOME/models/ID/job/               the training's inputs, removed once it has ended
HOME/packing/                     archives being packed
HOME/models/ID/evaluation/        EvaluationManifest and EvaluationResult as written
"""

from __future__ import annotations

import errno
import fcntl
import shutil
from pathlib import Path
from typing import IO

from tenacity import retry, stop_after_delay, wait_fixed

from lfv.server.errors import HomeError

DISK_FULL = "the disk with the state folder is full"


def is_disk_full(error: Exception) -> bool:
    """Whether a write failed for lack of space or quota."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


class Home:
    def __init__(self, root: Path) -> None:
        """Create the folder if needed, and lock it. Raises HomeError."""
        self.root = root
        try:
            (root / "models").mkdir(parents=True, exist_ok=True)
            root.chmod(0o700)
            self._lock: IO[str] = (root / "service.lock").open("a", encoding="utf-8")
        except OSError as error:
            raise HomeError(f"{root} cannot be used as the state folder: {error}") from error
        try:
            self._take_lock()
        except OSError as error:
            self._lock.close()
            raise HomeError(f"another service is already running on {root}") from error
        self._remove_leftovers()

    # Programs that check for a running service hold the lock for an instant.
    @retry(stop=stop_after_delay(1), wait=wait_fixed(0.05), reraise=True)
    def _take_lock(self) -> None:
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _remove_leftovers(self) -> None:
        """Remove files of a killed service that are not used again.

        Called before the database is opened, because that needs disk space.
        """
        shutil.rmtree(self.packing, ignore_errors=True)
        for images in (self.root / "models").glob("*/job/images"):
            shutil.rmtree(images, ignore_errors=True)  # a resumed training fetches them again

    @property
    def database(self) -> Path:
        return self.root / "service.db"

    @property
    def graphs(self) -> Path:
        return self.root / "graphs"

    @property
    def packing(self) -> Path:
        return self.root / "packing"

    def model(self, model_id: str) -> Path:
        return self.root / "models" / model_id

    def artifact(self, model_id: str) -> Path:
        return self.model(model_id) / "artifact"

    def job(self, model_id: str) -> Path:
        return self.model(model_id) / "job"

    def job_images(self, model_id: str) -> Path:
        return self.job(model_id) / "images"

    def evaluation(self, model_id: str) -> Path:
        return self.model(model_id) / "evaluation"

    def remove_model(self, model_id: str) -> None:
        shutil.rmtree(self.model(model_id), ignore_errors=True)

    def remove_unknown_models(self, known: set[str]) -> None:
        """Remove the folders of models that were not committed before a crash."""
        for folder in (self.root / "models").iterdir():
            if folder.name not in known:
                shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        self._lock.close()
