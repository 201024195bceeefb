"""Reports on a run, or several, in one self-contained HTML page."""
