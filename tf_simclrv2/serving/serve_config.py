"""What to serve, where, and within which limits; each flag of `simclrv2 serve` is a field."""

from __future__ import annotations

import dataclasses
import importlib.util

from tf_simclrv2.errors import ConfigError
from tf_simclrv2.setting import check_settings, documented, required, set_path, setting

# What the extra `serve` of setup.py installs.
_PACKAGES = ("httptools", "orjson", "starlette", "uvicorn")
MEBIBYTE = 2**20


@documented
@dataclasses.dataclass(frozen=True)
class ServeConfig:
    """A module to serve, and the limits of requests.

    Raises:
        ConfigError: A value cannot be used.
    """

    module: str = required(
        "A SavedModel, the .tar.gz of one, or a folder of versions: NAME/1, NAME/2 and so on.", flag=None
    )
    host: str = setting("127.0.0.1", "Address to listen on; 0.0.0.0 accepts requests from other machines.")
    port: int = setting(8501, "Port to listen on; 0 takes any that is free.", minimum=0, maximum=65535)
    name: str | None = setting(None, "Name of the model in the address; by default, the folder's name.")
    batch_size: int = setting(32, "Maximum batch size.", minimum=1)
    batch_timeout: float = setting(
        2.0, "Milliseconds that a request waits for others while the server is idle.", minimum=0
    )
    max_body: int = setting(
        64 * MEBIBYTE, "Maximum bytes per request; a larger one is refused unread.", minimum=1
    )
    max_held: int = setting(
        1024 * MEBIBYTE,
        "Maximum bytes of all requests that are not answered yet; with more, new ones are told to come back.",
        minimum=1,
    )
    max_images: int = setting(256, "Maximum examples per request.", minimum=1)
    max_pixels: int = setting(
        50_000_000,
        "Maximum pixels of an image file; a larger one is refused before it is decoded.",
        minimum=1,
    )

    def __post_init__(self) -> None:
        check_settings(self)
        set_path(self, "module")
        if self.name is not None:
            check_name(self.name)


def check_name(name: str) -> None:
    """Checks that a model's name can be part of an address.

    Raises:
        ConfigError: It cannot.
    """
    if not name or set(name) & set("/:?#%"):
        raise ConfigError(
            f"name is {name!r}; a served model needs a name without any of the characters / : ? # %, so pass "
            "another --name."
        )


def require_packages() -> None:
    """Checks that what only the server needs is installed.

    Raises:
        ConfigError: A package is missing.
    """
    missing = [package for package in _PACKAGES if importlib.util.find_spec(package) is None]
    if missing:
        raise ConfigError(
            f'the server needs {", ".join(missing)}; install with pip install "tf_simclrv2[serve]".'
        )
