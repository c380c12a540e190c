"""How a subject is called inside HAProxy, and a complete configuration to start from.

Owns every name that the configuration and the adapter must agree on. Knows nothing of sockets; writes no file.
"""

import re
from dataclasses import dataclass

from verdigris.plan.plan import Environment, Plan
from verdigris.traffic.chosen_users import COOKIE, HEADER
from verdigris.traffic.data_plane import NotSupported

MILLION = 1_000_000
"""Shares are whole millionths of the requests: 0.1 % is exactly 1000 of them."""

RENEWED = 1_000_000
"""What each renewal sets the lease row's rate to. It stands for one rate period, then HAProxy counts it down."""

LEFT_PERIODS_MAX = 2
"""A lease with more than so many periods left does not count: its end cannot be meant."""

LEASE_MIN_S = 0.1
LEASE_MAX_S = 86_400.0
"""HAProxy counts in milliseconds that wrap after weeks; a day is far from both ends."""

# What may stand in a configuration file or a command without quoting: an operator's plan must not be able to add a line to either.
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_PATH = re.compile(r"/[A-Za-z0-9_./+-]{1,250}")
_ADDRESS = re.compile(r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9_.-]{1,253}):[0-9]{1,5}")


@dataclass(frozen=True, slots=True)
class Names:
    """One subject inside HAProxy. Written in slots, because roles change with each commit and the configuration must not.

    `second` is the slot that comes later in the alphabet (green after blue): shares in HAProxy are always of the second slot.
    """

    subject: str
    first: str
    second: str
    socket: str
    map_file: str
    token_key: str | None

    @property
    def lease_table(self) -> str:
        """The table whose rows hold a share for as long as they are renewed."""
        return f"verdigris_{self.subject}"

    def backend(self, slot: str) -> str:
        """The backend of a slot."""
        return f"{self.subject}_{slot}"


def names(plan: Plan) -> Names:
    """The names that a plan's subject has inside HAProxy. Raises: NotSupported: a setting is missing or cannot be written there."""
    slots = [_checked(_NAME, "slot", environment.slot) for environment in (plan.baseline, plan.candidate)]
    if slots[0] == slots[1]:
        msg = f"baseline and candidate are both in slot {slots[0]!r}; give each its own"
        raise NotSupported(msg)
    first, second = sorted(slots)
    settings = plan.traffic.settings
    token_key = settings.get("token_key")
    return Names(
        subject=_checked(_NAME, "traffic.settings.subject", settings.get("subject") or plan.name),
        first=first,
        second=second,
        socket=_checked(_PATH, "traffic.settings.socket", settings.get("socket")),
        map_file=_checked(_PATH, "traffic.settings.map_file", settings.get("map_file")),
        token_key=None if token_key is None else _checked(_PATH, "traffic.settings.token_key", token_key),
    )


def lease_ms(lease_s: float) -> int:
    """A lease in the whole milliseconds that HAProxy counts in. Raises: NotSupported: outside 0.1 s to 24 h."""
    if not LEASE_MIN_S <= lease_s <= LEASE_MAX_S:
        msg = f"a lease of {lease_s} s cannot be kept by HAProxy; choose 0.1 s to 24 h"
        raise NotSupported(msg)
    return round(lease_s * 1000)


def first_map(plan: Plan) -> str:
    """What the map file holds before the first rollout: the baseline is the durable default, nothing was applied."""
    return f"default {plan.baseline.slot}\nnewest none\nlease none\n"


