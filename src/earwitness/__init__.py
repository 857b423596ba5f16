"""earwitness: was the speech in this recording made by a machine?"""

__version__ = "0.1.0"
