"""Whether the service lives, whether it can work, which version it is, and its metrics."""
