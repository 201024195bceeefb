"""Embeds images: their features, in a file with the name, class and prediction of each."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from typing import Literal

import numpy as np
import tensorflow as tf

from tf_simclrv2.config import DataConfig, RunConfig
from tf_simclrv2.data import Share, evaluation_batches
from tf_simclrv2.data.encoded_images import MAX_PIXELS
from tf_simclrv2.data.folder_source import absolute_path
from tf_simclrv2.distribution.compilation_cache import keep_compiled_steps
from tf_simclrv2.distribution.device_errors import device_errors_explained
from tf_simclrv2.distribution.strategy import local_strategy
from tf_simclrv2.embedding.embed_config import EmbedConfig
from tf_simclrv2.embedding.embedding_file import extension_of, write_embeddings
from tf_simclrv2.embedding.embedding_parts import EmbeddingParts, embedding_parts
from tf_simclrv2.embedding.embeddings import Embeddings, Origin
from tf_simclrv2.embedding.images import Images, find_images
from tf_simclrv2.embedding.network_identity import network_identity
from tf_simclrv2.errors import ConfigError, DataError
from tf_simclrv2.evaluation import FeatureExtractor
from tf_simclrv2.export.staging import stage
from tf_simclrv2.export.trained_network import TrainedNetwork, load_trained_network
from tf_simclrv2.files import write_atomically
from tf_simclrv2.precision import set_tf32
from tf_simclrv2.progress import Progress, Say, phase

LOGITS = "logits_sup"
# Images in a part, about; a program that is stopped computes no more than so many again.
PART = 4096


def embed(config: EmbedConfig, say: Say) -> str:
    """Embeds images, and writes the file when all are done.

    Until then the parts that are done lie in `<output>.parts`, and the same call continues there.

    Args:
        config: What to embed.
        say: Receives lines for the user.

    Returns:
        A line that says what was written.

    Raises:
        CheckpointError: There are no weights.
        ConfigError: The network has no such endpoint, a setting cannot be used, or another program writes
            the same output.
        DataError: There are no images, or none can be read.
        ExportError: The output cannot be written.
        RunError: The device's memory ran out.

    Example:
        >>> embed(EmbedConfig("runs/mine", "pictures.parquet", data_dir="pictures"), print)
        'embedded 500 images: pictures.parquet (512 numbers each, final_avg_pool)'
    """
    keep_compiled_steps(RunConfig().compile_cache)
    images = find_images(config.data_dir, config.files, config.dataset, config.split)
    if images.source.summary:
        say(images.source.summary)
    with device_errors_explained(f"lower --batch_size ({config.batch_size})"):
        embedder = Embedder(config.network, config.endpoint, say, config.strategy)
        batch_size = embedder.batch_size(config.batch_size, images.source.num_examples)
        with _parts(config, batch_size, images, embedder) as parts:
            _compute(batch_size, images, embedder, parts, say)
            return _publish(config, parts, embedder.width, say)


class Embedder:
    """A trained network that embeds images, with the `tf32` of the run that trained it.

    Args:
        path: A model_dir, a `ckpt-N` or a SavedModel.
        endpoint: The endpoint whose values are the embedding.
        say: Receives lines for the user.
        strategy: Which devices compute, as `local_strategy` has it; `auto` by default.

    Attributes:
        trained: The network, and what is known of it.
        background: What transparent images are laid on.
        width: Of an embedding.

    Raises:
        CheckpointError: There are no weights.
        ConfigError: The network has no such endpoint.
    """

    def __init__(
        self,
        path: str,
        endpoint: str,
        say: Say,
        strategy: Literal["auto", "one_device", "mirrored"] = "auto",
    ) -> None:
        self.strategy = local_strategy(strategy)
        with phase("loading the network", say), self.strategy.scope():
            self.trained: TrainedNetwork = load_trained_network(path, "network")
        network, run = self.trained.network, self.trained.config
        if run:
            set_tf32(run.training.tf32)
        network.config.truncated(endpoint)  # Refuses an endpoint that is not a vector.
        data = run.data if run else DataConfig()
        self.background, self.color = data.background, data.background_color
        self.width = network.endpoint_widths[endpoint]
        self._classifies = network.supervised_head is not None
        endpoints = [endpoint, *([LOGITS] if self._classifies and endpoint != LOGITS else [])]
        self._extract = FeatureExtractor(network, endpoints, self.strategy, compile="auto")
        self._path, self._endpoint = path, endpoint

    def batch_size(self, asked: int, images: int) -> int:
        """Returns a batch size that the replicas share evenly, not larger than the images need."""
        replicas = self.strategy.num_replicas_in_sync
        return -(-min(asked, images) // replicas) * replicas

    def origin(self, folder: str) -> Origin:
        """Returns where embeddings of images in a folder come from."""
        return Origin(
            network=network_identity(self.trained.network, self._endpoint),
            network_path=absolute_path(self._path),
            endpoint=self._endpoint,
            folder=folder,
            background=self.background,
        )

    def embed(self, images: Images, batch_size: int) -> Embeddings:
        """Embeds a few images.

        Args:
            images: The images.
            batch_size: Images of a batch.

        Raises:
            DataError: One of them cannot be read.
        """
        batch_size = self.batch_size(batch_size, images.source.num_examples)
        embeddings, unreadable = zip(*self.batches(images, batch_size), strict=True)
        for name in (name for names in unreadable for name in names):
            raise DataError(
                f"the image {name!r} cannot be read, or has more than {MAX_PIXELS:,} pixels; leave it out or "
                "repair it."
            )
        found = Embeddings.joined(embeddings)
        return dataclasses.replace(found, origin=self.origin(images.source.folder))

    def batches(
        self, images: Images, batch_size: int, start: int = 0
    ) -> Iterator[tuple[Embeddings, list[str]]]:
        """Embeds images batch by batch.

        Args:
            images: The images.
            batch_size: Images of a batch.
            start: The first image; a multiple of `batch_size`.

        Yields:
            The embeddings of a batch, and the names of the images in it that could not be read.
        """
        source, names = images.source, self.trained.class_names
        rest = dataclasses.replace(
            source,
            records=source.records.skip(start),
            num_examples=source.num_examples - start,
            background=self.color,
            shards=None,
        )
        batches = self.strategy.distribute_datasets_from_function(
            lambda context: evaluation_batches(
                rest,
                image_size=self.trained.network.config.image_size,
                batch_size=batch_size,
                share=Share.of_context(context),
                keep_unreadable=True,
            )
        )
        for batch in batches:
            features, labels, mask = self._extract.of_batch(batch)
            named = np.array(images.names_from(start, batch_size), object)
            mask = mask[: len(named)]
            start += len(named)
            vectors = features[self._endpoint][: len(named)][mask]
            logits = features[LOGITS][: len(named)][mask] if self._classifies else None
            known = labels[: len(named)][mask]
            classes = np.array([source.class_names[label] if label >= 0 else "" for label in known], object)
            part = Embeddings(
                named[mask], classes, *_predictions(logits, names, len(known)), vectors.astype(np.float32)
            )
            yield part, named[~mask].tolist()


def _predictions(
    logits: np.ndarray | None, names: tuple[str, ...], count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The predicted class of each image, its probability, and by how much it exceeds the next."""
    if logits is None:
        nothing = np.full(count, np.nan, np.float32)
        return np.full(count, "", object), nothing, nothing
    probabilities = tf.nn.softmax(logits.astype(np.float32)).numpy()
    best = probabilities.argmax(axis=1)
    first = probabilities[np.arange(count), best]
    probabilities[np.arange(count), best] = 0.0
    texts = [names[label] if label < len(names) else str(label) for label in best.tolist()]
    return np.array(texts, object), first, first - probabilities.max(axis=1, initial=0.0)


