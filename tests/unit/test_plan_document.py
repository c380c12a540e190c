"""A plan as text: what it becomes, and what is said about one that is wrong or doubtful."""

import json
import pickle
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest

from verdigris.plan import settings as settings_module
from verdigris.plan.detectors import OwnDetector
from verdigris.plan.document import TOLERANCES_ADDED_LATER, CheckedPlan, check_plan, evidence_kept_s, load_plan
from verdigris.plan.example import example_plan
from verdigris.plan.fields import DAY_S, PlanDocument, ToleranceSections, all_keys, keys_of
from verdigris.plan.gates import ONE_APPROVER, Need, Role
from verdigris.plan.identity import IdentityMatch
from verdigris.plan.objectives import OperationPolicy
from verdigris.plan.plan import (
    BreakGlass,
    Change,
    Environment,
    FastPath,
    Freeze,
    Observation,
    Otherwise,
    Required,
    Schedule,
    Step,
    Traffic,
    WhenWorse,
)  # fmt: skip
from verdigris.plan.policy import Policy, Tolerance
from verdigris.plan.problems import InvalidPlan, Problem
from verdigris.plan.scalars import Text
from verdigris.plan.settings import ENVOY_TLS, SETTINGS, AdapterSetting, MissingSecret, resolve_secrets
from verdigris.plan.yaml_text import PROBLEMS_MAX

SHORT = """\
version: 1
name: Faster search
change: {reason: slow, security_impact: none, rollback_plan: traffic, ticket: CHG-1, author: a.meyer}
baseline:
  slot: blue
  identity: {service.version: v1}
  addresses: ["10.0.0.1:80"]
candidate:
  slot: green
  identity: {service.version: v2}
  addresses: ["10.0.0.2:80"]
traffic:
  adapter: haproxy
  settings: {subject: search, socket: /run/haproxy.sock, map_file: /etc/verdigris.map}
steps:
  - weight: 5%
  - weight: 50%
"""
"""All that is required, and nothing else."""


def written(change: Callable[[dict[str, Any]], object]) -> str:
    """The short plan as JSON, changed."""
    document = json.loads(load_plan(SHORT).canonical)
    change(document)
    return json.dumps(document)


def at(document: Any, path: str) -> Any:
    """The value around the last part of a path like `steps.0.weight`."""
    for part in path.split(".")[:-1]:
        document = document[int(part) if part.isdigit() else part]
    return document


def put(path: str, value: object) -> Callable[[dict[str, Any]], object]:
    """Puts a value in the place of another. A key with dots is written with `/` instead."""
    last = path.rpartition(".")[2].replace("/", ".")

    def change(document: dict[str, Any]) -> None:
        at(document, path)[int(last) if last.isdigit() else last] = value

    return change


def problems(text: str) -> tuple[Problem, ...]:
    with pytest.raises(InvalidPlan) as caught:
        load_plan(text, source="plan.yaml")
    assert caught.value.problems
    assert all(p.message and p.suggestion and p.line >= 1 and p.column >= 1 for p in caught.value.problems)
    return caught.value.problems


def test_what_is_left_out_is_its_default() -> None:
    checked = check_plan(SHORT)
    plan = checked.plan
    assert checked.warnings == ()
    assert plan.name == "Faster search"
    assert plan.change == Change("slow", "none", "traffic", "CHG-1", "a.meyer")
    assert plan.baseline == Environment("blue", IdentityMatch({"service.version": "v1"}), ("10.0.0.1:80",))
    assert plan.candidate == Environment("green", IdentityMatch({"service.version": "v2"}), ("10.0.0.2:80",))
    assert plan.traffic == Traffic(
        "haproxy",
        10.0,
        {
            "subject": "search", "socket": "/run/haproxy.sock", "map_file": "/etc/verdigris.map", "listen": "127.0.0.1:8080",
            "chosen_users": False,
        },
    )  # fmt: skip
    assert plan.steps == (Step(5.0, 120.0, 1800.0), Step(50.0, 120.0, 1800.0))
    assert (plan.objectives.defaults, plan.objectives.operations) == (Policy(), ())
    assert (plan.observation, plan.fast_path, plan.schedule) == (Observation(), FastPath(), Schedule())
    assert (plan.when_worse, plan.without_evidence) == (WhenWorse.RETURN, Otherwise.HOLD)
    assert (plan.deadline_s, plan.bake_s, plan.bake_holdback_percent) == (86400.0, 1800.0, 5.0)


