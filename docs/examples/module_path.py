"""The path of a module as TensorFlow takes it; used by the other examples in this folder."""

import contextlib
import pathlib
import sys
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def linked(module_path: str) -> Iterator[str]:
    """Gives another path to a module: TensorFlow treats a path with `[` as a glob pattern.

    Ends the program with a sentence if there is no module.
    """
    path = pathlib.Path(module_path)
    if not (path / "saved_model.pb").is_file():
        sys.exit(
            f"error: {path} is not a module; write one with python -m export --model_dir=RUN --output={path}"
        )
    with tempfile.TemporaryDirectory() as folder:
        link = pathlib.Path(folder, "module")
        link.symlink_to(path.resolve())
        yield str(link)
