"""The data types of the SSH protocols: strings with their length, numbers, big numbers. Pure.

Every reading has a bound, and every value one spelling: what `Reader` takes is what the writers give, so that two different texts never
mean the same. Errors are ValueError; who reads says what was being read.

Source: RFC 4251, section 5.
"""

UINT32_BYTES = 4


class Reader:
    """Reads values from the front of some bytes. Raises, everywhere: ValueError."""

    def __init__(self, data: bytes) -> None:
        """`data`: all of it; `end` says whether all was read."""
        self._data, self._at = data, 0

    def take(self, count: int) -> bytes:
        """So many bytes."""
        if count > len(self._data) - self._at:
            msg = f"it ends after {len(self._data)} bytes, in the middle of a value"
            raise ValueError(msg)
        taken = self._data[self._at : self._at + count]
        self._at += count
        return taken

    def uint8(self) -> int:
        """One byte."""
        return self.take(1)[0]

    def uint32(self) -> int:
        """Four bytes, the greatest first."""
        return int.from_bytes(self.take(UINT32_BYTES))

    def string(self, bytes_max: int) -> bytes:
        """Bytes with their length before them."""
        length = self.uint32()
        if length > bytes_max:
            msg = f"a value has {length} bytes, and may have {bytes_max}"
            raise ValueError(msg)
        return self.take(length)

    def text(self, chars_max: int) -> str:
        """A string of visible ASCII, as names of algorithms are."""
        value = self.string(chars_max)
        if not all(0x21 <= byte <= 0x7E for byte in value):  # noqa: PLR2004  # "!" to "~"
            msg = "a name has characters that are not visible ASCII"
            raise ValueError(msg)
        return value.decode("ascii")

    def mpint(self, bytes_max: int) -> int:
        """A big number that is not negative, in as few bytes as it needs."""
        value = self.string(bytes_max + 1)  # one more for the zero that keeps a high first bit from being a sign
        number = int.from_bytes(value)
        if value != _mpint_bytes(number):
            msg = "a big number is negative or has zeros before it"
            raise ValueError(msg)
        return number

    def end(self) -> None:
        """There is nothing more."""
        if self._at != len(self._data):
            msg = f"{len(self._data) - self._at} bytes follow where nothing may"
            raise ValueError(msg)


def uint32(value: int) -> bytes:
    """Four bytes. Raises: OverflowError."""
    return value.to_bytes(UINT32_BYTES)


def string(value: bytes | str) -> bytes:
    """Bytes, or text as UTF-8, with their length before them."""
    encoded = value.encode() if isinstance(value, str) else value
    return uint32(len(encoded)) + encoded


def mpint(value: int) -> bytes:
    """A big number that is not negative."""
    return string(_mpint_bytes(value))


def _mpint_bytes(value: int) -> bytes:
    # One bit more than the number has, for the sign; zero has no bytes at all.
    return value.to_bytes(value.bit_length() // 8 + 1) if value else b""
