"""Two texts side by side in little room, so that the first place where they differ can be seen."""

__all__ = ["contrast"]


def contrast(old: str, new: str, limit: int) -> tuple[str, str]:
    """The texts, each of at most `limit` characters: their beginnings, if they differ there.

    Otherwise each from a little before the first place where they differ.
    """
    pairs = zip(old, new, strict=False)
    same = next(
        (at for at, (one, other) in enumerate(pairs) if one != other), min(len(old), len(new))
    )
    if old == new or same < limit - 1 or max(len(old), len(new)) <= limit:
        return _clipped(old, limit), _clipped(new, limit)
    start = same - limit // 3
    return "…" + _clipped(old[start:], limit - 1), "…" + _clipped(new[start:], limit - 1)


def _clipped(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
