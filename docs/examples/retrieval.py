"""Finds the images of a folder that look most like a given one.

    python docs/examples/retrieval.py MODULE QUERY FOLDER [ENDPOINT]

Features are cached in ~/.cache/tf_simclrv2/retrieval, so a further query computes only those of new images.
"""

import hashlib
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's own messages are off.

import numpy as np
import tensorflow as tf
from command_line import run
from image_files import answers, find_images
from module_path import linked

SHOWN = 8
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "tf_simclrv2", "retrieval").expanduser()

Features = dict[str, np.ndarray]


def version_of(file: pathlib.Path) -> str:
    """Names a file as it is now: another one after it was changed."""
    status = file.stat()
    return f"{file.resolve()}|{status.st_size}|{status.st_mtime_ns}"


class Embeddings:
    """Features of images, of length 1, kept in a file that belongs to one module and endpoint."""

    def __init__(self, module_path: str, endpoint: str) -> None:
        self._module_path, self._endpoint = module_path, endpoint
        with linked(module_path) as path:
            module = version_of(pathlib.Path(path, "saved_model.pb"))
        key = hashlib.sha256(f"{module}|{endpoint}".encode()).hexdigest()[:16]
        self.file = CACHE / f"{key}.npz"
        self._kept: Features = {}
        if self.file.exists():
            with np.load(self.file) as kept:
                self._kept = dict(zip(kept["names"].tolist(), kept["features"], strict=True))

    def of(self, paths: list[pathlib.Path]) -> dict[pathlib.Path, np.ndarray]:
        """Returns the features of each readable image; computes what is not kept, and keeps it."""
        versions = {path: version_of(path) for path in paths if path.is_file()}
        missing = [path for path in paths if versions.get(path) not in self._kept]
        for path, features in self._computed(missing):
            self._kept[versions[path]] = features
        if missing:
            self._save()
        return {path: self._kept[name] for path, name in versions.items() if name in self._kept}

    def _computed(self, paths: list[pathlib.Path]) -> list[tuple[pathlib.Path, np.ndarray]]:
        if not paths:
            return []  # Without loading the module, which takes longest.
        with linked(self._module_path) as path:
            serve = tf.saved_model.load(path).signatures["image_bytes"]

        def ask(files: list[bytes]) -> np.ndarray:
            features = serve(image_bytes=tf.constant(files))[self._endpoint]
            return tf.linalg.l2_normalize(features, axis=1).numpy()

        return list(answers(ask, paths, tf.errors.InvalidArgumentError))

    def _save(self) -> None:
        if self._kept:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            part = self.file.with_suffix(f".{os.getpid()}.npz")
            np.savez(part, names=np.array(list(self._kept)), features=np.stack(list(self._kept.values())))
            part.replace(self.file)


def main(module_path: str, query: str, folder: str, endpoint: str = "final_avg_pool") -> None:
    """Prints the nearest neighbors, the most similar first."""
    query_path, paths = pathlib.Path(query), find_images(folder)
    found = Embeddings(module_path, endpoint).of([query_path, *paths])
    known = [path for path in paths if path in found]
    if query_path not in found:
        sys.exit(f"error: the query {query} cannot be read.")
    if not known:
        sys.exit(f"error: {folder} holds no image that can be read.")
    similarity = np.stack([found[path] for path in known]) @ found[query_path]
    for i in np.argsort(-similarity, kind="stable")[:SHOWN]:
        print(f"{similarity[i]:.4f} {known[i]}")


if __name__ == "__main__":
    run(main)
