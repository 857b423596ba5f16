"""Evidence: receiving the bytes, keeping them unaltered, handing them back."""
