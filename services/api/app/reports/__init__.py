"""The forensic report over HTTP; `earwitness.report` builds it."""
