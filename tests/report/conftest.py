"""Whole runs, of a small network."""

from tests.small_network import small_network as small_network