@contextlib.contextmanager
def _parts(
    config: EmbedConfig, batch_size: int, images: Images, embedder: Embedder
) -> Iterator[EmbeddingParts]:
    origin = embedder.origin(images.source.folder)
    settings = {
        **dataclasses.asdict(origin),
        "images": images.source.name,
        "count": images.source.num_examples,
        "names_hash": images.source.names_hash,
        "batch_size": batch_size,
        "image_size": embedder.trained.network.config.image_size,
    }
    with contextlib.ExitStack() as stack:
        try:
            parts = stack.enter_context(embedding_parts(f"{config.output}.parts", settings, origin))
        except OSError as error:
            raise ConfigError(
                f"output is {config.output!r}, which cannot be written ({error}); choose another."
            ) from error
        yield parts


def _compute(batch_size: int, images: Images, embedder: Embedder, parts: EmbeddingParts, say: Say) -> None:
    """Embeds what the parts lack."""
    batches_of_part = max(1, PART // batch_size)
    total = -(-images.source.num_examples // batch_size)
    done = min(parts.count * batches_of_part, total)
    if done:
        say(f"{min(done * batch_size, images.source.num_examples):,} images are already embedded")
    if done == total:
        return
    with Progress("embedding, batch", total, say, start=done, unit="images", per_item=batch_size) as progress:
        waiting: list[tuple[Embeddings, list[str]]] = []
        for found in embedder.batches(images, batch_size, done * batch_size):
            waiting.append(found)
            progress.advance()
            done += 1
            if len(waiting) == batches_of_part or done == total:
                embeddings, unreadable = zip(*waiting, strict=True)
                parts.add(Embeddings.joined(embeddings), [name for names in unreadable for name in names])
                waiting = []


def _publish(config: EmbedConfig, parts: EmbeddingParts, width: int, say: Say) -> str:
    count, unreadable = parts.images, parts.unreadable
    if not count:
        parts.remove()
        raise DataError(f"no image can be read, not even {unreadable[0]!r}; {len(unreadable):,} were tried.")
    with phase("writing the embeddings", say), stage(config.output, config.overwrite) as path:
        write_embeddings(path, extension_of(config.output), lambda: parts, count, width)
    listing = f"{config.output}.unreadable.txt"
    with contextlib.suppress(FileNotFoundError):
        os.remove(listing)
    if unreadable:
        write_atomically(listing, "\n".join([*unreadable, ""]))
        say(f"{len(unreadable):,} unreadable, such as {unreadable[0]!r}; {listing} lists them")
    parts.remove()
    return f"embedded {count:,} images: {config.output} ({width:,} numbers each, {config.endpoint})"
