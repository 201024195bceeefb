"""Strategies, what replicas compute on, what they exchange, and how workers find each other."""