def test_every_field_reaches_the_plan() -> None:
    plan = load_plan(
        f"""{SHORT}
    require: {{pass: true, requests: 5000}}
    minimum: 1h30m
    maximum: 2d
    gate: approval
objectives:
  defaults: {{alpha: 0.02, beta: 0.1, latency_margin: 20%, errors: {{difference: 1%}}}}
  operations:
    - {{match: "a server GET /[id]", errors: {{ratio: 2}}, latency_floor_share: 0.5}}
    - {{match: "a *", structure_pass: {{ratio: 1.5}}}}
policy: {{when_worse: freeze, without_evidence: return, deadline: 3d, fast_path: {{failed_share: 10%, requests: 5, within: 500ms30s}}}}
observe: {{window: 1s, settle: 1.5s, reference: 0}}
bake: {{for: 10s, holdback: 12.5, gate: [{{roles: [approver, security], people: 2}}, {{roles: [tester]}}]}}
schedule:
  not_before: 2026-11-03T20:00:00+01:00
  not_after: 2026-11-04T04:00:00.25Z
  freezes: [{{from: 2026-12-24T00:00:00Z, to: 2026-12-27T00:00:00Z, reason: Holidays}}]
  break_glass: {{gate: [{{roles: [security]}}], review_within: 2d}}
""".replace("500ms30s", "30s500ms").replace("haproxy\n", "haproxy\n  lease: 1m\n")
    )
    assert plan.traffic.lease_s == 60
    assert plan.steps[1] == Step(50.0, 5400.0, 172800.0, Required(passed=True, candidate_requests=5000), ONE_APPROVER)
    expected = Policy(0.02, 0.1, latency_margin=0.2, errors=Tolerance(1.1, 0.01))
    assert plan.objectives.defaults == expected
    first, second = plan.objectives.operations
    assert first == OperationPolicy(
        "a server GET /[[]id]", Policy(0.02, 0.1, latency_margin=0.2, errors=Tolerance(2.0, 0.01), latency_floor_share=0.5)
    )  # fmt: skip
    assert second.policy == Policy(0.02, 0.1, latency_margin=0.2, errors=Tolerance(1.1, 0.01), structure_pass=Tolerance(1.5, 0.02))
    assert plan.objectives.of("a server GET /[id]") == first.policy
    assert plan.objectives.of("a server GET /i") == second.policy
    assert plan.objectives.of("b server GET /") == expected
    assert (plan.when_worse, plan.without_evidence, plan.deadline_s) == (WhenWorse.FREEZE, Otherwise.RETURN, 259200.0)
    assert plan.fast_path == FastPath(0.1, 5, 30.5)
    assert plan.observation == Observation(1, 1.5, 0.0)
    assert (plan.bake_s, plan.bake_holdback_percent) == (10.0, 12.5)
    assert plan.switch_gate == (
        Need(
            (
                Role.APPROVER,
                Role.SECURITY,
            ),
            2,
        ),
        Need((Role.TESTER,)),
    )
    assert plan.gate_before(0) == ()
    assert plan.gate_before(1) == ONE_APPROVER
    assert plan.gate_before(2) == plan.switch_gate
    freezes = (Freeze(1798070400.0, 1798329600.0, "Holidays"),)
    assert plan.schedule == Schedule(1793732400.0, 1793764800.25, freezes, BreakGlass((Need((Role.SECURITY,)),), 172800.0))


def test_the_haproxy_plan_cannot_mirror_and_the_envoy_plan_can() -> None:
    envoy = example_plan("envoy")
    assert load_plan(envoy.replace("mirror: 0%", "mirror: 12.5%")).steps[1].mirror_percent == 12.5
    (problem,) = problems(example_plan("haproxy").replace("mirror: 0%", "mirror: 12.5%"))
    assert (problem.path, "cannot copy requests" in problem.message) == ("steps[1].mirror", True)


def test_the_digest_is_that_of_the_canonical_form_and_stays_what_it_is() -> None:
    plan = load_plan(SHORT)
    assert plan.digest == "8b8ece40218b534643ddb1abb65a9afe7ac58e0a8a9e34e59ac6e6d8a9b1e2a8"
    assert plan.canonical.startswith(b'{"bake":{"for":1800,"holdback":5},"baseline":{"addresses":["10.0.0.1:80"],')
    assert load_plan(plan.canonical.decode()) == plan


