"""An unexpected exception as log fields, without its text: that may hold patient data."""

import traceback


def described(error: BaseException) -> dict[str, str]:
    """The exception's type and the line that raised it.

    >>> try:
    ...     int("x")
    ... except ValueError as error:
    ...     described(error)["error"]
    'ValueError'
    """
    frames = traceback.extract_tb(error.__traceback__)
    at = f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else ""
    return {"error": type(error).__name__, "at": at}
