"""Runs carried out by workers on any number of hosts, through a queue in PostgreSQL (procrastinate, ADR 0018)."""
