"""Names as they may be shown: somebody else chose them, and a terminal obeys some characters."""


def shown(text: str, keep: str = "") -> str:
    """`text` with what is not printable, line breaks and changes of direction too, as escapes; but for `keep`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)
