"""TPU slices by name: their cores, and what a core can do according to Google's documentation."""

from __future__ import annotations

import dataclasses
import math
import re

from tf_simclrv2.errors import ConfigError

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Generation:
    """A generation of TPUs.

    Attributes:
        cores_per_chip: Devices that a program sees on each chip.
        counts_cores: Whether a slice's name, such as v4-16, counts two cores for each chip.
        bounds: Axes of a slice: 2 in a plane, 3 in a cube.
        hbm: Bytes of a device's memory that a program may use.
        flops: Most bfloat16 operations per second of a device.
        bandwidth: Bytes per second between a device and its memory.
        most_chips: Of a slice; those named by a size have a power of two.
    """

    cores_per_chip: int
    counts_cores: bool
    bounds: int
    hbm: float
    flops: float
    bandwidth: float
    most_chips: int

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes of slices by which they are named: from four chips, or one where names count chips."""
        smallest = 4 if self.counts_cores else 1
        chips = [2**n for n in range(self.most_chips.bit_length()) if 2**n >= smallest and 2**n != 2]
        return tuple(number * (2 if self.counts_cores else 1) for number in chips)

    def least_seconds(self, flops: float, accessed: float) -> float:
        """Returns the least time for some operations, and for bytes read from and written to memory."""
        return max(flops / self.flops, accessed / self.bandwidth)


# From https://cloud.google.com/tpu/docs, the page of each generation. Up to v4, each of a chip's two cores is
# a device with half of what the chip has. Of the memory, what the compiler names as available.
GENERATIONS = {
    "v2": Generation(2, True, 2, 7.48 * GIB, 46e12 / 2, 700e9 / 2, 256),
    "v3": Generation(2, True, 2, 15.48 * GIB, 123e12 / 2, 900e9 / 2, 1024),
    "v4": Generation(2, True, 3, 15.25 * GIB, 275e12 / 2, 1228e9 / 2, 4096),
    "v5e": Generation(1, False, 2, 15.75 * GIB, 197e12, 819e9, 256),
    "v5p": Generation(1, True, 3, 95.74 * GIB, 459e12, 2765e9, 6144),
    "v6e": Generation(1, False, 2, 31.25 * GIB, 918e12, 1640e9, 256),
}
_BY_COUNT = re.compile(r"(v\w+?)-(\d+)")
_BY_SHAPE = re.compile(r"(v\w+?):(\d+(?:x\d+){1,2})")


@dataclasses.dataclass(frozen=True)
class TpuSlice:
    """A slice of a TPU pod.

    Attributes:
        name: As it was asked for, for example `v5e-8`.
        kind: The name of its generation, for example `v5e`.
        shape: Chips along each axis.

    Example:
        >>> tpu = parse_slice("v3-8")
        >>> tpu.topology, tpu.replicas
        ('v3:2x2', 8)
    """

    name: str
    kind: str
    shape: tuple[int, ...]

    @property
    def generation(self) -> Generation:
        """What its devices can do."""
        return GENERATIONS[self.kind]

    @property
    def topology(self) -> str:
        """Its name in the TPU's compiler."""
        return f"{self.kind}:{'x'.join(map(str, self.shape))}"

    @property
    def replicas(self) -> int:
        """Devices, each with a replica of its own."""
        return math.prod(self.shape) * self.generation.cores_per_chip


def parse_slice(name: str) -> TpuSlice:
    """Reads the name of a slice: by its size (`v5e-8`, `v3-32`) or its shape in chips (`v5e:4x8`).

    Raises:
        ConfigError: There is no such generation, or no slice of that size.
    """
    alias = name.replace("v5litepod", "v5e")
    by_count, by_shape = _BY_COUNT.fullmatch(alias), _BY_SHAPE.fullmatch(alias)
    found = by_count or by_shape
    if found is None or found[1] not in GENERATIONS:
        raise ConfigError(
            f"tpu is {name!r}, which names no TPU slice; use one of {', '.join(GENERATIONS)} with a size, as "
            "in v3-8 or v5e-8, or with a shape, as in v5e:4x8 or v4:2x2x2."
        )
    generation = GENERATIONS[found[1]]
    if by_shape:
        shape = tuple(map(int, found[2].split("x")))
        if len(shape) != generation.bounds or not all(shape):
            example = "x".join("2" * generation.bounds)
            raise ConfigError(
                f"tpu is {name!r}, but a slice of {found[1]} has {generation.bounds} axes of at least one "
                f"chip; use, for example, {found[1]}:{example}."
            )
        if math.prod(shape) > generation.most_chips:
            raise ConfigError(
                f"tpu is {name!r}, but a slice of {found[1]} has at most {generation.most_chips} chips; use "
                "a smaller shape."
            )
        return TpuSlice(name, found[1], shape)
    size = int(found[2])
    if size not in generation.sizes:
        known = ", ".join(f"{found[1]}-{each}" for each in generation.sizes)
        raise ConfigError(f"tpu is {name!r}, which is no size of a slice; use one of {known}, or its shape.")
    return TpuSlice(name, found[1], _shape(size, generation))


def _shape(size: int, generation: Generation) -> tuple[int, ...]:
    """The shape of a slice of that size that is as square as possible, in powers of two."""
    chips = size // (2 if generation.counts_cores else 1)
    doublings = chips.bit_length() - 1
    # Of the doublings, the last axis gets what the others do not share evenly.
    axes = [doublings // generation.bounds] * generation.bounds
    for i in range(doublings % generation.bounds):
        axes[-1 - i] += 1
    if generation.bounds == 3 and chips == 4:
        axes = [1, 1, 0]  # A host's own four chips lie in a plane.
    return tuple(2**n for n in axes)
