"""A complete, commented Envoy configuration for a plan: to start from, or to run as it is. Writes nothing."""

import ipaddress
import json
from pathlib import Path

from verdigris.plan.plan import Environment, Plan
from verdigris.traffic.chosen_users import COOKIE, HEADER, ISSUER, LIFETIME_S_MAX, read_public_keys
from verdigris.traffic.envoy_folder import CURRENT, DURABLE, FENCE
from verdigris.traffic.envoy_settings import MILLION, Address, EnvoySettings, envoy_settings

GUARD_CLUSTER = "verdigris-guard"
KEEPALIVES_PER_LEASE = 6
KEEPALIVE_S_MIN, KEEPALIVE_S_MAX = 0.25, 2.0
"""A silent control connection is closed after twice this; so much later, at the most, a lease may end that the network held up."""


def envoy_config(plan: Plan) -> str:
    """Envoy's bootstrap configuration as YAML. Reads the public key that the plan names. Raises: InvalidSettings, InvalidToken."""
    s = envoy_settings(plan)
    return "".join((_head(s), _runtime(s), _listener(s), _clusters(s), _guard(s, plan.traffic.lease_s)))


def _head(s: EnvoySettings) -> str:
    return f"""\
# Envoy for {s.subject!r}: made by `verdigris traffic envoy-config`. Check with: envoy --mode validate -c FILE
#
# It is written in slots ({s.first.slot}, {s.second.slot}), not in roles: which one is the baseline changes with each commit, this file
# does not. Before its first start the folder below must exist:
#   {s.committed_folder}

node:
  id: {_text(s.node)}  # the guard tells weights to this proxy only
  cluster: verdigris

admin:
  # Who reaches this can stop Envoy. The guard only reads it. Never let it be reached from outside this machine.
  address: {_socket(s.admin)}
"""


def _runtime(s: EnvoySettings) -> str:
    start = MILLION if s.baseline.slot == s.second.slot else 0
    current = str(Path(s.committed_folder) / CURRENT)
    return f"""
# Where the weight comes from; a later layer wins over an earlier one. There is no admin layer on purpose: a weight set there would
# have no lease and no record.
layered_runtime:
  layers:
  - name: verdigris.{s.subject}.start
    # What holds as long as nobody has committed anything: all to {s.baseline.slot}.
    static_layer:
      {s.weight_key()}: {_fraction(start)}
  - name: {s.durable_layer}
    # The durable default: what was committed last. A guard writes it, nothing ends it.
    disk_layer: {{symlink_root: {_text(current)}, subdirectory: {DURABLE}}}
  - name: {s.lease_layer}
    # The guard's lease. Every answer carries a time to live: when no new one comes in time Envoy drops this layer by itself.
    rtds_layer:
      name: {s.lease_layer}
      rtds_config:
        resource_api_version: V3
        initial_fetch_timeout: 0.2s  # Envoy starts without a guard too
        api_config_source:
          api_type: GRPC
          transport_api_version: V3
          grpc_services:
          - envoy_grpc:
              cluster_name: {GUARD_CLUSTER}
              # A guard that starts, or starts again, must be found well within a lease.
              retry_policy: {{retry_back_off: {{base_interval: 0.1s, max_interval: 0.5s}}}}
  - name: {s.fence_layer}
    # Closed by a return and by a commit: then the durable default holds against whatever a late guard still sends.
    disk_layer: {{symlink_root: {_text(current)}, subdirectory: {FENCE}}}
"""


def _listener(s: EnvoySettings) -> str:
    return f"""
static_resources:
  listeners:
  - name: {s.subject}
    address: {_socket(s.listen)}
    # For TLS add a transport_socket (envoy.transport_sockets.tls) to this filter chain.
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: {s.subject}
          codec_type: AUTO  # HTTP/1.1, and HTTP/2 with prior knowledge (gRPC)
          # Requests pass as they came. There is no tracing here: traceparent, tracestate and the like are neither read nor changed, so a
          # service's parent span is its caller's, as without Envoy.
          generate_request_id: false
          server_header_transformation: PASS_THROUGH
          # Callers are not trusted to set x-forwarded-for or x-envoy-…; behind another proxy see xff_num_trusted_hops.
          use_remote_address: true
          route_config:
            name: {s.subject}
            virtual_hosts:
            - name: {s.subject}
              domains: ["*"]
              request_headers_to_remove: [x-envoy-external-address]
              # Tried again only if the request cannot have reached a service: the connection failed, or was closed before the request was
              # sent, or the service said that it did not take it. So nothing is done twice, whatever the method.
              retry_policy:
                retry_on: connect-failure,reset-before-request,refused-stream
                num_retries: 2
                retry_back_off: {{base_interval: 0.025s, max_interval: 0.25s}}
              routes:
{_routes(s)}
          http_filters:
{_token_filter(s)}          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
              suppress_envoy_headers: true  # add nothing to requests
"""


