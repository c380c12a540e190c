"""How the demonstration's processes talk to the one that started them: a JSON line each way, and the end of standard input is the end.

So nothing keeps running when the starter dies, however it dies.
"""

import asyncio
import json
import sys
from typing import Any

LINE_BYTES_MAX = 64 * 1024


class Chatter:
    """This process's end of the conversation."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        """Made by `open`."""
        self._reader = reader

    @classmethod
    async def open(cls) -> "Chatter":
        """Reads standard input from the running loop."""
        reader = asyncio.StreamReader(limit=LINE_BYTES_MAX)
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        return cls(reader)

    async def hear(self) -> dict[str, Any]:
        """The next line. Raises: EOFError: the starter is gone or wants no more."""
        line = await self._reader.readline()
        if not line:
            raise EOFError
        heard: dict[str, Any] = json.loads(line)
        return heard

    @staticmethod
    def say(document: dict[str, Any]) -> None:
        """One line to the starter."""
        sys.stdout.write(json.dumps(document) + "\n")
        sys.stdout.flush()

    async def ended(self) -> None:
        """Returns when the starter closes our standard input or is gone."""
        while await self._reader.readline():
            pass
