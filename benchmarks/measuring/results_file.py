"""What a benchmark has measured, piece by piece: a file to commit, or to continue from on another machine."""

from __future__ import annotations

import dataclasses
import pathlib
import threading
from typing import Any, Generic, TypeVar

from benchmarks.measuring.plain_settings import from_plain
from tf_simclrv2.directory_lock import waiting_lock
from tf_simclrv2.files import read_json, write_json

SETTINGS = "settings.json"
_Settings = TypeVar("_Settings")
_LOCK = threading.Lock()


@dataclasses.dataclass
class ResultsFile(Generic[_Settings]):
    """Results by the names of the pieces.

    Attributes:
        path: The file.
        settings: What all of them were measured with, a dataclass. A field that does not take part in
            comparisons, such as the seeds of more repetitions, may change.
        results: By name.
    """

    path: pathlib.Path
    settings: _Settings
    results: dict[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def open(cls, path: pathlib.Path, settings: _Settings) -> ResultsFile[_Settings]:
        """Reads the file, if it is there.

        Raises:
            SystemExit: It was measured with other settings.
        """
        if not path.exists():
            return cls(path, settings)
        found = cls.read(path, type(settings))
        if found.settings != settings:
            raise SystemExit(
                f"{path} was measured with other settings ({_differing(found.settings, settings)}); "
                "give another --results."
            )
        return cls(path, settings, found.results)

    @classmethod
    def read(cls, path: pathlib.Path, kind: type[_Settings]) -> ResultsFile[_Settings]:
        """Reads a file that is there, of whatever settings of a kind."""
        plain = read_json(str(path))
        return cls(path, from_plain(kind, plain["settings"]), plain["results"])

    def add(self, name: str, result: Any) -> None:
        """Records a result at once, and keeps what other programs have added to the file meanwhile.

        Raises:
            SystemExit: Meanwhile the file has become one of other settings.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with _LOCK, waiting_lock(str(self.path.with_name(f".{self.path.name}.lock"))):
            if self.path.exists():
                self.results |= self.open(self.path, self.settings).results
            self.results[name] = result
            plain = {
                "settings": dataclasses.asdict(self.settings),
                "results": dict(sorted(self.results.items())),
            }  # pyright: ignore[reportArgumentType]
            write_json(str(self.path), plain)


def claim_folder(folder: pathlib.Path, settings: Any) -> None:
    """Notes settings in a new folder, so that nothing made with others is taken for something of these.

    Raises:
        SystemExit: The folder was filled with other settings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / SETTINGS
    if path.exists():
        other = from_plain(type(settings), read_json(str(path)))
        if other != settings:
            differing = _differing(other, settings)
            raise SystemExit(f"{folder} was filled with other settings ({differing}); give another --output.")
    write_json(str(path), dataclasses.asdict(settings))


def _differing(one: Any, other: Any) -> str:
    names = [field.name for field in dataclasses.fields(one) if field.compare]
    return ", ".join(name for name in names if getattr(one, name) != getattr(other, name))
