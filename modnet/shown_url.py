"""URLs as anybody may read them."""

from urllib.parse import urlsplit


def shown_url(url: str) -> str:
    """The URL without what may be secret: user, password, query."""
    try:
        parts = urlsplit(url)
    except ValueError:  # an IPv6 address without its bracket
        return "(a malformed URL)"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
