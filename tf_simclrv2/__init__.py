"""SimCLRv2 for TensorFlow 2 and Keras 3 (Chen et al. 2020, arXiv 2006.10029).

The public names are those of `tf_simclrv2.public`. They are imported when the first of them is asked for, so
that a command line can answer without waiting for TensorFlow.
"""

import importlib
import importlib.util
import sys
import typing
from typing import Any

from tf_simclrv2 import backend as _backend

if sys.argv[:1] == ["-m"]:  # One of its programs is started, and Python imports this package first.
    from tf_simclrv2.interruption import end_quietly_while_starting as _end_quietly_while_starting

    _end_quietly_while_starting()

_backend.prefer_onednn()
_backend.share_gpu_memory()
_backend.require_tensorflow()

# Keras finds the classes of a saved model only after their modules were imported; whoever has imported Keras
# already expects `import tf_simclrv2` to do that.
if typing.TYPE_CHECKING or "keras" in sys.modules:
    from tf_simclrv2.public import *  # noqa: F403


def __getattr__(name: str) -> Any:
    # Python also asks here for private names, and for submodules before it imports them: TensorFlow can wait.
    may_be_public = name == "__all__" or not name.startswith("_")
    if may_be_public and not importlib.util.find_spec(f"{__name__}.{name}"):
        public = importlib.import_module("tf_simclrv2.public")
        if name in ("__all__", *public.__all__):
            globals()[name] = getattr(public, name)
            return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *importlib.import_module("tf_simclrv2.public").__all__})
