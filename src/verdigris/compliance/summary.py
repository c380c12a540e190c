"""A finished rollout in one statement: an in-toto Simple Verification Result v0.2.

Of the two predicates for a verifier's summary this one fits: a SLSA VSA v1 is about an artifact at a resource URI and the SLSA levels it
reached, and a rollout sees behaviour, not artifacts. An SVR has properties that were found to hold, and nothing for those that were not:
what is not listed was not shown. The subjects are the plan and the entry that ended the rollout, by their SHA-256; the policy is the plan.

It is not signed itself: the entries that it sums up are, and an evidence pack has them. The same ledger gives the same bytes.
Source: in-toto attestation framework, predicates/svr.md, v0.2.
"""

from collections.abc import Sequence

import rfc8785

from verdigris.compliance.answers import Evidenced
from verdigris.compliance.approval_rules import change_is_approved
from verdigris.compliance.consent import Entry, EvidenceOf
from verdigris.compliance.facts import Facts
from verdigris.compliance.rules import changes_are_announced, tested_before_it_was_final
from verdigris.ledger.entry_kinds import Kind
from verdigris.ledger.statement import STATEMENT_TYPE
from verdigris.times import rfc3339

PREDICATE_TYPE = "https://in-toto.io/attestation/svr/v0.2"
VERIFIER = "https://verdigris.dev/compliance/summary/v1"


def summary(entries: Sequence[Entry], evidence: EvidenceOf) -> bytes | None:
    """The statement, as RFC 8785 JSON; None where the rollout has not ended. Raises: what `evidence` raises."""
    facts = Facts(entries, evidence)
    ended = facts.of(Kind.ROLLOUT_ENDED)
    if not ended:
        return None
    end = facts.digest(ended[-1])
    return rfc8785.dumps(
        {
            "_type": STATEMENT_TYPE,
            "subject": [
                {"name": "plan", "digest": {"sha256": facts.plan_digest}},
                {"name": f"rollout {facts.rollout} ended", "digest": {"sha256": end}},
            ],
            "predicateType": PREDICATE_TYPE,
            "predicate": {
                "verifier": {"id": VERIFIER, "policies": [{"name": "plan", "digest": {"sha256": facts.plan_digest}}]},
                "timeCreated": rfc3339(ended[-1].statement.unix_nano),
                "properties": properties(facts),
            },
        }
    )


def properties(facts: Facts) -> list[str]:
    """What was found to hold of a rollout that has ended. What failed has no name here."""
    back = facts.back_at_baseline()
    kept = facts.ended_as == "committed" and any(one.statement.values["committed"] is True for one in facts.of(Kind.COMMIT_OBSERVED))
    holds = {
        "VERDIGRIS_ROLLOUT_ENDED": True,
        "VERDIGRIS_CANDIDATE_COMMITTED": kept,
        "VERDIGRIS_COMMITTED_AFTER_PASS": kept and isinstance(tested_before_it_was_final(facts), Evidenced),
        "VERDIGRIS_RETURNED_TO_BASELINE": facts.ended_as == "rolled back" and back is not None,
        "VERDIGRIS_GATES_APPROVED_BY_OTHERS": isinstance(change_is_approved(facts), Evidenced),
        "VERDIGRIS_WEIGHTS_ANNOUNCED": isinstance(changes_are_announced(facts), Evidenced),
        "VERDIGRIS_ENTRIES_WITHOUT_GAP": facts.first_gap() is None,
        "VERDIGRIS_NO_ENTRY_LATE": not any(entry.statement.late for entry in facts.entries),
    }
    return [name for name, true in holds.items() if true]
