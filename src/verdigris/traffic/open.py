"""Opens the data plane that a plan names."""

import contextlib
from collections.abc import AsyncIterator

from verdigris.plan.plan import Plan
from verdigris.traffic.data_plane import DataPlane, NotSupported


@contextlib.asynccontextmanager
async def open_data_plane(plan: Plan, *, bind: str | None = None) -> AsyncIterator[DataPlane]:
    """The plan's data plane, until the end of the block; what was applied stays until its lease ends.

    Args:
        plan: its secrets are resolved.
        bind: where this guard listens for the proxy, if the plan does not say it for this guard.
    Raises: TrafficError.
    """
    # Imported late: who splits traffic with one proxy needs nothing of the other.
    match plan.traffic.adapter:
        case "envoy":
            from verdigris.traffic.envoy import open_envoy  # noqa: PLC0415

            async with open_envoy(plan, bind=bind) as envoy:
                yield envoy
        case "haproxy":
            from verdigris.traffic.haproxy import HaproxyDataPlane  # noqa: PLC0415

            haproxy = HaproxyDataPlane(plan)
            try:
                yield haproxy
            finally:
                await haproxy.close()
        case other:
            msg = f"there is no data plane {other!r}; there are: envoy, haproxy"
            raise NotSupported(msg)
