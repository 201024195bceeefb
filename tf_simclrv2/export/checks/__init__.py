"""Programs that check an export where this package is not installed."""