def haproxy_config(plan: Plan) -> str:
    """A complete commented configuration (HAProxy 2.6 or newer) for a plan's subject.

    The same configuration serves when the roles change places. Raises: NotSupported: as `names`.
    """
    n = names(plan)
    listen = _checked(_ADDRESS, "traffic.settings.listen", plan.traffic.settings.get("listen", "127.0.0.1:8080"))
    environments = {environment.slot: environment for environment in (plan.baseline, plan.candidate)}
    period_ms = lease_ms(plan.traffic.lease_s)
    return _TEMPLATE.format(
        socket=n.socket,
        map_file=n.map_file,
        first_map=first_map(plan).replace("\n", "\\n"),
        subject=n.subject,
        table=n.lease_table,
        period_ms=period_ms,
        # More can only be a wall clock that was set back, or an end that is weeks old.
        left_max_ms=LEFT_PERIODS_MAX * period_ms,
        # Only tidies up rows that ended long ago. It must be longer than the period and is not what ends a lease.
        keep_ms=2 * period_ms + 1000,
        listen=listen,
        baseline=plan.baseline.slot,
        first=n.first,
        second=n.second,
        first_backend=n.backend(n.first),
        second_backend=n.backend(n.second),
        renewed=RENEWED,
        million=MILLION,
        token_rules=_token_rules(n),
        chosen_rules=_CHOSEN_RULES.format(first_backend=n.backend(n.first), second_backend=n.backend(n.second)) if n.token_key else "",
        first_servers=_servers(environments[n.first]),
        second_servers=_servers(environments[n.second]),
    )


def _checked(pattern: re.Pattern[str], what: str, value: object) -> str:
    if isinstance(value, str) and pattern.fullmatch(value):
        return value
    problem = "is missing" if value is None else f"is {value!r}, which cannot be written into HAProxy's configuration as it is"
    msg = f"{what} {problem}; it must match {pattern.pattern}"
    raise NotSupported(msg)


def _servers(environment: Environment) -> str:
    if not environment.addresses:
        msg = f"slot {environment.slot!r} has no address; give host:port"
        raise NotSupported(msg)
    # One server alone needs no check: without it the answer would be 503 just the same, and a check could only be wrong.
    check = " check" if len(environment.addresses) > 1 else ""
    addresses = (_checked(_ADDRESS, f"an address of slot {environment.slot!r}", address) for address in environment.addresses)
    return "\n".join(f"    server {environment.slot}{number} {address}{check}" for number, address in enumerate(addresses, start=1))


def _token_rules(n: Names) -> str:
    if n.token_key is None:
        return "    # No token_key in the plan: there are no chosen users. A token that a client sends is not looked at."
    return _USER_RULES.format(header=HEADER, cookie=COOKIE, key=n.token_key, subject=n.subject)


_USER_RULES = """\
    # Chosen users: a signed token (JWT, ES256) for this subject, in a header or a cookie, that has not expired. The algorithm is
    # fixed here: a token that names another one (or none) is not valid. A token without an expiry is not valid either.
    http-request set-var(txn.vg_token) req.fhdr({header})
    http-request set-var(txn.vg_token) req.cook({cookie}) unless {{ var(txn.vg_token) -m found }}
    http-request set-var(txn.vg_expires) var(txn.vg_token),jwt_payload_query('$.exp','int')
    http-request set-var(txn.vg_not_before) int(0)
    http-request set-var(txn.vg_not_before) var(txn.vg_token),jwt_payload_query('$.nbf','int')
    http-request set-var(txn.vg_not_before) int(0) unless {{ var(txn.vg_not_before) -m found }}
    acl vg_token_current     date(),sub(txn.vg_expires) -m int lt 0
    acl vg_token_begun       date(),sub(txn.vg_not_before) -m int ge 0
    acl vg_token_subject     var(txn.vg_token),jwt_payload_query('$.aud') -m str {subject}
    acl vg_token_algorithm   var(txn.vg_token),jwt_header_query('$.alg') -m str ES256
    acl vg_token_signed      var(txn.vg_token),jwt_verify("ES256","{key}") -m int eq 1
    # The signature comes last: it costs the most, and is checked only while a lease asks for chosen users.
    http-request set-var(txn.vg_user) int(1) if vg_renewed vg_ongoing {{ var(txn.vg_chosen) -m int gt 0 }} \
{{ var(txn.vg_expires) -m found }} vg_token_current vg_token_begun vg_token_subject vg_token_algorithm vg_token_signed
    # The services need not see it.
    http-request del-header {header}
"""

