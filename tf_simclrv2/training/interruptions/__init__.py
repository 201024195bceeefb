"""How a training that has begun may end early."""
