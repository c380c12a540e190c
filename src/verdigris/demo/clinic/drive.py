"""Sends a load plan to the portals at its times, whether or not earlier requests have been answered (an open loop)."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from verdigris.demo.clinic.http_client import Connections, Unreachable
from verdigris.demo.clinic.load import Arrival
from verdigris.demo.errors import RecordingFailed
from verdigris.judge.windows import Role

_MAX_IN_FLIGHT = 128
_BUG = 500
"""No service answers so on purpose."""


def drive(plan: Sequence[Arrival], portals: Mapping[Role, Sequence[int]], on_progress: Callable[[float], None] | None = None) -> None:
    """Returns when every request of the plan is answered.

    Args:
        plan: in the order of arrival.
        portals: each role's ports.
        on_progress: called with the share of the plan that was sent, in (0, 1].
    Raises: RecordingFailed: a portal could not be reached or broke.
    """
    failures: list[str] = []

    with ExitStack() as stack:
        browsers = {role: [stack.enter_context(Connections(port)) for port in ports] for role, ports in portals.items()}

        def send(arrival: Arrival) -> None:
            request = arrival.request
            headers = {"Host": "portal", "X-Request-Id": request.id, "X-Health-Card": request.card}
            try:
                reply = browsers[arrival.role][arrival.portal].exchange(request.method, request.path, headers)
            except Unreachable as error:
                failures.append(str(error))
            else:
                if reply.status == _BUG:
                    failures.append(f"{request.method} {request.path} was answered with {_BUG}")

        # Left before the connections, however that happens: what is in flight is answered, the rest is dropped.
        pool = ThreadPoolExecutor(_MAX_IN_FLIGHT, thread_name_prefix="load")
        stack.callback(pool.shutdown, cancel_futures=True)
        start_s = time.monotonic()
        for sent, arrival in enumerate(plan, start=1):
            time.sleep(max(0.0, start_s + arrival.at_s - time.monotonic()))
            pool.submit(send, arrival)
            if failures:
                break
            if on_progress:
                on_progress(sent / len(plan))
        pool.shutdown()
    if failures:
        msg = f"the system under load broke: {failures[0]}"
        raise RecordingFailed(msg)
