"""Packaging of tf_simclrv2. The wheel holds the library, its commands and the recipes."""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel

here = Path(__file__).parent
readme = here / "README.md"
version = re.search(r'VERSION = "(.+)"', (here / "tf_simclrv2" / "version.py").read_text(encoding="utf-8"))


class BuildAnew(build_py):
    """Empties the build folder first: else a module that has moved stays in the wheel at its old place."""

    def run(self):
        if not self.editable_mode:
            shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()


class WithFrontDoors(editable_wheel):
    """Makes `python -m export` work in any directory if a checkout is installed; a wheel has `simclrv2`."""

    def run(self):
        self.distribution.packages += ["export", "flags"]
        super().run()


setup(
    name="tf_simclrv2",
    version=version[1],
    description="SimCLRv2 for TensorFlow 2 and Keras 3: pretrain, fine-tune, distill, export",
    long_description=readme.read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
    packages=[*find_packages(include=["tf_simclrv2", "tf_simclrv2.*"]), "tf_simclrv2.recipes"],
    package_dir={"tf_simclrv2.recipes": "flags/recipes"},
    package_data={
        "tf_simclrv2.recipes": ["*.cfg"],
        "tf_simclrv2.embedding": ["templates/*"],
        "tf_simclrv2.report": ["templates/*"],
    },
    entry_points={"console_scripts": ["simclrv2 = tf_simclrv2.cli.main:main"]},
    python_requires=">=3.11.4",  # `tarfile.data_filter`, which unpacks modules.
    install_requires=[
        "absl-py>=1.4",
        "h5py>=3.10",
        "importlib-resources>=6",  # tensorflow-datasets imports it and does not say so
        "jinja2>=3.1",
        "keras>=3.12,<4",
        "matplotlib>=3.8",
        "numpy>=1.26",
        "pillow>=10",
        "psutil>=5.9",
        "pyarrow>=14",
        "scikit-learn>=1.4",
        "scipy>=1.11",
        "setuptools<81",  # tensorflow-hub imports pkg_resources
        "tensorboard>=2.20",
        "tensorflow>=2.20,<2.21",
        "tensorflow-datasets>=4.9.7",
        "tensorflow-hub>=0.16.1",
        "tf-models-official~=2.20.0",  # Orbit
        "tqdm>=4.66",
    ],
    extras_require={
        "dev": [
            "ipykernel>=6.29",  # docs/examples/tutorial.ipynb, which a test runs
            "nbclient>=0.10",
            "nbformat>=5.10",
            "pyright[nodejs]>=1.1.390",
            "pytest>=8",
            "pytest-cov>=5",
            "pytest-xdist>=3.6",
            "ruff>=0.9",
        ],
        "export": ["tensorflow-serving-api~=2.20.0"],  # export/ --format=serving
        "onnx": ["onnx>=1.17", "onnxruntime>=1.20", "tf2onnx>=1.17"],  # export/ --format=onnx
        "tpu-rehearsal": ["jax~=0.10.2", "libtpu~=0.0.42"],  # simclrv2 rehearse
        "serve": ["httptools>=0.6", "orjson>=3.10", "starlette>=0.40", "uvicorn>=0.30"],  # simclrv2 serve
        "search": ["faiss-cpu>=1.8"],  # simclrv2 search --index=approximate
        "bench": ["lightly>=1.5", "tf_keras>=2.16", "torch>=2.4"],  # what benchmarks/ measures beside
    },
    cmdclass={"build_py": BuildAnew, "editable_wheel": WithFrontDoors},
    # A folder called build would collide with the file BUILD where names ignore case.
    options={"build": {"build_base": ".build"}},
)
