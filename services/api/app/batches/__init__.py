"""Batches: many recordings examined, as fast as the queue takes them."""
