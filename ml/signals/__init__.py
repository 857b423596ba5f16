"""The usual ranges of the library's signals, measured over a corpus of human and synthetic speech.

python -m ml.signals --manifest runs/manifests/earcorpus.csv

`measure` examines recordings through the library, `table` makes percentiles of what was measured. The result ships
with the library (`earwitness.signals.usual`); how it is read, and what it is not, stands in docs/signals.md.
"""