def _routes(s: EnvoySettings) -> str:
    # Every request draws one number; it is compared with the weight anew for each request, on kept connections too. Changing a weight
    # closes no connection.
    parts = []
    if s.token_key is not None:
        parts += [
            f"""\
              # Chosen users, to {slot.slot}, while the guard has it switched on. The filter's own finding is matched; no header that a
              # caller could write.
              - match:
                  prefix: /
                  runtime_fraction: {_runtime_fraction(s.chosen_key(slot.slot), 0)}
                  dynamic_metadata:
                  - filter: envoy.filters.http.jwt_authn
                    path: [{{key: {_METADATA}}}, {{key: iss}}]
                    value: {{string_match: {{exact: {ISSUER}}}}}
                route: {{cluster: {s.cluster(slot.slot)}, timeout: 60s}}
"""
            for slot in (s.second, s.first)
        ]
    start = MILLION if s.baseline.slot == s.second.slot else 0
    for slot, other in ((s.second, s.first), (s.first, s.second)):
        weight = f", runtime_fraction: {_runtime_fraction(s.weight_key(), start)}" if slot is s.second else ""
        what = f"{slot.slot}: its share of a million" if slot is s.second else f"{slot.slot}: the rest"
        copies = f"""\
                  request_mirror_policies:
                  # Copies to {other.slot}; their answers are thrown away. They go to a cluster of their own, so that they are not counted
                  # as requests, and have no trace context: a copy is a trace of its own, not a part of its user's.
                  - cluster: {s.mirror_cluster(other.slot)}
                    runtime_fraction: {_runtime_fraction(s.mirror_key(other.slot), 0)}
                    disable_shadow_host_suffix_append: true
                    request_headers_mutations:
{_COPY_HEADERS}"""
        if s.mirror_methods is not None:
            methods = "|".join(s.mirror_methods)
            parts.append(f"""\
              # {what}. Only these methods are copied: the copy of an order would be a second order.
              - match:
                  prefix: /
                  headers: [{{name: ":method", string_match: {{safe_regex: {{regex: {_text(methods)}}}}}}}]{_indented(weight)}
                route:
                  cluster: {s.cluster(slot.slot)}
                  timeout: {_TIMEOUT}
{copies}""")
            copies = ""
        parts.append(f"""\
              # {what}.
              - match:
                  prefix: /{_indented(weight)}
                route:
                  cluster: {s.cluster(slot.slot)}
                  timeout: {_TIMEOUT}
{copies}""")
    return "".join(parts).rstrip("\n")


_TIMEOUT = "60s  # then 504, which counts as a failure; 0s for streams that last longer"
_MANY = 20_000
_METADATA = "verdigris-user"
_CONTEXT_HEADERS = ("traceparent", "tracestate", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "uber-trace-id")
_COPY_HEADERS = "".join(
    [f"                    - remove: {name}\n" for name in _CONTEXT_HEADERS]
    + ['                    - append: {header: {key: x-verdigris-copy, value: "1"}, append_action: OVERWRITE_IF_EXISTS_OR_ADD}\n']
)


def _indented(weight: str) -> str:
    return weight.replace(", ", "\n                  ", 1) if weight else ""


def _token_filter(s: EnvoySettings) -> str:
    if s.token_key is None:
        return ""
    keys = read_public_keys(Path(s.token_key))
    return f"""\
          # Chosen users show a signed token that ends. A request without one, or with a bad one, is an ordinary request.
          - name: envoy.filters.http.jwt_authn
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication
              providers:
                chosen-users:
                  issuer: {ISSUER}
                  audiences: [{_text(s.subject)}]
                  require_expiration: true
                  max_lifetime: {LIFETIME_S_MAX}s
                  clock_skew_seconds: 5
                  from_headers: [{{name: {HEADER}}}]
                  from_cookies: [{COOKIE}]
                  forward: false  # services do not see the header
                  payload_in_metadata: {_METADATA}
                  clear_route_cache: true  # the route is looked for again once the token is found good
                  local_jwks:
                    inline_string: {_single(keys)}
              rules:
              - match: {{prefix: /}}
                requires:
                  requires_any:
                    requirements:
                    - provider_name: chosen-users
                    - allow_missing_or_failed: {{}}
"""


