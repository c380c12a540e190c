"""One question over HTTP to somebody outside, who may be slow, endless or somebody else. Knows nothing of what is asked.

What comes back must prove itself, by a signature: neither TLS nor the address is what makes it believed, so plain HTTP is possible.
"""

import asyncio
import ssl
from dataclasses import dataclass
from pathlib import Path

import httpx

from verdigris.ledger.errors import LedgerError

CONNECT_S = 5.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What was answered. `media`: the content type without its parameters, in small letters."""

    status: int
    media: str
    body: bytes


def post(url: str, body: bytes, media: str, *, ca: Path | None, limit_s: float, bytes_max: int, failed: type[LedgerError]) -> Reply:
    """Send it and wait for the answer: at most `limit_s`, at most `bytes_max`. Redirections, proxies and credentials from the
    environment are not followed. Not to be called in an event loop's thread, which it would stop.

    Args:
        ca: certificates (PEM) that https is verified with; None: the ones that the system trusts.
        failed: what to raise.
    """
    try:
        tls = ssl.create_default_context(cafile=ca) if httpx.URL(url).scheme == "https" else None
        # httpx bounds the wait for each piece of an answer; that all of them are here in time only an event loop can see to.
        return asyncio.run(_posted(url, body, media, tls, limit_s, bytes_max))
    except TimeoutError as error:
        msg = f"{url} did not answer within {limit_s:g} s"
        raise failed(msg) from error
    except httpx.TimeoutException as error:
        msg = f"{url} cannot be reached within {min(CONNECT_S, limit_s):g} s"
        raise failed(msg) from error
    except _TooLong as error:
        msg = f"the answer of {url} is larger than {bytes_max} bytes; nothing of it was used"
        raise failed(msg) from error
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:  # OSError: the certificates cannot be read
        msg = f"cannot ask {url}: {str(error) or type(error).__name__}"
        raise failed(msg) from error


class _TooLong(Exception):
    pass


async def _posted(url: str, body: bytes, media: str, tls: ssl.SSLContext | None, limit_s: float, bytes_max: int) -> Reply:
    # Nothing compressed: what is bounded are the bytes that arrive.
    headers = {"content-type": media, "accept-encoding": "identity"}
    timeout = httpx.Timeout(None, connect=CONNECT_S)
    answer = bytearray()
    async with asyncio.timeout(limit_s), httpx.AsyncClient(verify=tls or False, timeout=timeout, trust_env=False) as client:
        async with client.stream("POST", url, content=body, headers=headers) as response:
            async for chunk in response.aiter_raw():
                answer += chunk
                if len(answer) > bytes_max:
                    raise _TooLong
        return Reply(response.status_code, response.headers.get("content-type", "").partition(";")[0].strip().lower(), bytes(answer))
