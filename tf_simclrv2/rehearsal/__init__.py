"""Compiles the step of a run for a TPU slice that is not there, and says whether it fits."""