def test_how_long_evidence_is_kept_changes_the_digest_only_where_it_is_not_the_default() -> None:
    """A plan that an older version kept says nothing of it: it is read, keeps its digest, and means the default."""
    kept = load_plan(SHORT)
    assert b"retention" not in kept.canonical
    assert (kept.retention.evidence_s, evidence_kept_s(kept.canonical)) == (365 * DAY_S, 365 * DAY_S)
    assert load_plan(SHORT + "retention: {evidence: 365d}\n") == load_plan(SHORT + "retention: {}\n") == kept
    longer = load_plan(SHORT + "retention: {evidence: 2192d}\n")
    assert b'"retention":{"evidence":189388800}' in longer.canonical
    assert longer.digest != kept.digest
    assert (longer.retention.evidence_s, evidence_kept_s(longer.canonical)) == (2192 * DAY_S, 2192 * DAY_S)
    assert load_plan(longer.canonical.decode()) == longer


@pytest.mark.parametrize(
    "kept", [b"", b"[]", b"{", b'{"retention":5}', *(b'{"retention":{"evidence":%s}}' % v for v in (b"true", b'"1d"', b"1", b"1e300"))]
)
def test_what_another_version_says_of_it_and_this_one_cannot_read_is_not_guessed(kept: bytes) -> None:
    assert evidence_kept_s(kept) is None


def test_every_tolerance_of_the_judge_can_be_written() -> None:
    names = {f.name for f in fields(Policy)}
    assert set(keys_of(ToleranceSections)) | {"alpha", "beta"} == names
    written = set(json.loads(load_plan(SHORT).canonical)["objectives"]["defaults"])
    assert written | set(TOLERANCES_ADDED_LATER) == names
    assert not written & set(TOLERANCES_ADDED_LATER)


def test_leaks_are_tolerated_by_detector_with_a_reason_everywhere_or_in_some_operations() -> None:
    def change(document: dict[str, Any]) -> None:
        document["objectives"]["defaults"]["tolerated_leaks"] = {"email": "the help desk's own"}
        document["objectives"]["operations"] = [{"match": "crm *", "tolerated_leaks": {"phone": "a test system"}}, {"match": "a *"}]

    plan = load_plan(written(change))
    tolerated = [plan.objectives.of(operation).tolerated_detectors for operation in ("portal server GET /", "crm server GET /", "a b c")]
    assert tolerated == [{"email"}, {"phone"}, {"email"}]
    assert b"a test system" in plan.canonical
    assert load_plan(plan.canonical.decode()) == plan
    wrong: tuple[object, ...] = ({"E-mail": "x"}, {"email": ""}, {"email": None}, ["email"])
    for value in wrong:
        told = problems(written(put("objectives.defaults.tolerated_leaks", value)))
        assert [p.path.startswith("objectives.defaults.tolerated_leaks") for p in told] == [True], value


def test_a_plan_brings_detectors_along() -> None:
    plan = load_plan(written(put("masking", {"detectors": [{"name": "case_number", "pattern": "CASE-[0-9]{8}", "keys": ["case.*"]}]})))
    assert plan.detectors == (OwnDetector("case_number", "CASE-[0-9]{8}", ("case.*",)),)
    assert load_plan(plan.canonical.decode()) == plan
    assert b"masking" not in load_plan(written(put("masking", {"detectors": []}))).canonical
    assert load_plan(written(put("masking", {"detectors": []}))).digest == load_plan(SHORT).digest


