"""Runs: one execution of one detector on one analysis, in a process that can be killed."""