def _clusters(s: EnvoySettings) -> str:
    slots = "".join(
        _cluster(name, slot, what)
        for slot in (s.first, s.second)
        for name, what in ((s.cluster(slot.slot), "requests"), (s.mirror_cluster(slot.slot), "copies"))
    )
    return f"\n  clusters:\n{slots}"


def _cluster(name: str, slot: Environment, what: str) -> str:
    addresses = [Address.parse(address) for address in slot.addresses]
    endpoints = "".join(f"        - endpoint: {{address: {_socket(address)}}}\n" for address in addresses)
    return f"""\
  - name: {name}  # {what} to {slot.slot}
    type: {"STATIC" if all(_numeric(a.host) for a in addresses) else "STRICT_DNS"}
    connect_timeout: 1s
    lb_policy: LEAST_REQUEST
    # Envoy's own bounds (1024) are no protection that the services asked for; a slot that is moved to must not meet one first.
    circuit_breakers: {{thresholds: [{{max_connections: {_MANY}, max_pending_requests: {_MANY}, max_requests: {_MANY}}}]}}
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        # Shorter than services keep an idle connection (5 s is common): else a request could meet a connection that is just being closed.
        common_http_protocol_options: {{idle_timeout: 4s}}
        use_downstream_protocol_config: {{http_protocol_options: {{}}, http2_protocol_options: {{}}}}
    load_assignment:
      cluster_name: {name}
      endpoints:
      - lb_endpoints:
{endpoints}"""


def _guard(s: EnvoySettings, lease_s: float) -> str:
    keepalive_s = min(max(lease_s / KEEPALIVES_PER_LEASE, KEEPALIVE_S_MIN), KEEPALIVE_S_MAX)
    endpoints = "".join(f"        - endpoint: {{address: {_socket(guard)}}}\n" for guard in s.guards)
    plain = "" if s.tls else "    # In plain text: it does not leave this machine. Across machines the plan must name certificates.\n"
    return f"""\
  - name: {GUARD_CLUSTER}  # the control connection; a guard listens only while it has a rollout
{plain}    type: {"STATIC" if all(g.path or _numeric(g.host) for g in s.guards) else "STRICT_DNS"}
    connect_timeout: 1s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config:
          http2_protocol_options:
            # A guard that is frozen or cut off keeps its connection open; so ask. It is closed well within the lease of {lease_s:g} s, and
            # what hangs in it is lost with it: it cannot arrive later and begin a lease anew.
            connection_keepalive: {{interval: {keepalive_s:.2f}s, timeout: {keepalive_s:.2f}s}}
    load_assignment:
      cluster_name: {GUARD_CLUSTER}
      endpoints:
      - lb_endpoints:
{endpoints}{_guard_tls(s)}"""


def _guard_tls(s: EnvoySettings) -> str:
    if s.tls is None:
        return ""
    return f"""\
    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: {_text(s.tls.server_name)}
        common_tls_context:
          tls_params: {{tls_minimum_protocol_version: TLSv1_2}}
          alpn_protocols: [h2]
          tls_certificates:
          - certificate_chain: {{filename: {_text(s.tls.proxy_certificate)}}}
            private_key: {{filename: {_text(s.tls.proxy_key)}}}
          validation_context:
            trusted_ca: {{filename: {_text(s.tls.server_ca)}}}
            match_typed_subject_alt_names:
            - {{san_type: DNS, matcher: {{exact: {_text(s.tls.server_name)}}}}}
"""


def _fraction(numerator: int) -> str:
    return f"{{numerator: {numerator}, denominator: MILLION}}"


def _runtime_fraction(key: str, start: int) -> str:
    return f"{{runtime_key: {key}, default_value: {_fraction(start)}}}"


def _socket(address: Address) -> str:
    if address.path:
        return f"{{pipe: {{path: {_text(address.path)}}}}}"
    return f"{{socket_address: {{address: {_text(address.host)}, port_value: {address.port}}}}}"


def _numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _text(value: str) -> str:
    """A string that YAML reads as this string, whatever is in it: JSON's are YAML's."""
    return json.dumps(value)


def _single(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
