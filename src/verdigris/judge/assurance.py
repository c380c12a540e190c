"""Positive evidence: what a PASS rests on, and what it still lacks.

The question is turned round: the null is now "the candidate *is* worse, by the tolerance or more". Every operation that
carries enough traffic must reject it for its own latency, errors and calls; the rest of the traffic is asked as one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from verdigris.judge.betting import advance, open_banks
from verdigris.judge.divergence import Array, kl, log_likelihood_ratio, nearest_null
from verdigris.judge.evidence import nats_of_tail
from verdigris.judge.streams import QUANTILES_PASS, operation_weights, slow_buckets
from verdigris.judge.tallies import OperationTally, Tallies
from verdigris.judge.verdict import Missing, Signal
from verdigris.judge.windows import Operation
from verdigris.plan.policy import Policy, Tolerance

ENOUGH_OF_BUSIEST = 0.1
"""An operation is asked by itself when it has at least this share of the busiest operation's requests."""

REST = Operation("the rest", "all", "operations with little traffic")


@dataclass(frozen=True, slots=True)
class Question:
    """A stream to be shown healthy. Counts have shape (windows,); `expected_rate`: the candidate's if it did not change."""

    operation: Operation
    signal: Signal
    tolerance: Tolerance
    base_n: Array
    base_k: Array
    cand_n: Array
    cand_k: Array
    expected_rate: float


def questions_of(tallies: Tallies, policy: Policy) -> list[Question]:
    """All that a PASS must answer, from the baseline's operations."""
    busiest = max((t.n for t in tallies.baseline.operations.values()), default=0.0)
    windows = len(tallies.starts_unix_s)
    asked: list[Question] = []
    rest: list[Question] = []
    for operation in operation_weights(tallies):
        base = tallies.baseline.operations[operation]
        cand = tallies.candidate.operations.get(operation) or _silent(base, windows)
        (asked if base.n >= ENOUGH_OF_BUSIEST * busiest else rest).extend(_of_operation(operation, base, cand, tallies, policy))
    return asked + _pooled(rest)


def missing_for_pass(tallies: Tallies, policy: Policy, phi: float, *, concurrent: bool) -> list[Missing]:
    """Questions without an answer yet; empty means PASS. `phi` tempers all of them alike."""
    questions = questions_of(tallies, policy)
    if not questions:
        return [Missing(REST, Signal.LATENCY, 0, 1)]
    evidence = _side_by_side(questions, phi) if concurrent else _apart(questions, phi)
    enough = math.log(1 / policy.beta)
    lacking = []
    for question, nats in zip(questions, evidence, strict=True):
        if nats < enough:
            have = float(question.cand_n.sum())
            lacking.append(Missing(question.operation, question.signal, round(have), need_of(question, phi, enough, have)))
    return lacking


def _of_operation(operation: Operation, base: OperationTally, cand: OperationTally, tallies: Tallies, policy: Policy) -> list[Question]:
    base_n, cand_n = base.requests.sum(axis=0), cand.requests.sum(axis=0)
    found = []
    for q in QUANTILES_PASS:
        own, allowed = slow_buckets(base.durations, q, policy.latency_margin_pass, policy.latency_floor_share * base.trace_ms)
        same = base.share(base.durations.above(allowed))
        found.append(
            Question(
                operation, Signal.LATENCY, Tolerance(), base_n, base.durations.above(own).sum(axis=0),
                cand_n, cand.durations.above(allowed).sum(axis=0), same,
            )
        )  # fmt: skip
    rate = base.share(base.errors)
    found.append(
        Question(operation, Signal.ERRORS, policy.errors_pass, base_n, base.errors.sum(axis=0), cand_n, cand.errors.sum(axis=0), rate)
    )
    for edge, before in tallies.baseline.edges.items():
        if edge.caller != operation or before.present.sum() < base.n / 2:
            continue
        after = tallies.candidate.edges.get(edge)
        lost = np.maximum(base_n - before.present, 0)
        cand_lost = np.maximum(cand_n - (after.present if after is not None else 0.0), 0)
        rate = base.share(lost)
        found.append(Question(operation, Signal.CALL_MISSING, policy.structure_pass, base_n, lost, cand_n, cand_lost, rate))
    return found


def _silent(base: OperationTally, windows: int) -> OperationTally:
    """An operation that the candidate never showed: no requests, so nothing can be shown of it."""
    none = np.zeros((1, windows))
    empty = type(base.durations)(0, np.zeros((1, windows, 1)))
    return OperationTally((), none, none, none, none, none, none, none, empty, empty, {}, {}, 0.0, 0.0, 0.0, 0, {})


