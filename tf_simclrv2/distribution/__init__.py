"""Strategies and devices, what replicas and workers exchange, and how workers find each other."""
