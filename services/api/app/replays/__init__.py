"""Replays: an old run made again from the stored bytes and the model of then, and what came out otherwise."""
