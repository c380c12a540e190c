"""The unit in which content is taken apart: a line, an array element, a message."""

from dataclasses import dataclass

PART_BYTES = 64 << 20
"""The largest part read by default, the decoder's own default bound of a body. A larger one is named and passed over,
without ever being held."""


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of content that is read as a whole or not at all.

    Attributes:
        where: its place, as in `Problem.where`.
        content: its bytes.
        cut_off: the content ended before the mark that ends such a part (for a line: its line feed). That alone is
            no problem; when the part cannot be read it is the likely reason.
        key: the key of the array that this element was taken from; empty for an unnamed array and for whole documents.
    """

    where: str
    content: bytes
    cut_off: bool = False
    key: str = ""


def size_text(size_bytes: int) -> str:
    """A byte count for a person: "64 MiB", "900 bytes"."""
    return f"{size_bytes >> 20} MiB" if size_bytes >= 1 << 20 else f"{size_bytes} bytes"


def within(where: str, place: str) -> str:
    """The name of a place inside a part: "data[3]" and ".spans[7]" make "data[3].spans[7]"."""
    if not place or where.endswith("]"):
        return where + place
    inner = place.lstrip(".")
    return inner if where == "document" else f"{where}: {inner}"
