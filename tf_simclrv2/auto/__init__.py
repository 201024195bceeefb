"""One command from a folder of pictures to a model: it looks, plans, and runs the ordinary commands."""
