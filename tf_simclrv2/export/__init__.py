"""Exports a trained network in the forms that other programs load, and checks each export."""
