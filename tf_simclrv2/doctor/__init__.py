"""The doctor measures this machine, and estimates the time and memory of a run before it is started."""
