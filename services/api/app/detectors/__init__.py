"""Where the detector comes from, and what is told about it."""
