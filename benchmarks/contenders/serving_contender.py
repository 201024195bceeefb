"""One process that `serving.py` measures: it loads a network and answers one turn after the other.

    python benchmarks/contenders/serving_contender.py CONTENDER FOLDER

FOLDER holds `settings.json`, and what the contenders load: `module`, `weights.npz` and `picture.jpg`. A line
`SIGNATURE BATCH` of the standard input is a turn; every line of the standard output is a JSON object. This
file imports TensorFlow or PyTorch, whichever its interpreter has to have, and nothing of tf_simclrv2.
"""

from __future__ import annotations

import dataclasses
import importlib
import io
import json
import pathlib
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from benchmarks.measuring.peak_memory import peak_bytes

# Of the shorter side, as `evaluation_view` crops.
EVALUATION_PROPORTION = 0.875
# Float images [N, H, W, 3] or a list of files to the named outputs.
Signature = Callable[[Any], dict[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Settings:
    """What all contenders of a run share; `threads` is for each of them."""

    depth: int
    image_size: int
    threads: int


@dataclasses.dataclass(frozen=True)
class Contender:
    """A loaded network.

    Attributes:
        version: Of the framework.
        parameters: Numbers in its weights, moving statistics included.
        signatures: `serving_default` and `image_bytes`.
    """

    version: str
    parameters: int
    signatures: dict[str, Signature]


def saved_model(folder: pathlib.Path, settings: Settings) -> Contender:
    """Our SavedModel."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(settings.threads)
    tf.config.threading.set_inter_op_parallelism_threads(settings.threads)
    module = tf.saved_model.load(str(folder / "module"))

    def signature(name: str, argument: str) -> Signature:
        function = module.signatures[name]

        def call(request: Any) -> dict[str, np.ndarray]:
            return {key: value.numpy() for key, value in function(**{argument: tf.constant(request)}).items()}

        return call

    return Contender(
        f"TensorFlow {tf.__version__}",
        sum(int(np.prod(variable.shape)) for variable in module.variables),
        {
            "serving_default": signature("serving_default", "images"),
            "image_bytes": signature("image_bytes", "image_bytes"),
        },
    )


def torch_network(folder: pathlib.Path, settings: Settings, compiled: bool) -> Contender:
    """The PyTorch network, channels last; files are decoded by Pillow, as many at a time as threads."""
    import torch  # pyright: ignore[reportMissingImports] # in the extra `bench`, not in the lock

    from benchmarks.contenders.torch_resnet import TorchSimCLR

    torch.set_num_threads(settings.threads)
    network = TorchSimCLR(settings.depth)
    with np.load(folder / "weights.npz") as weights:
        network.load_weights(weights)
    network = network.eval().to(memory_format=torch.channels_last)
    # Shapes are fixed while measuring, which is what the compiler does best with.
    run = torch.compile(network, dynamic=False) if compiled else network
    pool = ThreadPoolExecutor(settings.threads)

    @torch.inference_mode()
    def of_images(images: np.ndarray) -> dict[str, np.ndarray]:
        # Read as they lie in memory: [N, H, W, 3] seen as [N, 3, H, W] is what channels last means.
        outputs = run(torch.from_numpy(images).permute(0, 3, 1, 2))
        return {name: output.numpy() for name, output in outputs.items()}

    def of_files(files: Sequence[bytes]) -> dict[str, np.ndarray]:
        views = pool.map(lambda contents: decoded(contents, settings.image_size), files)
        return of_images(np.stack(list(views)))

    return Contender(
        f"PyTorch {torch.__version__}",
        sum(weight.numel() for weight in network.weights().values()),
        {"serving_default": of_images, "image_bytes": of_files},
    )


OURS = "ours"
CONTENDERS: dict[str, Callable[[pathlib.Path, Settings], Contender]] = {
    OURS: saved_model,
    "torch eager": lambda folder, settings: torch_network(folder, settings, compiled=False),
    "torch.compile": lambda folder, settings: torch_network(folder, settings, compiled=True),
}


def decoded(contents: bytes, size: int) -> np.ndarray:
    """A file's central 87.5 %, resized (bicubic, with Pillow's antialiasing): float32 [size, size, 3]."""
    from PIL import Image

    image = Image.open(io.BytesIO(contents)).convert("RGB")
    side = round(EVALUATION_PROPORTION * min(image.size))
    left, top = ((length - side + 1) // 2 for length in image.size)
    box = (left, top, left + side, top + side)
    view = image.resize((size, size), Image.Resampling.BICUBIC, box)
    return np.asarray(view, np.float32) / 255.0


def random_images(batch: int, size: int) -> np.ndarray:
    """The same float32 images [batch, size, size, 3] in every process."""
    return np.random.default_rng(0).random((batch, size, size, 3), np.float32)


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that a call takes, and its result."""
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def main() -> None:
    """Loads, answers one request, and then takes turns until the input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr  # Whatever a library prints stays out of the answers.

    def answer(**values: Any) -> None:
        print(json.dumps(values), file=answers, flush=True)

    folder = pathlib.Path(sys.argv[2])
    settings = Settings(**json.loads((folder / "settings.json").read_text()))
    name = sys.argv[1]
    importlib.import_module("tensorflow" if name == OURS else "torch")
    import_mb = peak_bytes() / 1e6
    load_s, contender = timed(lambda: CONTENDERS[name](folder, settings))
    load_mb = peak_bytes() / 1e6
    image = random_images(1, settings.image_size)
    first_s, outputs = timed(lambda: contender.signatures["serving_default"](image))
    answer(
        version=contender.version,
        parameters=contender.parameters,
        load_s=load_s,
        first_request_s=first_s,
        peak_import_mb=import_mb,
        peak_load_mb=load_mb,
        peak_first_request_mb=peak_bytes() / 1e6,
        outputs={name: output.tolist() for name, output in outputs.items()},
    )
    picture = (folder / "picture.jpg").read_bytes()
    for line in sys.stdin:
        signature, batch = line.split()
        files = signature == "image_bytes"
        request = [picture] * int(batch) if files else random_images(int(batch), settings.image_size)
        call = contender.signatures[signature]
        call(request)  # Brings back the caches and threads that the others' turns took.
        seconds, _ = timed(lambda call=call, request=request: call(request))
        answer(seconds=seconds)


if __name__ == "__main__":
    main()
