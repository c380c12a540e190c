"""The plan of a case, as its author would write it. Its tolerances are wider and its times shorter than a real plan's: a
demonstration lasts a minute or two, and everything runs on one machine.
"""

from dataclasses import dataclass

from verdigris.demo.cases import Case


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the phases last, in seconds, and how many traced candidate requests the first two steps ask for."""

    reference_s: int = 15
    first_requests: int = 60
    second_requests: int = 300
    last_minimum_s: int = 20
    last_maximum_s: int = 120
    bake_s: int = 10
    lease_s: int = 3

    @property
    def deadline_s(self) -> int:
        """For the whole rollout, from its first shift."""
        return 2 * self.last_maximum_s + self.bake_s + 60


NORMAL = Pace()
FAST = Pace(reference_s=8, first_requests=30, second_requests=150, last_minimum_s=8, bake_s=4)


@dataclass(frozen=True, slots=True)
class Places:
    """Where things listen, as `host:port`, and the proxy's folder."""

    blue: tuple[str, ...]
    green: tuple[str, ...]
    proxy_listen: str
    proxy_admin: str
    guard_control: str
    committed_folder: str


def plan_text(case: Case, pace: Pace, places: Places) -> str:
    """YAML."""
    return f"""\
version: 1
name: {case.system.name} {case.green.version}
change:
  reason: "demonstration: {case.title}"
  security_impact: none, everything runs on loopback
  rollback_plan: the proxy goes back to blue by itself
  ticket: DEMO-1
  author: demo

baseline:
  slot: blue
  identity: {{deployment.environment.name: blue}}
  addresses: [{", ".join(f'"{address}"' for address in places.blue)}]
candidate:
  slot: green
  identity: {{deployment.environment.name: green}}
  addresses: [{", ".join(f'"{address}"' for address in places.green)}]

traffic:
  adapter: envoy
  lease: {pace.lease_s}s  # the proxy goes back to blue when it hears nothing from the guard for so long
  settings:
    listen: {places.proxy_listen}
    admin: {places.proxy_admin}
    xds: {places.guard_control}
    node: demo
    subject: {case.system.name}
    committed_folder: {places.committed_folder}

steps:
  - {{weight: 5%, minimum: 3s, maximum: 40s, require: {{requests: {pace.first_requests}, pass: false}}}}
  - {{weight: 25%, minimum: 3s, maximum: 40s, require: {{requests: {pace.second_requests}, pass: false}}}}
  - {{weight: 50%, minimum: {pace.last_minimum_s}s, maximum: {pace.last_maximum_s}s, require: pass}}

objectives:
  defaults:
    beta: 0.2  # a minute of traffic shows a p99 only so well
    latency_margin: 0.3
    latency_floor_share: 0.08
    latency_margin_pass: 0.6
    errors_pass: {{ratio: 1.5, difference: 0.015}}
    structure_pass: {{ratio: 1.0, difference: 0.03}}

policy:
  when_worse: return
  without_evidence: return
  deadline: {pace.deadline_s}s
  fast_path: {{failed_share: 0.5, requests: 20, within: 5s}}

observe:
  window: 1s
  settle: 1.5s
  reference: {pace.reference_s}s

bake: {{for: {pace.bake_s}s, holdback: 5%}}
"""
