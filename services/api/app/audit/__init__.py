"""Audit events: who did what and when, each chained to the one before by its hash."""