@pytest.mark.parametrize(
    ("detectors", "path", "part"),
    [
        ([{"name": "a", "pattern": "x(?=y)"}], "masking.detectors[0]", "look-around"),
        ([{"name": "a", "pattern": "x*"}], "masking.detectors[0]", "matches the empty text"),
        ([{"name": "a", "pattern": "[a-z]"}], "masking.detectors[0]", "matches the mark"),
        ([{"name": "email", "pattern": "x"}], "masking.detectors[0]", 'the name "email" is taken'),
        ([{"name": "a", "pattern": "x"}, {"name": "a", "pattern": "y"}], "masking.detectors[1].name", "has this name too"),
        ([{"name": "A", "pattern": "x"}], "masking.detectors[0].name", "the name of a detector"),
        ([{"name": "a", "pattern": "x", "treatment": "refuse"}], "masking.detectors[0].treatment", "mask or hash or drop"),
        ([{"name": "a", "pattern": "x", "checksum": "crc"}], "masking.detectors[0].checksum", "luhn"),
        ([{"name": f"a{n}", "pattern": "x"} for n in range(17)], "masking.detectors", "16"),
    ],
)
def test_a_detector_that_cannot_be_used_is_refused_with_its_place(detectors: list[dict[str, str]], path: str, part: str) -> None:
    told = problems(written(put("masking", {"detectors": detectors})))
    assert [p.path for p in told] == [path]
    assert part in told[0].message + told[0].suggestion


def test_a_detector_of_the_plan_can_be_tolerated_without_a_warning() -> None:
    def change(document: dict[str, Any]) -> None:
        document["objectives"]["defaults"]["tolerated_leaks"] = {"case_number": "internal numbers"}

    def with_it(document: dict[str, Any]) -> None:
        change(document)
        document["masking"] = {"detectors": [{"name": "case_number", "pattern": "CASE-[0-9]{8}"}]}

    paths = [[w.path for w in check_plan(written(each)).warnings] for each in (change, with_it)]
    assert set(paths[0]) - set(paths[1]) == {"objectives.defaults.tolerated_leaks.case_number"}


@pytest.mark.parametrize("place", [place for place, field in all_keys(PlanDocument) if field.is_required()])
def test_what_is_required_is_asked_for_with_an_example(place: str) -> None:
    path = place.replace("[]", ".0")

    def change(document: dict[str, Any]) -> None:
        complete(document)
        del at(document, path)[path.rpartition(".")[2]]

    told = problems(written(change))
    shown = place.replace("[]", "[0]")
    assert [p.path for p in told if "it is missing" in p.message] == [shown]
    assert f"{path.rpartition('.')[2]}: " in next(p for p in told if p.path == shown).suggestion


def complete(document: dict[str, Any]) -> None:
    """Give each list of a plan one entry."""
    document["bake"] = {"gate": [{"roles": ["approver"]}]}
    document["steps"][0]["gate"] = [{"roles": ["approver"]}]
    document["schedule"]["break_glass"] = {"gate": [{"roles": ["security"]}]}
    document["objectives"]["operations"] = [{"match": "a server GET /"}]
    document["schedule"]["freezes"] = [{"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z", "reason": "x"}]
    document["masking"] = {"detectors": [{"name": "case_number", "pattern": "CASE-[0-9]{8}"}]}


