"""Characters that must not stand in a report as they are: what draws nothing, or turns the direction of reading.

visible("holiday\\u202egpj.exe")        # "holiday[U+202E]gpj.exe"
"""

import unicodedata

SHAPELESS = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))  # Unicode's general categories
JOINERS = frozenset("\u200c\u200d")
"""Persian and Indic scripts are spelled with these; they draw nothing and turn nothing."""


def visible(text: str) -> str:
    """`text` with what has no shape of its own named by its code point; line ends become spaces."""
    return "".join(named(char) if is_shapeless(char) else char for char in " ".join(text.splitlines()))


def is_shapeless(char: str) -> bool:
    return unicodedata.category(char) in SHAPELESS and char not in JOINERS


def named(char: str) -> str:
    return f"[U+{ord(char):04X}]"
