"""What ends the keeping of evidence, and what forbids to end it. Nothing else removes evidence."""
