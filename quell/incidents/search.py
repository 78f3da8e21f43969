"""The text by which people find a record: its words in lower case, each once."""

LONGEST_SEARCH = 1000  # characters; what comes later is not found by


def searchable(*parts: str) -> str:
    """
    >>> searchable("INC-4", "Checkout fails", "checkout", "")
    'inc-4 checkout fails'
    """
    words = dict.fromkeys(" ".join(parts).replace("\0", " ").lower().split())
    return " ".join(words).encode("utf-8", "replace").decode()[:LONGEST_SEARCH]
