"""Time zones by their names."""

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


def time_zone(name: str) -> ZoneInfo:
    """The IANA time zone of a name.

    Raises:
        ValueError: there is none; says what one looks like.

    >>> time_zone("US")
    Traceback (most recent call last):
    ValueError: no IANA time zone 'US', such as America/New_York
    """
    try:
        return ZoneInfo(name)
    # Parts of names are folders of the database, and are opened as files.
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"no IANA time zone {name!r}, such as America/New_York") from None
