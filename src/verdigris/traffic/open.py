"""Opens the data plane that a plan names: to act on it, or only to look."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from verdigris.plan.plan import Plan
from verdigris.traffic.data_plane import DataPlane, NotSupported, Split

Look = Callable[[], Awaitable[Split | None]]
"""What is in force now, by the proxy's own word; None where it cannot be told. Raises: TrafficError."""


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


@contextlib.asynccontextmanager
async def open_look(plan: Plan) -> AsyncIterator[Look]:
    """Look at the plan's data plane, until the end of the block. Nothing is listened on, written, or sent that could change anything.

    Args:
        plan: its secrets are resolved.
    Raises: TrafficError.
    """
    match plan.traffic.adapter:
        case "envoy":
            from verdigris.traffic.envoy import observed  # noqa: PLC0415
            from verdigris.traffic.envoy_admin import EnvoyAdmin  # noqa: PLC0415
            from verdigris.traffic.envoy_settings import envoy_settings  # noqa: PLC0415

            settings = envoy_settings(plan)
            admin = EnvoyAdmin(settings.admin)
            try:
                yield lambda: observed(settings, admin)
            finally:
                await admin.close()
        case "haproxy":
            from verdigris.traffic.haproxy import HaproxyDataPlane  # noqa: PLC0415

            haproxy = HaproxyDataPlane(plan)
            try:
                yield haproxy.look
            finally:
                await haproxy.close()
        case other:
            msg = f"there is no data plane {other!r}; there are: envoy, haproxy"
            raise NotSupported(msg)
