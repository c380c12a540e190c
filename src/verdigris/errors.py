"""The tree of everything Verdigris raises on purpose. Each error says what went wrong, what is safe now and what to do.

VerdigrisError
├── InvalidIdentity          plan: a role's match cannot be read
├── InvalidPolicy            plan: a tolerance or level is out of range
├── InvalidPlan              plan: a plan cannot be read or contradicts itself
├── IllegalTransition        rollout: an event cannot happen in this phase
├── RolloutError …           rollout: what was asked is not possible now
├── TrafficError …           traffic: the data plane refused or could not be reached
├── StoreError               telemetry: the span store refused or failed
└── SourceError …            telemetry.sources: an input cannot be opened or read
"""


class VerdigrisError(Exception):
    """Base of all errors that Verdigris raises on purpose."""
