"""Telling others that a run has ended: signed by the Standard Webhooks scheme, retried, never to a private address."""