def _pooled(rest: Sequence[Question]) -> list[Question]:
    """The questions of quiet operations, one per kind of signal and tolerance, asked of their summed counts."""
    groups: dict[tuple[Signal, int], list[Question]] = {}
    order: dict[Operation, int] = {}
    for question in rest:
        # The quantiles of one operation follow each other; the position tells them apart.
        place = order[question.operation] = order.get(question.operation, -1) + 1
        key = place if question.signal is Signal.LATENCY else 0
        groups.setdefault((question.signal, key), []).append(question)
    return [_summed(signal, members) for (signal, _), members in groups.items()]


def _summed(signal: Signal, members: Sequence[Question]) -> Question:
    """One question from several. What is expected of the candidate is the mean over the baseline's requests."""
    requests = [float(m.base_n.sum()) for m in members]
    expected = sum(m.expected_rate * n for m, n in zip(members, requests, strict=True)) / max(sum(requests), 1e-12)
    return Question(
        operation=REST,
        signal=signal,
        tolerance=members[0].tolerance,
        base_n=np.sum([m.base_n for m in members], axis=0),
        base_k=np.sum([m.base_k for m in members], axis=0),
        cand_n=np.sum([m.cand_n for m in members], axis=0),
        cand_k=np.sum([m.cand_k for m in members], axis=0),
        expected_rate=expected,
    )


def _side_by_side(questions: Sequence[Question], phi: float) -> list[float]:
    base_n, base_k = np.array([q.base_n for q in questions]), np.array([q.base_k for q in questions])
    cand_n, cand_k = np.array([q.cand_n for q in questions]), np.array([q.cand_k for q in questions])
    prior = base_k.sum(axis=1) / np.maximum(base_n.sum(axis=1), 1e-12)
    r, d = np.array([q.tolerance.ratio for q in questions]), np.array([q.tolerance.difference for q in questions])
    banks = open_banks(r, d, phi, prior, sign=-1, clip=None)
    for t in range(base_n.shape[1]):
        banks = advance(banks, base_n[:, t], base_k[:, t], cand_n[:, t], cand_k[:, t])
    return [float(x) for x in banks.log_wealth]


def _apart(questions: Sequence[Question], phi: float) -> list[float]:
    n_b, k_b = np.array([q.base_n.sum() for q in questions]), np.array([q.base_k.sum() for q in questions])
    n_c, k_c = np.array([q.cand_n.sum() for q in questions]), np.array([q.cand_k.sum() for q in questions])
    r, d = np.array([q.tolerance.ratio for q in questions]), np.array([q.tolerance.difference for q in questions])
    return [nats_of_tail(float(x)) for x in log_likelihood_ratio(n_b, k_b, n_c, k_c, r, d, sign=-1) / phi]


def need_of(question: Question, phi: float, enough: float, have: float) -> int:
    """About how many candidate requests would answer the question if the candidate is as the baseline was."""
    numbers = (
        float(question.base_n.sum()), float(question.base_k.sum()), have, question.expected_rate, question.tolerance.ratio,
        question.tolerance.difference, phi,
    )  # fmt: skip
    base_n, base_k, had, expected_rate, r, d, tempered = (np.array([x]) for x in numbers)
    return needs_of(base_n, base_k, had, expected_rate, r, d, tempered, enough)[0]


def needs_of(base_n: Array, base_k: Array, have: Array, expected_rate: Array, r: Array, d: Array, phi: Array, enough: float) -> list[int]:
    """The same for many questions at once. Args: shape (questions,); `have`: candidate requests so far."""
    n_b, n_c = np.maximum(base_n, 1.0), np.maximum(have, 1.0)
    a, c = base_k / n_b, expected_rate
    per_request = np.zeros(a.shape)
    exact = (r == 1) & (d == 0)
    for some in (exact, ~exact):
        at = np.flatnonzero(some & (c < r * a + d))
        if at.size:
            q = nearest_null(n_b[at], a[at], n_c[at], c[at], r[at], d[at])
            per_request[at] = n_b[at] / n_c[at] * kl(a[at], q) + kl(c[at], r[at] * q + d[at])
    found = []
    for i in range(a.size):
        twice = 2 * round(float(have[i])) + 1
        need = math.ceil(float(phi[i]) * enough / max(float(per_request[i]), 1e-9)) if c[i] < r[i] * a[i] + d[i] else twice
        # Enough by this account, and still no answer: the candidate is not quite as the baseline was. Twice as many may tell.
        found.append(need if need > have[i] else twice)
    return found
