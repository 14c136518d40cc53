"""Text from the air is hostile: what may be shown on a terminal. And words that depend on others."""

from __future__ import annotations

import re

_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f"
    "\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\ufffe\uffff\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)
"""What a terminal obeys, what turns the direction, what is not seen, and what XML can't hold."""


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{{{code:x}}}"


def printable(text: str) -> str:
    """`text` with control, bidirectional and invisible characters written as escapes.

    Tab and newline stay: the caller decides about lines.
    """
    return _UNSAFE.sub(_escape, text)


def one_line(text: str) -> str:
    """`printable`, with tab and newline escaped too: for a table's cell."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def a_or_an(word: str) -> str:
    """The word behind its article."""
    return f"{'an' if word[:1].lower() in 'aeiou' else 'a'} {word}"


def counted(number: int, names: str) -> str:
    """So many of what `names` says in the plural, such as frames."""
    return f"{number:,} {names.removesuffix('s') if number == 1 else names}"
