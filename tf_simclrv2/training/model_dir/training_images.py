"""Which images a run is trained on, by their number and names; a run that resumes is compared with them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

from tf_simclrv2.data import Source


@dataclasses.dataclass(frozen=True)
class TrainingImages:
    """The images of one stream of a run.

    Attributes:
        source: Where they are, for messages.
        count: How many there are.
        names_hash: See `Source`; "" if their names are not known.
        labels_hash: Of the labels that are learned, image by image; "" if none are, or they are not known.
    """

    source: str
    count: int
    names_hash: str = ""
    labels_hash: str = ""

    def change(self, now: TrainingImages) -> str:
        """Returns how the images have changed, in a few words; empty if they are the same."""
        if self.count != now.count:
            return f"{self.source} had {self.count:,}, and {now.source} has {now.count:,}"
        if self.names_hash and now.names_hash and self.names_hash != now.names_hash:
            return f"the names of the {now.count:,} images of {now.source} differ from those of {self.source}"
        if self.labels_hash and now.labels_hash and self.labels_hash != now.labels_hash:
            return (
                f"the labels of the {now.count:,} images of {now.source} differ from those of {self.source}"
            )
        return ""


def training_images(
    train: Source, labeled: Source | None, learned: Source | None = None
) -> dict[str, TrainingImages]:
    """Returns the images of a run by stream.

    Args:
        train: Images to train on.
        labeled: Distillation's labeled images; None if there are none.
        learned: The one of both whose labels a file gives and the network learns; None (the default) if none
            is.
    """
    sources = {"train": train, "labeled": labeled}
    return {
        stream: TrainingImages(
            source.name,
            source.num_examples,
            source.names_hash,
            labels_hash(source) if source is learned else "",
        )
        for stream, source in sources.items()
        if source is not None
    }


def labels_hash(source: Source) -> str:
    """Returns a hash of the labels in the order of the records; "" if reading them means reading images."""
    if not source.light:
        return ""
    digest = hashlib.sha256()
    for batch in source.records.batch(4096).as_numpy_iterator():
        digest.update(batch["label"].astype("<i8").tobytes())
    return digest.hexdigest()[:16]


def to_plain(images: Mapping[str, TrainingImages]) -> dict[str, Any]:
    """Returns the images of each stream as plain values, for a JSON file."""
    return {stream: dataclasses.asdict(of_stream) for stream, of_stream in images.items()}


def from_plain(values: Mapping[str, Any]) -> dict[str, TrainingImages]:
    """Undoes `to_plain`.

    Raises:
        TypeError: The values are of something else.
    """
    return {stream: TrainingImages(**of_stream) for stream, of_stream in values.items()}


def changes(before: Mapping[str, TrainingImages], now: Mapping[str, TrainingImages]) -> list[str]:
    """Returns how the images have changed in each stream that both have; empty if they have not."""
    found = [before[stream].change(now[stream]) for stream in now if stream in before]
    return [change for change in found if change]
