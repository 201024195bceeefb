"""What to export, in which format, and where to; each flag of `simclrv2 export` is a field."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import re
from typing import Literal

from tf_simclrv2.errors import ConfigError
from tf_simclrv2.modules.call_results import Api
from tf_simclrv2.modules.module_archive import ARCHIVE_SUFFIX
from tf_simclrv2.setting import check_settings, documented, required, setting

# It names a folder, which is not `.` or `..`, and stands in quotation marks in models.config.
_NAME = re.compile(r"[\w.-]*\w[\w.-]*")
# The packages that only one format needs, by the extra of setup.py that installs them.
_PACKAGES = {"serving": ("export", "tensorflow_serving"), "onnx": ("onnx", "tf2onnx", "onnx", "onnxruntime")}


@documented
@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """What to export, in which format, and where to.

    Raises:
        ConfigError: A value cannot be used, or the format needs a package that is missing.
    """

    model_dir: str = required("What to export: a model_dir, a ckpt-N or a SavedModel.", is_path=True)
    output: str = required(
        "Path of the export; for --format=hub it ends in .tar.gz, and for --format=onnx it is a directory "
        "unless it ends in .onnx.",
        is_path=True,
    )
    format: Literal["saved_model", "hub", "serving", "tflite", "onnx"] = setting(
        "saved_model",
        "A SavedModel, an archive for hub.load, a bundle for TensorFlow Serving, TensorFlow Lite files, or "
        "an ONNX file.",
    )
    api: Api = setting(  # noqa: RUF009 (a Literal by another name)
        "endpoints",
        "What calling the module returns: all endpoints by name, or only the features or the logits, as in "
        "TF-Hub's common APIs for images.",
    )
    endpoint: str | None = setting(None, "Cut the network off after this endpoint, for example proj_head_1.")
    name: str = setting("simclr", "Name of the served model, for --format=serving.")
    version: int = setting(1, "Version of the served model, for --format=serving.")
    overwrite: bool = setting(False, "Replace the output if it exists.")

    def __post_init__(self) -> None:
        for field in ("model_dir", "output"):
            if not getattr(self, field):
                raise ConfigError(f"{field} is not set; pass --{field}=PATH.")
        check_settings(self)
        if self.format == "hub" and not self.output.endswith(ARCHIVE_SUFFIX):
            raise ConfigError(
                f"output is {self.output!r}, but a hub archive is a {ARCHIVE_SUFFIX} file; "
                f"pass --output={self.output}{ARCHIVE_SUFFIX}."
            )
        self._require_packages()
        if self.format == "serving" and (self.version < 1 or not _NAME.fullmatch(self.name)):
            raise ConfigError(
                f"name is {self.name!r} and version is {self.version}; a served model needs a name of "
                "letters, digits, dots, hyphens and underscores, and a version of at least 1."
            )

    def _require_packages(self) -> None:
        """One format alone needs them, so they are imported there."""
        extra, *packages = _PACKAGES.get(self.format, ("",))
        missing = [package for package in packages if importlib.util.find_spec(package) is None]
        if missing:
            raise ConfigError(
                f"format is {self.format!r}, which needs {', '.join(missing)}; install with "
                f'pip install "tf_simclrv2[{extra}]".'
            )

    @property
    def target(self) -> str:
        """The path that appears when the export is complete."""
        if self.format == "serving":
            return os.path.join(self.output, self.name, str(self.version))
        return self.output
