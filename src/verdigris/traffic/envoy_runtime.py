"""Weights as Envoy's runtime has them: from a routing to values of runtime keys, and back from what Envoy says. Pure.

Envoy draws one random number per request and compares it with every fraction of that request's route. The weight takes the numbers
below it for the second slot; copies must therefore be asked for in numbers of the route they belong to.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from verdigris.traffic.data_plane import RESOLUTION_PERCENT, Routing, TrafficError
from verdigris.traffic.envoy_settings import MILLION, EnvoySettings

_NUMERATOR = re.compile(r'\bnumerator"?:\s*([0-9]{1,7})\b')
# A structure sent over xDS comes back as the debug text of a protobuf, which has no stable white space.
_DEBUG_NUMERATOR = re.compile(r'key:\s*"numerator"\s*value\s*\{\s*number_value:\s*([0-9]{1,7})(?:\.0*)?\s*\}')
_WHOLE_NUMBER = re.compile(r"([0-9]{1,15})(?:\.0*)?")
_DIGITS = len(str(round(1 / RESOLUTION_PERCENT))) - 1


class NotOurConfiguration(TrafficError):
    """Envoy's runtime lacks what the generated configuration has. Safe: nothing changed; start Envoy from `envoy-config` of this plan."""


@dataclass(frozen=True, slots=True)
class InForce:
    """What Envoy's runtime says. `newest`: the newest generation that Envoy has heard of, in force or over; 0 for none."""

    routing: Routing
    generation: int | None
    committed: bool
    newest: int
    fence_closed: bool


def fractions(settings: EnvoySettings, routing: Routing) -> dict[str, int]:
    """Runtime keys and numerators (of a million) that put a routing in force. All keys, so that nothing below shines through."""
    baseline, candidate = settings.baseline.slot, settings.candidate.slot
    share = round(routing.candidate_percent * MILLION / 100)
    weight = share if settings.candidate_is_second else MILLION - share
    copies = round(routing.mirror_percent / 100 * (MILLION - share))
    # The baseline's requests are those with numbers from the weight up (candidate second), or below it (candidate first).
    mirror = weight + copies if settings.candidate_is_second and copies else copies
    return {
        settings.weight_key(): weight,
        settings.mirror_key(candidate): mirror,
        settings.mirror_key(baseline): 0,
        settings.chosen_key(candidate): MILLION if routing.chosen_users else 0,
        settings.chosen_key(baseline): 0,
    }


def read_runtime(settings: EnvoySettings, answer: Mapping[str, Any]) -> InForce | None:
    """What `/runtime?format=json` says. None where a value cannot be read. Raises: NotOurConfiguration."""
    layers = answer.get("layers")
    entries = answer.get("entries")
    if not isinstance(layers, list) or not isinstance(entries, dict):
        return None
    needed = (settings.durable_layer, settings.lease_layer, settings.fence_layer)
    if any(name not in layers for name in needed) or settings.weight_key() not in entries:
        lacking = [name for name in needed if name not in layers] or [settings.weight_key()]
        msg = f"Envoy's runtime lacks {', '.join(lacking)}; start it from what envoy-config prints for this plan"
        raise NotOurConfiguration(msg)
    runtime = _Runtime(tuple(map(str, layers)), entries)
    weight = runtime.fraction(settings.weight_key())
    durable = runtime.fraction(settings.weight_key(), without=settings.lease_layer)
    mirror = runtime.fraction(settings.mirror_key(settings.candidate.slot), 0)
    chosen = runtime.fraction(settings.chosen_key(settings.candidate.slot), 0)
    if weight is None or durable is None or mirror is None or chosen is None:
        return None
    leased = runtime.layer_of(settings.weight_key()) == settings.lease_layer
    generation = runtime.number(settings.generation_key, settings.lease_layer)
    fenced = runtime.number(settings.fenced_key, settings.durable_layer)
    return InForce(
        routing=_routing(settings, weight, mirror, chosen),
        generation=generation if leased else None,
        committed=_share(settings, durable) == MILLION,
        newest=max(generation or 0, fenced or 0),
        fence_closed=bool(runtime.text(settings.weight_key(), settings.fence_layer)),
    )


def _share(settings: EnvoySettings, weight: int) -> int:
    return weight if settings.candidate_is_second else MILLION - weight


def _routing(settings: EnvoySettings, weight: int, mirror: int, chosen: int) -> Routing:
    share = _share(settings, weight)
    copied = max(0, mirror - weight) if settings.candidate_is_second else min(mirror, weight)
    rest = MILLION - share
    mirror_percent = round(100 * copied / rest, _DIGITS) if rest else 0.0
    # Some, not all, of the chosen users is nobody's wish; then it is not what was asked for, and reads as off.
    return Routing(share * 100 / MILLION, mirror_percent, chosen_users=chosen == MILLION)


@dataclass(frozen=True, slots=True)
class _Runtime:
    layers: tuple[str, ...]
    entries: Mapping[str, Any]

    def text(self, key: str, layer: str) -> str:
        """The value of a key in one layer; empty where it has none."""
        entry = self.entries.get(key)
        values = entry.get("layer_values") if isinstance(entry, dict) else None
        if not isinstance(values, list) or len(values) != len(self.layers):
            return ""
        return str(values[self.layers.index(layer)])

    def layer_of(self, key: str, without: str = "") -> str | None:
        """The layer whose value is in force: the last that has one."""
        return next((layer for layer in reversed(self.layers) if layer != without and self.text(key, layer)), None)

    def fraction(self, key: str, absent: int | None = None, without: str = "") -> int | None:
        """A numerator of a million that is in force; None where the text is something else."""
        layer = self.layer_of(key, without)
        if layer is None:
            return absent
        text = self.text(key, layer)
        found = _DEBUG_NUMERATOR.search(text) or _NUMERATOR.search(text)
        if found is None or "MILLION" not in text:
            return None
        return min(int(found[1]), MILLION)

    def number(self, key: str, layer: str) -> int | None:
        found = _WHOLE_NUMBER.fullmatch(self.text(key, layer).strip())
        return None if found is None else int(found[1])