@pytest.mark.parametrize(
    ("path", "value", "part"),
    [
        ("version", 2, "2 is here; wanted is the number 1"),
        ("version", "1", '"1" is here; wanted is the number 1'),
        ("name", "  ", "wanted is one line of text"),
        ("name", "a\nb", "wanted is one line of text"),
        ("name", 5, "5 is here; wanted is one line of text"),
        ("name", "x" * 201, "at most 200 characters"),
        ("name", None, "nothing is here; wanted is one line of text"),
        ("name", ["x"], "a list is here; wanted is one line of text"),
        ("name", {"x": 1}, "a mapping is here; wanted is one line of text"),
        ("name", "${env:NAME}", "only secrets may come from the environment"),
        ("change", "text", '"text" is here; wanted is a mapping with the keys reason, security_impact'),
        ("change.reason", " ", "wanted is text"),
        ("change.reason", "because ${env:X}", "only secrets may come from the environment"),
        ("change.ticket", 4711, "4711 is here; wanted is one line of text"),
        ("baseline.slot", "a b", "a name of letters"),
        ("baseline.identity", {}, "it is empty; wanted is at least one entry"),
        ("baseline.identity.service/version", 1.10, "1.1 is here; wanted is a pattern"),
        ("baseline.identity", {f"k{i}": "v" for i in range(17)}, "more entries than are allowed (16)"),
        ("baseline.identity", {" ": "v"}, "the name of a resource attribute"),
        ("baseline.addresses", [], "it is empty; wanted is at least one entry"),
        ("baseline.addresses", "a:1", '"a:1" is here; wanted is a list'),
        ("baseline.addresses.0", "a", "wanted is host:port"),
        ("baseline.addresses.0", "a:0", "wanted is host:port"),
        ("baseline.addresses.0", "a:65536", "wanted is host:port"),
        ("baseline.addresses.0", "a:080", "wanted is host:port"),
        ("baseline.addresses.0", "http://a:80", "wanted is host:port"),
        ("baseline.addresses.0", "${env:X}:80", "wanted is host:port"),
        ("traffic.adapter", "nginx", '"nginx" is here; wanted is envoy or haproxy'),
        ("traffic.lease", "10", '"10" is here; wanted is a duration, at least 1s and at most 5m'),
        ("traffic.lease", 0.5, "at least 1s"),
        ("traffic.lease", "5m1s", "at most 5m"),
        ("traffic.lease", True, "true is here; wanted is a duration"),
        ("traffic.lease", "1m1h", "wanted is a duration"),
        ("traffic.lease", "1m1m", "wanted is a duration"),
        ("traffic.settings.subject", "a b", "a name of letters"),
        ("traffic.settings.subject", ["x"], "wanted is a single value"),
        ("traffic.settings.socket", "relative.sock", "an absolute path"),
        ("traffic.settings.socket", "${env:SOCKET}", "only secrets may come from the environment"),
        ("traffic.settings.nodes", "x", "the haproxy adapter has no such setting"),
        ("steps", [], "it is empty; wanted is at least one entry"),
        ("steps", {"weight": 5}, "a mapping is here; wanted is a list"),
        ("steps.0", 5, "5 is here; wanted is a mapping with the keys weight, minimum"),
        ("steps.0.weight", 0, "at least 0.01%"),
        ("steps.0.weight", "100%", "at most 99.99%"),
        ("steps.0.weight", "5", "wanted is a percentage"),
        ("steps.0.weight", "1e400", "wanted is a percentage"),
        ("steps.1.weight", 5, "5% does not follow 5%"),
        ("steps.1.weight", "5.005%", "does not follow"),
        ("steps.0.minimum", "1h", "1h is more than the maximum (30m)"),
        ("steps.0", {"weight": 5, "minimum": 0, "maximum": "19s"}, "a window is complete after 20s"),
        ("steps.0.require", "passed", "wanted is pass, or a mapping"),
        ("steps.0.require", {}, "nothing is required"),
        ("steps.0.require", {"pass": False}, "nothing is required"),
        ("steps.0.require", {"pass": "yes"}, "wanted is true or false"),
        ("steps.0.require", {"requests": 1.5}, "wanted is a whole number"),
        ("steps.0.require", {"requests": -1}, "wanted is a whole number"),
        ("steps.1.require", {"requests": 500}, "the last step must require a pass"),
        ("steps.0.gate", "two people", "wanted is none, approval, or a list of needs"),
        ("steps.0.mirror", 101, "at most 100%"),
        ("objectives.defaults.alpha", 0, "more than 0 and less than 1"),
        ("objectives.defaults.alpha", 1, "more than 0 and less than 1"),
        ("objectives.defaults.errors", 0.05, "wanted is a mapping with the keys ratio, difference"),
        ("objectives.defaults.errors", {"ratio": 0.9}, "at least 1"),
        ("objectives.defaults.errors", {"ratio": None}, "nothing is here"),
        ("objectives.defaults.errors", {"difference": "100%"}, "less than 1"),
        ("objectives.defaults.latency_margin", -0.1, "at least 0"),
        ("objectives.operations", [{"match": "x"}], "it can match no operation: these are written as"),
        ("objectives.operations", [{"match": "a SERVER b", "latency_margin": 1}], "kinds are in lower case (server)"),
        ("objectives.operations", [{"match": "a *", "latency_margin": 1}] * 2, "the same pattern stands in operations[0]"),
        ("policy.when_worse", "forward", "wanted is return or freeze"),
        ("policy.without_evidence", "promote", "wanted is hold or return"),
        ("policy.deadline", "3m59s", "less than the steps take at least (4m)"),
        ("policy.fast_path.failed_share", 0, "more than 0"),
        ("policy.fast_path.requests", 0, "at least 1"),
        ("observe.window", "1.5s", "a duration of whole seconds"),
        ("observe.window", 0, "at least 1s"),
        ("observe.settle", "30m", "at most 10m"),
        ("bake.holdback", 100, "less than 100%"),
        ("schedule.not_before", "2026-11-03T20:00:00", "with its offset from UTC"),
        ("retention", {"evidence": "23h"}, "at least 1d and at most 3653d"),
        ("retention", {"evidence": "3654d"}, "at least 1d and at most 3653d"),
        ("retention", {"words": "1d"}, "this key is not known here"),
        ("schedule.not_before", "2026-11-03", "with its offset from UTC"),
        ("schedule.not_before", "2026-02-30T00:00:00Z", "with its offset from UTC"),
        ("schedule.not_before", "0001-01-01T00:00:00+23:59", "from 1970"),
        ("schedule.not_before", "9999-12-31T23:59:59-23:59", "from 1970"),
        ("schedule.freezes", [{"from": "2026-01-02T00:00:00Z", "to": "2026-01-02T01:00:00+01:00", "reason": "x"}], "is not after from"),
        ("schedule.freezes", [{"from": None, "to": "2026-01-02T01:00:00+01:00", "reason": "x"}], "nothing is here"),
        ("candidate.slot", "blue", "both roles have the slot blue"),
        ("candidate.identity", {"service.version": "v1"}, "no span could be told apart"),
        ("candidate.identity", {"service.version": "v?"}, "a span can match both roles"),
        ("candidate.identity", {"service.version": "*", "x": "y"}, "a span can match both roles"),
        ("candidate.addresses", ["10.0.0.1:80"], "is an address of the baseline too"),
        ("candidate.addresses", ["10.0.0.3:80"] * 2, "is here twice"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(path: str, value: object, part: str) -> None:
    told = problems(written(put(path, value)))
    assert any(part in p.message for p in told), told
    assert len(told) == 1, told


def test_numbers_that_are_no_numbers_are_told() -> None:
    (problem,) = problems(SHORT.replace("weight: 5%", "weight: 1e999"))
    assert problem.message == "inf is here; wanted is a percentage, at least 0.01% and at most 99.99%"


@pytest.mark.parametrize(
    ("adapter", "settings", "where", "part"),
    [
        ("envoy", {"admin": "10.0.0.9:9901"}, "admin", "can be reached by others"),
        ("envoy", {"admin": "0.0.0.0:9901"}, "admin", "can be reached by others"),
        ("envoy", {"xds": "10.0.0.9:18000"}, "xds", "weights are not sent in plain text"),
        ("envoy", {"xds": "127.0.0.1:1,10.0.0.9:18000"}, "xds", "weights are not sent in plain text"),
        ("envoy", {"xds": "127.0.0.1:1," * 16 + "127.0.0.1:1"}, "xds", "at most 16"),
        ("envoy", {"xds": "127.0.0.1"}, "xds", "host:port or the path"),
        ("envoy", {"xds_key": "/k"}, "xds_key", "also needs xds_certificate, xds_client_ca, xds_server_name"),
        ("envoy", {"mirror_methods": "get"}, "mirror_methods", "HTTP methods"),
        ("envoy", {"chosen_users": "true"}, "chosen_users", "true or false"),
        ("envoy", {"chosen_users": True}, "chosen_users", "chosen users need token_key"),
        ("envoy", {"committed_folder": "here"}, "committed_folder", "an absolute path"),
        ("haproxy", {"chosen_users": True}, "chosen_users", "chosen users need token_key"),
        ("haproxy", {"map_file": "/a b"}, "map_file", "an absolute path of letters"),
    ],
)
def test_settings_of_an_adapter_are_checked(adapter: str, settings: dict[str, Any], where: str, part: str) -> None:
    document = json.loads(load_plan(example_plan(adapter)).canonical)
    document["traffic"]["settings"] |= settings
    (problem,) = problems(json.dumps(document))
    assert (problem.path, part in problem.message) == (f"traffic.settings.{where}", True), problem


@pytest.mark.parametrize(
    "settings",
    [
        {"admin": "/run/envoy/admin.sock"}, {"admin": "localhost:9901"}, {"admin": "[::1]:9901"}, {"xds": "127.0.0.1:0, /run/x.sock"},
        {"mirror_methods": "*"}, {"mirror_methods": "GET, HEAD"}, {"chosen_users": True, "token_key": "/k.pem"},
        {"xds": "10.0.0.9:18000", "xds_server_name": "g", **{name: "/f" for name in ENVOY_TLS if name != "xds_server_name"}},
    ],
)  # fmt: skip
def test_settings_of_envoy_that_are_right(settings: dict[str, Any]) -> None:
    document = json.loads(load_plan(example_plan("envoy")).canonical)
    document["traffic"]["settings"] |= settings
    plan = load_plan(json.dumps(document))
    assert plan.traffic.settings == document["traffic"]["settings"] | {
        k: v.replace(" ", "") for k, v in settings.items() if isinstance(v, str)
    }


def test_a_setting_that_is_not_known_gets_a_suggestion() -> None:
    (problem,) = problems(SHORT.replace("subject: search,", "subject: search, tokenkey: /k,"))
    assert problem.suggestion == "did you mean token_key?"


def test_not_after_is_after_not_before() -> None:
    text = SHORT + "schedule: {not_before: 2026-01-01T01:00:00+01:00, not_after: 2026-01-01T00:00:00Z}\n"
    assert [(p.path, p.message) for p in problems(text)] == [("schedule.not_after", "it is not after not_before (2026-01-01T00:00:00Z)")]


@pytest.mark.parametrize(
    ("before", "after", "path", "suggestion"),
    [
        ("adapter:", "adaptor:", "traffic.adaptor", "did you mean adapter?"),
        ("steps:", "lease: 5s\nsteps:", "lease", "did you mean traffic.lease?"),
        ("steps:", "colour: red\nsteps:", "colour", "known here: version, name, change, baseline, candidate, traffic, steps, objectives"),
        ("  - weight: 5%", "  - Weight: 5%", "steps[0].Weight", "did you mean weight?"),
        ("steps:", "objectives: {operations: [{match: a, alpha: 1}]}\nsteps:", "objectives.operations[0].alpha", "in objectives.defaults"),
        ("steps:", "<<: {a: b}\nsteps:", '["<<"]', "known here"),
    ],
)  # fmt: skip
def test_a_key_that_is_not_known_gets_a_suggestion(before: str, after: str, path: str, suggestion: str) -> None:
    told = [p for p in problems(SHORT.replace(before, after, 1)) if "not known here" in p.message]
    assert [p.path for p in told] == [path]
    assert suggestion in told[0].suggestion


def test_all_problems_are_told_at_once_in_the_order_of_the_lines() -> None:
    text = (
        SHORT.replace("name: Faster search", "name: on")  # what YAML disagrees about
        .replace("slot: green", "slot: blue")  # what two sections must agree on
        .replace("weight: 5%", "weight: 50%\n    maximun: 1h")  # a key that is not known, and weights that do not ascend
        .replace("adapter: haproxy", "adapter: haproxy\n  lease: 0")  # out of range
    )
    assert [(p.line, p.column, p.path) for p in problems(text)] == [
        (2, 7, "name"), (9, 9, "candidate.slot"), (14, 10, "traffic.lease"), (18, 5, "steps[0].maximun"), (19, 13, "steps[1].weight"),
    ]  # fmt: skip


def test_so_many_problems_are_told_and_no_more() -> None:
    assert len(problems(SHORT + "".join(f"key_{i:020}: 1\n" for i in range(5000)))) == PROBLEMS_MAX


def test_the_error_says_what_it_is_about_in_one_line() -> None:
    with pytest.raises(InvalidPlan) as caught:
        load_plan("name: 5\nfoo: 1\n", source="p.yaml")
    assert str(caught.value).startswith("p.yaml has 8 problems, nothing was started: line 1, column 1: baseline: it is missing.")
    assert str(caught.value).endswith("; and 5 more")
    assert "\n" not in str(caught.value)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.problems, again.source, str(again)) == (caught.value.problems, "p.yaml", str(caught.value))


@pytest.mark.parametrize("text", ["[]", "5", "plan", "- a\n- b", "null", "{}"])
def test_what_is_no_plan_at_all_is_told(text: str) -> None:
    assert problems(text)


@pytest.mark.parametrize(
    ("path", "value", "where", "part"),
    [
        ("candidate.identity", {"colour": "green"}, "candidate.identity", "share no attribute"),
        ("traffic.lease", "61s", "traffic.lease", "for up to 1m1s"),
        ("steps.0.require", {"requests": 99}, "steps[0].require", "99 requests show little"),
        ("steps", [{"weight": 5}], "steps", "one step only"),
        ("bake.for", 0, "bake.for", "there is no bake"),
        ("bake.holdback", 0, "bake.holdback", "nothing stays on the baseline"),
        ("policy.deadline", "33m59s", "policy.deadline", "less than steps and bake take at least (34m)"),
        ("observe.reference", 59, "observe.reference", "59s is short"),
        ("objectives.operations", [{"match": "a *"}], "objectives.operations[0].match", "nothing is different"),
        ("retention", {"evidence": "364d"}, "retention.evidence", "after 364d nothing can be judged again"),
        (
            "objectives.defaults.tolerated_leaks",
            {"email": "public", "emial": "public"},
            "objectives.defaults.tolerated_leaks.emial",
            "neither Verdigris nor this plan",
        ),
    ],
)
def test_what_is_doubtful_is_a_warning(path: str, value: object, where: str, part: str) -> None:
    (warning,) = check_plan(written(put(path, value))).warnings
    assert (warning.path, part in warning.message, bool(warning.suggestion)) == (where, True, True)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("traffic.lease", 60), ("steps.0.require", {"requests": 100}), ("policy.deadline", "34m"), ("observe.reference", 60),
        ("retention", {"evidence": "365d"}),
        ("candidate.identity", {"service.version": "v1", "slot": "green"}), ("steps.0.maximum", "2m"), ("steps.0.weight", "49.99%"),
    ],
)  # fmt: skip
def test_what_is_just_right_is_no_warning(path: str, value: object) -> None:
    def change(document: dict[str, Any]) -> None:
        put(path, value)(document)
        if path == "candidate.identity":  # apart by one of two attributes
            document["baseline"]["identity"] = {"service.version": "v1", "slot": "blue"}

    assert check_plan(written(change)).warnings == ()


