"""Times in one spelling: RFC 3339 in UTC with nanoseconds, as the record has them. Pure."""

import re
from datetime import UTC, datetime, timedelta

NANO = 1_000_000_000
DAY_NANO = 86_400 * NANO
UNIX_NANO_MAX = 253_402_300_800 * NANO
"""The end of the year 9999, in nanoseconds since 1970; all times are before it."""
_EPOCH = datetime.fromtimestamp(0, UTC)
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{9}Z\Z")


def rfc3339(unix_nano: int) -> str:
    """A time as text."""
    seconds, nano = divmod(unix_nano, NANO)
    return f"{(_EPOCH + timedelta(seconds=seconds)).replace(tzinfo=None).isoformat()}.{nano:09}Z"


def unix_nano(text: str) -> int:
    """What `rfc3339` gives, and no other spelling. Raises: ValueError."""
    if not _TIME.match(text):
        msg = f"not a time in UTC with nanoseconds: {text[:40]!r}"
        raise ValueError(msg)
    return unix_nano_of(datetime.fromisoformat(text[:19] + "+00:00")) + int(text[20:29])


def unix_nano_of(moment: datetime) -> int:
    """A moment with its offset, in whole numbers: a float would round. Raises: ValueError: it is before 1970."""
    nano = (moment - _EPOCH) // timedelta(microseconds=1) * 1_000
    if nano < 0:
        msg = "a time before 1970"
        raise ValueError(msg)
    return nano
