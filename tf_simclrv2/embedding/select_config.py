"""What to choose from, how, and where to write it; each option of `simclrv2 select` is a field."""

from __future__ import annotations

import dataclasses
from typing import Literal

from tf_simclrv2.errors import ConfigError
from tf_simclrv2.setting import as_path, check_settings, documented, required, setting


@documented
@dataclasses.dataclass(frozen=True)
class SelectConfig:
    """What to choose from, how, and where to write it.

    Raises:
        ConfigError: A value cannot be used.
    """

    embeddings: str = required("What simclrv2 embed wrote.", flag=None)
    output: str = required(
        "The CSV file to fill in, for --labels_from, with the columns path, label and prediction. A page to "
        "label from is written next to it, with .html instead of .csv."
    )
    budget: int = required("How many images to choose.", minimum=1)
    strategy: Literal["typical", "coverage", "margin", "uniform"] = setting(
        "typical", "How to choose; margin needs a fine-tuned network's classifier."
    )
    labeled: str | None = setting(None, "A CSV file of images that have a label already, as path,label.")
    seed: int = setting(0, "The seed of everything that is drawn.", minimum=0, below=2**31)
    overwrite: bool = setting(False, "Replace existing files, although labels may be in them.")

    def __post_init__(self) -> None:
        # It imports TensorFlow.
        from tf_simclrv2.embedding.outputs import check_outputs, exists, refuse_inputs

        check_settings(self)
        if not self.output.endswith(".csv"):
            raise ConfigError(f"output is {self.output!r}; the list is a .csv file, so pass --output=….csv.")
        check_outputs((self.output,), (".csv",))
        refuse_inputs((self.output, self.page), filter(None, (self.embeddings, self.labeled)))
        for path in (self.output, self.page):
            if exists(as_path("output", path)) and not self.overwrite:
                raise ConfigError(f"output is {path!r}, which exists; choose another, or pass --overwrite.")

    @property
    def page(self) -> str:
        """The path of the page."""
        return f"{self.output.removesuffix('.csv')}.html"