_CHOSEN_RULES = """\
    use_backend {first_backend} if {{ var(txn.vg_user) -m int eq 1 }} {{ var(txn.vg_chosen) -m int eq 1 }}
    use_backend {second_backend} if {{ var(txn.vg_user) -m int eq 1 }} {{ var(txn.vg_chosen) -m int eq 2 }}
"""

_TEMPLATE = """\
# HAProxy for the subject "{subject}", in slots "{first}" and "{second}". HAProxy 2.6 or newer.
# Which of them is the baseline is not written here: it changes with every commit, and this file does not.
#
# Before the first start, say which slot has all traffic (the guard keeps this file afterwards):
#     printf '{first_map}' > {map_file}

global
    # The guard's way in. Who can write to this socket can move the traffic: keep it to the guard's user (add `user`, `group`).
    stats socket {socket} mode 600 level admin
    stats timeout 10s
    # Servers that come and go are logged, requests are not: their lines hold what clients sent. For them: `info`, and `option httplog`.
    log stdout format raw local0 notice

defaults
    mode http
    log global
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout http-request 10s
    timeout http-keep-alive 60s
    # Only a connection that could not be made is tried again: nothing was sent by then. A failure of one slot is never hidden
    # by sending the request to the other.
    retries 1
    option redispatch

# The lease. Each row is one generation: what share of the requests it gives to "{second}" (gpt0, in millionths), for which slot users
# are chosen (gpc0: 0 none, 1 "{first}", 2 "{second}"), and how long it counts. That is told twice, and ends with the first of both:
# - gpc1 is the end by the wall clock (milliseconds since 1970, the lowest 32 bits), counted from when the guard was asked;
# - gpc0_rate is set to {renewed} by each renewal. HAProxy works a rate out whenever it is read, from a clock that no change of the wall
#   clock moves: it stands for {period_ms} ms, then sinks.
# So a share ends by itself, at the latest {period_ms} ms after the last renewal, whatever became of the guard, also when a clock is wrong.
# `{period_ms}` is `traffic.lease` of the plan: the longest lease that this HAProxy keeps.
backend {table}
    stick-table type string len 20 size 1k expire {keep_ms}ms store gpt0,gpc0,gpc1,gpc0_rate({period_ms})

frontend {subject}
    bind {listen}

    # The durable default, and which generation's row may count. A restart reads them from the file again, and has no row.
    http-request set-var(txn.vg_default) str(default),map_str({map_file},{baseline})
    http-request set-var(txn.vg_lease) str(lease),map_str({map_file},none)
    # The renewal is read before the share: a row that is renewed in between has the new share.
    http-request set-var(txn.vg_renewed) var(txn.vg_lease),table_gpc0_rate({table})
    http-request set-var(txn.vg_share) var(txn.vg_lease),table_gpt0({table})
    http-request set-var(txn.vg_chosen) var(txn.vg_lease),table_gpc0({table})
    http-request set-var(txn.vg_now) date(0,ms)
    http-request set-var(txn.vg_left) var(txn.vg_lease),table_gpc1({table}),sub(txn.vg_now),and(4294967295)
    # Each request draws once. Server weights would be too coarse: they are whole numbers up to 256.
    http-request set-var(txn.vg_draw) rand({million}),sub(txn.vg_share)
    acl vg_renewed  var(txn.vg_renewed) -m int ge {renewed}
    acl vg_ongoing  var(txn.vg_left) -m int 1:{left_max_ms}
    acl vg_drawn    var(txn.vg_draw) -m int lt 0

{token_rules}
    # What is decided is decided per request, and only for requests to come: those under way and their connections are not touched.
{chosen_rules}    use_backend {second_backend} if vg_renewed vg_ongoing vg_drawn
    use_backend {first_backend} if vg_renewed vg_ongoing
    use_backend {second_backend} if {{ var(txn.vg_default) -m str {second} }}
    default_backend {first_backend}

backend {first_backend}
{first_servers}

backend {second_backend}
{second_servers}
"""
