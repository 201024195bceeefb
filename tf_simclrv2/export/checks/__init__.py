"""Programs that try an export where this package is not installed."""