def test_the_same_text_gives_the_same_check() -> None:
    first: CheckedPlan = check_plan(SHORT)
    assert first == check_plan(SHORT)


@pytest.fixture
def secretive(monkeypatch: pytest.MonkeyPatch) -> None:
    """An adapter with a secret."""
    setting = AdapterSetting(Text("x"), "What HAProxy asks for.")
    monkeypatch.setitem(SETTINGS, "haproxy", {**SETTINGS["haproxy"], "api_token": setting})


@pytest.mark.usefixtures("secretive")
def test_a_secret_is_a_reference_in_plan_and_digest() -> None:
    plan = load_plan(SHORT.replace("subject: search,", 'subject: search, api_token: "${env:TOKEN}",'))
    assert plan.traffic.settings["api_token"] == "${env:TOKEN}"
    assert b'"api_token":"${env:TOKEN}"' in plan.canonical
    resolved = resolve_secrets(plan.traffic.settings, {"TOKEN": "s3cret", "OTHER": "x"})
    assert resolved == dict(plan.traffic.settings) | {"api_token": "s3cret"}
    assert plan.traffic.settings["api_token"] == "${env:TOKEN}"
    for environ in ({}, {"TOKEN": ""}):
        with pytest.raises(MissingSecret, match=r"traffic\.settings\.api_token needs the environment variable TOKEN"):
            resolve_secrets(plan.traffic.settings, environ)


@pytest.mark.usefixtures("secretive")
@pytest.mark.parametrize("value", ["s3cret", "Bearer ${env:TOKEN}", "${TOKEN}", "${env:}", "${env:1A}", "${file:/x}", 5, None, ""])
def test_a_secret_itself_is_refused_and_not_repeated(value: object) -> None:
    (problem,) = problems(written(put("traffic.settings.api_token", value)))
    assert problem.suggestion == "api_token: ${env:API_TOKEN}"
    assert "s3cret" not in problem.message


def test_only_what_is_named_as_a_secret_is_looked_up() -> None:
    assert resolve_secrets({"a": "${env:X}", "b_secret": "${env:X}"}, {"X": "1"}) == {"a": "${env:X}", "b_secret": "1"}
    assert [settings_module.is_secret(n) for n in ("x_token", "x_password", "x_secret", "token_key", "tokens")] == [True] * 3 + [False] * 2
