"""Analyses: one request to examine one piece of evidence, and its record."""
