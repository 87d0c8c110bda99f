"""Colours that people choose, and the ink that can be read on them: WCAG 2.2, 1.4.3. Pure."""

import re
from typing import Final

READABLE: Final = 4.5
"""Least contrast between a text and what is behind it (level AA)."""

_WHITE, _BLACK = "#ffffff", "#000000"
_HEX = re.compile(r"#?([0-9a-f]{3}|[0-9a-f]{6})", re.IGNORECASE)


def as_hex(text: str) -> str:
    """A colour as `#rrggbb` in small letters; raises ValueError for what is none."""
    found = _HEX.fullmatch(text.strip())
    if found is None:
        raise ValueError("a colour was expected, such as #0b5cad")
    digits = found[1].lower()
    return f"#{digits if len(digits) == 6 else ''.join(each * 2 for each in digits)}"


def contrast(one: str, other: str) -> float:
    """How much two colours stand out from each other, 1 to 21: https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def ink_on(ground: str) -> str:
    """White where it can be read on `ground`, else black, which then can: one of the two always is."""
    return _WHITE if contrast(_WHITE, ground) >= READABLE else _BLACK


def _luminance(text: str) -> float:
    parts = (int(text[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
