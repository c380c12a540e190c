"""A complete plan to begin with: every field, commented."""

from collections.abc import Mapping

SCHEMA_COMMENT = "# yaml-language-server: $schema=./plan.schema.json"

_TRAFFIC: Mapping[str, str] = {
    "envoy": """\
traffic:
  adapter: envoy
  lease: 10s                      # when Envoy hears nothing from the guard for so long, all traffic is back on the baseline
  settings:
    subject: appointments         # what is shifted, as Envoy's configuration calls it
    admin: 127.0.0.1:9901         # Envoy's administration interface
    xds: 127.0.0.1:18000          # where Envoy finds the guard
    committed_folder: /var/lib/verdigris/envoy    # where the durable default is kept
    node: edge-1                  # only this proxy is told weights
    listen: 0.0.0.0:8080          # for: verdigris traffic envoy-config
    mirror_methods: GET,HEAD,OPTIONS
    chosen_users: false           # true: users with a signed token go to the candidate, during the steps
    # token_key: /etc/verdigris/users.pub.pem
    # When Envoy is on another machine, TLS on both sides:
    # xds_certificate: /etc/verdigris/xds.pem
    # xds_key: /etc/verdigris/xds.key
    # xds_client_ca: /etc/verdigris/ca.pem
    # xds_server_name: guard.example.org
    # xds_server_ca: /etc/envoy/ca.pem
    # xds_proxy_certificate: /etc/envoy/envoy.pem
    # xds_proxy_key: /etc/envoy/envoy.key
""",
    "haproxy": """\
traffic:
  adapter: haproxy
  lease: 10s                      # when HAProxy hears nothing from the guard for so long, all traffic is back on the baseline
  settings:
    subject: appointments         # what is shifted, as HAProxy's configuration calls it
    socket: /run/haproxy/admin.sock
    map_file: /etc/haproxy/verdigris.map          # where the durable default is kept
    listen: 127.0.0.1:8080                        # for: verdigris traffic haproxy-config
    chosen_users: false           # true: users with a signed token go to the candidate, during the steps
    # token_key: /etc/verdigris/users.pub.pem
""",
}

_PLAN = """\
{schema}
# Editors check this file as you write: verdigris schema plan > plan.schema.json
# Check it: verdigris plan check FILE
# What every field means: verdigris plan fields
version: 1
name: Faster appointment search

change:                           # what approvers read and auditors ask for
  reason: Search is slow for clinics with many doctors.
  security_impact: None. No new input, no new permission.
  rollback_plan: Traffic goes back; the schema did not change.
  ticket: CHG-4711
  author: a.meyer

baseline:                         # what is live now
  slot: blue
  identity:                       # resource attributes of its spans; * is any run of characters, ? one
    service.version: "v1*"
  addresses: ["10.0.0.11:8080"]

candidate:                        # what shall take its place
  slot: green
  identity:
    service.version: "v2*"
  addresses: ["10.0.0.12:8080"]

{traffic}
steps:                            # durations: 90s, 5m, 1h30m; the last step must require a pass
  - weight: 1%
    minimum: 2m                   # at least so long
    maximum: 30m                  # then, without enough evidence: policy.without_evidence
    require: {{requests: 500}}      # so many traced requests without a finding
  - weight: 10%
    require: pass                 # a PASS of the judge
    mirror: 0%                    # requests also copied to the candidate
  - weight: 50%
    maximum: 2h
    require: {{pass: true, requests: 5000}}
    gate:                         # who must sign before this step begins; approval: one approver
      - {{roles: [approver], people: 2}}

objectives:                       # what is tolerated; a difference is a share of requests
  defaults:
    alpha: 0.01                   # chance that an unchanged candidate ever FAILs, over the whole rollout
    beta: 0.05                    # chance that something worse by a ..._pass tolerance passes
    latency_margin: 9%            # FAIL: slower than this
    latency_margin_apart: 19%
    latency_floor_share: 1%
    errors: {{ratio: 1.1, difference: 0.05%}}
    refused: {{ratio: 1.1, difference: 0.05%}}
    rejected: {{ratio: 1.1, difference: 0.5%}}
    structure: {{ratio: 1.1, difference: 0.5%}}
    new_error_kind: {{ratio: 1, difference: 0.002%}}
    leaks: {{ratio: 1, difference: 0.002%}}       # sensitive data that the baseline does not send
    leaks_more: {{ratio: 1.1, difference: 0.05%}}
    tolerated_leaks:              # detectors and why; no reason to go back, masked and told all the same
      email: Addresses of the help desk, which are public
    latency_margin_pass: 19%      # PASS: shown not to be slower than this
    errors_pass: {{ratio: 1.5, difference: 0.2%}}
    structure_pass: {{ratio: 1, difference: 2%}}
  operations:                     # exceptions; the first that matches "service kind name" holds
    - match: appointments server GET /search*
      latency_margin: 20%
      latency_margin_pass: 40%

policy:
  when_worse: return              # or freeze, where the baseline cannot run on the data any more
  without_evidence: hold          # or return
  deadline: 1d                    # for the whole rollout
  fast_path:                      # goes back at once when very much fails
    failed_share: 50%
    requests: 20
    within: 10s

observe:
  window: 10s
  settle: 10s                     # how long late spans are waited for
  reference: 5m                   # how long the baseline is learned from before the first step

bake:                             # the last watch, before the candidate becomes the durable default
  for: 30m
  holdback: 5%                    # stays on the baseline, to compare with
  gate:                           # who must sign before the switch
    - {{roles: [approver, security], people: 1}}
    - {{roles: [tester], people: 1}}

schedule:                         # times have an offset from UTC
  not_before: null                # for example 2026-11-03T20:00:00+01:00
  not_after: null
  freezes:
    - from: 2026-12-24T00:00:00+01:00
      to: 2026-12-27T00:00:00+01:00
      reason: Holidays
  break_glass:                    # who may move it forward in a freeze all the same; left out: nobody
    gate: [{{roles: [security], people: 1}}]
    review_within: 3d             # then somebody else must have looked at it

retention:
  evidence: 365d                  # then looks, judgements, reasons and names are erased; the ledger stays. HIPAA: 2192d

masking:                          # beside what the guard masks anyway, as long as the evidence is kept
  detectors:
    - name: case_number
      pattern: CASE-[0-9]{{8}}      # matched in linear time: no look-around, no references
      keys: [case.*, http.route]  # left out: in every text
      checksum: none              # or luhn, mod97, mod11
      treatment: mask             # or hash, drop
"""


def example_plan(adapter: str) -> str:
    """The plan as text, for one adapter of `settings`."""
    return _PLAN.format(schema=SCHEMA_COMMENT, traffic=_TRAFFIC[adapter])
