"""The evidence of one look: the windows that were closed, and what the proxy counted in them. Bytes that give the same look again."""

import hashlib
import json
from dataclasses import dataclass

from verdigris.judge.reference import Proxied
from verdigris.judge.windows import Window, Windows


@dataclass(frozen=True, slots=True)
class Look:
    """One window as both roles and the proxy saw it. `proxied` is None where the proxy's counters do not cover the window.

    `step` is the plan's step whose weight was in force when the window began.
    """

    window_s: int
    window: Window
    proxied: Proxied | None
    step: int = 0

    def canonical_bytes(self) -> bytes:
        """JSON with sorted keys and without white space; what is kept, hashed and replayed."""
        windows = json.loads(Windows(self.window_s, (self.window,)).canonical_bytes())
        proxied = None if self.proxied is None else [self.proxied.baseline, self.proxied.candidate]
        return json.dumps(
            {"proxied": proxied, "step": self.step, "windows": windows}, sort_keys=True, separators=(",", ":"), ensure_ascii=False
        ).encode()

    def digest(self) -> str:
        """SHA-256 of the canonical bytes, in hex."""
        return hashlib.sha256(self.canonical_bytes()).hexdigest()

    @classmethod
    def from_bytes(cls, canonical: bytes) -> "Look":
        """What `canonical_bytes` wrote. Raises: ValueError."""
        document = json.loads(canonical)
        windows = Windows.from_bytes(json.dumps(document["windows"]).encode())
        (window,) = windows.windows
        proxied = None if document["proxied"] is None else Proxied(*document["proxied"])
        return cls(windows.window_s, window, proxied, document["step"])


def every_window(windows: Windows, start_unix_s: int, until_unix_s: int) -> list[Window]:
    """All windows of a closed period, also those in which no trace began: nothing seen is something seen."""
    seen = {window.start_unix_s: window for window in windows.windows}
    first = -(-start_unix_s // windows.window_s) * windows.window_s
    starts = range(first, until_unix_s - windows.window_s + 1, windows.window_s)
    return [seen.get(start, Window(start)) for start in starts]
