"""The absolute guard beside the statistics: when most of the candidate's requests fail at the proxy, seconds matter more than theory.

Off the books of alpha: it looks at the candidate alone, at its failures in the last few seconds.
"""

from verdigris.judge.effects import wilson
from verdigris.judge.sentences import share
from verdigris.judge.verdict import Effect, Evidence, Finding, Severity, Signal
from verdigris.plan.plan import FastPath


def too_many_failures(failed: int, requests: int, policy: FastPath) -> Finding | None:
    """A finding when at least the policy's share of at least its number of requests failed.

    Args:
        failed, requests: the candidate's, counted by the proxy over the last `policy.span_s` seconds.
    """
    if requests < max(policy.requests_min, 1) or failed < policy.failed_share * requests:
        return None
    rate, low, high = wilson(min(failed, requests), requests)
    sentence = (
        f"The proxy could not get a good answer from the candidate for {failed:,} of its last {requests:,} requests "
        f"({share(rate)} in {policy.span_s:g} s; the plan allows less than {share(policy.failed_share)})."
    )
    effect = Effect("requests that fail at the proxy", "share", None, rate, low, high)
    nothing = Evidence(0.0, 0.0, 0, requests)
    return Finding("f1", Signal.FAILING_AT_PROXY, Severity.CRITICAL, "", None, None, effect, nothing, sentence)
