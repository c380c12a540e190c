"""The three systems of the case studies: a clinic, a bank and a shop. Times are chosen so that one small machine can run both
versions beside proxy, guard and load, and still mostly wait rather than compute: then latencies are the system's, not the machine's.

A service does its own work before it calls others, so that a callee that fails does not take steps of its callers with it.
"""

from collections.abc import Mapping
from types import MappingProxyType

from verdigris.demo.system.model import Ask, Call, Outside, Route, Service, System, Work

CLINIC = System(
    name="clinic",
    title="a clinic's appointments: portal → scheduling → eligibility → an insurer's API",
    services=(
        Service(
            "portal",
            (
                Route("GET", "/appointments", (Work(0.006), Call("scheduling", "GET", "/slots"))),
                Route(
                    "POST",
                    "/appointments/{id}/book",
                    (Work(0.006), Call("scheduling", "POST", "/slots/{}/reservations")),
                ),
            ),
        ),
        Service(
            "scheduling",
            (
                Route("GET", "/slots", (Work(0.030),)),
                Route(
                    "POST",
                    "/slots/{id}/reservations",
                    (Work(0.020), Call("eligibility", "GET", "/coverage/{}")),
                ),
            ),
        ),
        Service("eligibility", (Route("GET", "/coverage/{card}", (Work(0.008), Call("insurer-api", "GET", "/coverage/{}"))),)),
    ),
    asks=(Ask("GET", "/appointments", 0.6), Ask("POST", "/appointments/{}/book", 0.4)),
    outside=Outside("insurer-api", "insurer-api.example", 0.030, limited_version="v2", limited_per_s=5.0, extra_s=(0.150, 0.450)),
)

BANK = System(
    name="bank",
    title="a bank's accounts: web → accounts (which asks for credentials) → ledger",
    services=(
        Service(
            "web",
            (
                Route("GET", "/rates", (Work(0.025),)),
                Route("GET", "/accounts/{id}", (Work(0.006), Call("accounts", "GET", "/accounts/{}"))),
            ),
        ),
        Service(
            "accounts",
            (Route("GET", "/accounts/{id}", (Work(0.015), Call("book", "GET", "/entries/{}")), credentials=True),),
        ),
        Service("book", (Route("GET", "/entries/{id}", (Work(0.025),)),)),
    ),
    asks=(Ask("GET", "/rates", 0.3), Ask("GET", "/accounts/{}", 0.7, anonymous_share=0.05)),
)

SHOP = System(
    name="shop",
    title="a shop's transactions: checkout → payments and stock",
    services=(
        Service(
            "checkout",
            (
                Route("GET", "/basket/{id}", (Work(0.006), Call("stock", "GET", "/stock/{}"))),
                Route(
                    "POST",
                    "/orders/{id}",
                    (Work(0.008), Call("stock", "GET", "/stock/{}"), Call("payments", "POST", "/payments/{}")),
                ),
            ),
        ),
        Service("payments", (Route("POST", "/payments/{id}", (Work(0.040),)),)),
        Service("stock", (Route("GET", "/stock/{id}", (Work(0.015),)),)),
    ),
    asks=(Ask("GET", "/basket/{}", 0.6), Ask("POST", "/orders/{}", 0.4)),
)

SYSTEMS: Mapping[str, System] = MappingProxyType({system.name: system for system in (CLINIC, BANK, SHOP)})
"""By name."""
