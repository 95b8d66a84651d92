"""Invisible characters, and others that are not text. Pure.

All are parts of regular expressions, for use within [].
"""

from __future__ import annotations

# C0 and C1, except those that are spaces: tab, line feed and the like.
CONTROLS = r"\x00-\x08\x0e-\x1f\x7f-\x9f"
# Within words of some scripts they change how letters join.
JOINERS = r"\u200c\u200d"
# Direction marks, which a text in Arabic or Hebrew may need ...
DIRECTION_MARKS = r"\u061c\u200e\u200f"
# ... and controls that reverse the direction of everything after them.
TURNS = r"\u202a-\u202e\u2066-\u2069"

# Soft hyphens, joiners, zero-width and bidirectional marks, variation selectors.
UNSEEN = (
    rf"\u00ad\u034f\u180b-\u180f\u200b{JOINERS}{DIRECTION_MARKS}{TURNS}\u2060-\u206f"
    r"\ufe00-\ufe0f\ufeff\ufff0-\ufff8"
)
# Default_Ignorable_Code_Point of the Unicode Character Database: drawn as nothing by a
# program that does not support them. Includes fillers, shorthand and music marks, tags.
IGNORABLE = (
    rf"{UNSEEN}\u115f\u1160\u17b4\u17b5\u3164\uffa0"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
# And others that show nothing: controls, blank Braille.
HIDDEN = rf"{CONTROLS}{IGNORABLE}\u2800"

# Controls other than tab and line feed, lone surrogates, line and paragraph separators,
# direction overrides, annotations, and the language tag.
COMMANDS = (
    rf"{CONTROLS}\x0b\x0c\x0d\ud800-\udfff\u2028\u2029{TURNS}\ufff9-\ufffb\U000e0001"
)
TAGS = r"\U000e0020-\U000e007f"  # used in emoji flags
