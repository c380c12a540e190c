"""How well and how fast sensitive values are found: the detectors on texts with labels, on what is not sensitive, and beside their peers.

    python benchmarks/detection.py [--accuracy] [--speed] [--texts 2000] [--harmless 40000] [--seconds-per-case 6]

Accuracy: `sensitive_texts.py` makes the texts from a seed. Recall is the share of planted values that are named by their detector and
not left in the text; precision is over all texts of all rules, near misses included: of what a detector named, the share that was
planted. The peers of `detection_peers.py` are run on the same texts. Harmless values are changed or they are not, per million of each.

Speed: texts a second of one core, in turn in this one process; the ratio is the median of the ratios of neighbouring runs.
"""

import argparse
import platform
import random
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

from verdigris._native import Masking

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.decode import compare, processor
from benchmarks.detection_peers import PRESIDIO, find_with_re, presidio, public_templates
from benchmarks.sensitive_texts import HARMLESS, RULES, Sample, card, email, iban, near_misses, phone, positives, ssn, telemetry

SEED = 20_261_128
WITH_ADDRESSES = '{"treatments": {"ip_address": "mask"}}'
FILLED = {
    "credit_card_number": ("card", card), "iban": ("iban", iban), "ssn": ("ssn", ssn), "email": ("email", email),
    "phone_number": ("phone", phone),
}  # fmt: skip
"""Places in the public sentences, the detector that should find what stands there, and what is put there."""


CREDENTIALS = frozenset({"secret", "url_password", "bearer", "basic", "jwt", "service_key", "cookie", "iban"})
PIECE_CHARS = 6


class Score:
    """True and false positives and misses of one detector."""

    def __init__(self) -> None:
        self.planted = self.found = self.right = self.wrong = 0

    @property
    def recall(self) -> float:
        """Share of the planted that was named."""
        return self.found / self.planted if self.planted else float("nan")

    @property
    def precision(self) -> float:
        """Share of the named that was planted."""
        return self.right / (self.right + self.wrong) if self.right + self.wrong else float("nan")


def ours(masking: Masking, samples: Sequence[Sample]) -> list[tuple[set[str], str]]:
    """Names of what the detectors found in each sample, and the text that is left."""
    places: dict[str, list[int]] = {}
    for number, sample in enumerate(samples):
        places.setdefault(sample.key, []).append(number)
    results: list[tuple[set[str], str]] = [(set(), sample.text) for sample in samples]
    for key, numbers in places.items():
        for number, treated in zip(numbers, masking.treat([samples[number].text for number in numbers], key=key), strict=True):
            if treated is not None:
                results[number] = (set(treated.detectors), treated.text)
    return results


def is_left(detector: str, secret: str, text: str) -> bool:
    """Whether the value, or of a credential a piece of it, is still in the text."""
    pieces = [secret, quote(secret, safe="")]
    if detector in CREDENTIALS:
        # The user before a password, and the host of a webhook, may stay.
        said = secret.partition(":")[2] if detector == "url_password" else secret.rpartition("/services/")[2]
        pieces += [said[at : at + PIECE_CHARS] for at in range(len(said) - PIECE_CHARS + 1)]
    return any(piece in text for piece in pieces)


def scored(samples: Sequence[Sample], about: Sequence[str], found: Sequence[set[str]], left: Sequence[str] | None) -> dict[str, Score]:
    """Scores by detector; `about` says which detector each sample was made for."""
    scores = {name: Score() for name in RULES}
    for number, (sample, detector, named) in enumerate(zip(samples, about, found, strict=True)):
        for name in named & scores.keys():
            if name in sample.detectors:
                scores[name].right += 1
            else:
                scores[name].wrong += 1
        if detector in sample.detectors:
            score = scores[detector]
            score.planted += 1
            score.found += detector in named and (left is None or not is_left(detector, sample.secret, left[number]))
    return scores


def labelled(texts: int) -> tuple[list[Sample], list[str]]:
    """All samples of all rules, and which rule each is of."""
    samples: list[Sample] = []
    about: list[str] = []
    for name in RULES:
        source = random.Random(f"{SEED} {name}")
        made = [*positives(name, source, texts), *near_misses(name, source, texts)]
        samples += made
        about += [name] * len(made)
    return samples, about


def accuracy(texts: int) -> None:
    """Print recall and precision per detector, beside those of the peers."""
    everything, all_about = labelled(texts)
    # IP addresses are kept by default; they are looked for in their own texts only, because versions look like them.
    addresses = [number for number, name in enumerate(all_about) if name == "ip_address"]
    rest = [number for number, name in enumerate(all_about) if name != "ip_address"]
    columns: list[tuple[str, dict[str, Score]]] = []
    samples, about = [everything[number] for number in rest], [all_about[number] for number in rest]
    results = ours(Masking(), samples)
    scores = scored(samples, about, [found for found, _ in results], [left for _, left in results])
    own = [everything[number] for number in addresses]
    own_results = ours(Masking(WITH_ADDRESSES), own)
    found, left = [found for found, _ in own_results], [left for _, left in own_results]
    scores["ip_address"] = scored(own, ["ip_address"] * len(own), found, left)["ip_address"]
    columns.append(("ours", scores))
    columns.append(("re", scored(samples, about, [find_with_re(sample.text, sample.key) for sample in samples], None)))
    peer = presidio()
    if isinstance(peer, str):
        print(f"Presidio left out: {peer}")
    else:
        columns.append(("Presidio", scored(samples, about, [peer.same_kinds(sample.text) for sample in samples], None)))
    print(f"\nseed {SEED}; {texts:,} texts with a value and {texts:,} near misses for each detector; precision over all {len(samples):,}")
    head = "".join(f"{name + ' recall':>16}{'precision':>11}" for name, _ in columns)
    print(f"{'detector':<14}{head}{'misses':>8}{'false':>7}")
    for name in RULES:
        line = f"{name:<14}"
        for _, one in columns:
            score = one[name]
            known = score.right + score.wrong + score.found
            line += f"{score.recall:>15.2%} {score.precision:>10.2%}" if known else f"{'–':>15} {'–':>10}"
        score = columns[0][1][name]
        print(line + f"{score.planted - score.found:>8}{score.wrong:>7}")
    missed: Counter[str] = Counter()
    false: Counter[str] = Counter()
    for sample, detector, (named, left_text) in zip(samples, about, results, strict=True):
        if detector in sample.detectors and (detector not in named or is_left(detector, sample.secret, left_text)):
            missed[f"{detector} in {sample.where}"] += 1
        false.update(f"{name} in texts of {detector}" for name in named - sample.detectors)
    for title, counts in (("misses", missed), ("false", false)):
        print(f"{title}: {', '.join(f'{what} {count}' for what, count in counts.most_common(12)) or 'none'}")


def public(texts: int) -> None:
    """Print recall on the public sentences, with values of our generator in their places."""
    templates = public_templates()
    if isinstance(templates, str):
        print(f"\npublic sentences left out: {templates}")
        return
    source = random.Random(SEED)
    samples: list[Sample] = []
    about: list[str] = []
    for number in range(texts):
        text = templates[number % len(templates)]
        planted: set[str] = set()
        for place, (name, make) in FILLED.items():
            if f"{{{{{place}}}}}" in text:
                text = text.replace(f"{{{{{place}}}}}", make(source))
                planted.add(name)
        while "{{" in text and "}}" in text:
            start, end = text.index("{{"), text.index("}}") + 2
            text = text[:start] + source.choice(["Vienna", "Anna", "Main Street", "42"]) + text[max(end, start + 2) :]
        for name in sorted(planted) or [""]:
            samples.append(Sample(text, "app.value", frozenset(planted)))
            about.append(name)
    rows = [("ours", [found for found, _ in ours(Masking(), samples)]), ("re", [find_with_re(sample.text) for sample in samples])]
    peer = presidio()
    if not isinstance(peer, str):
        rows.append(("Presidio", [peer.same_kinds(sample.text) for sample in samples]))
    print(f"\n{len(templates)} public sentences (presidio-evaluator, MIT), {texts:,} texts with generated values")
    print(f"{'':<10}" + "".join(f"{name + ' recall':>16}{'precision':>11}" for name, _ in FILLED.values()))
    for who, found in rows:
        scores = scored(samples, about, found, None)
        print(f"{who:<10}" + "".join(f"{scores[name].recall:>16.2%}{scores[name].precision:>11.2%}" for name, _ in FILLED.values()))


def harmless(each: int) -> None:
    """Print how often values are changed that are not sensitive."""
    masking = Masking()
    total = changed_total = 0
    print(f"\nseed {SEED}; {each:,} of each kind of value that is not sensitive, {each * len(HARMLESS):,} in all")
    print(f"{'kind':<30}{'changed':>9}{'per million':>13}  by")
    for kind, make in HARMLESS.items():
        source = random.Random(f"{SEED} {kind}")
        by: Counter[str] = Counter()
        changed = 0
        for start in range(0, each, 10_000):
            texts = [make(source) for _ in range(min(10_000, each - start))]
            for treated in masking.treat(texts, key="app.value"):
                if treated is not None:
                    changed += 1
                    by.update(treated.detectors)
        total, changed_total = total + each, changed_total + changed
        named = ", ".join(f"{name} {count:,}" for name, count in by.most_common())
        print(f"{kind:<30}{changed:>9,}{changed / each * 1e6:>13,.0f}  {named}")
    print(f"{'all':<30}{changed_total:>9,}{changed_total / total * 1e6:>13,.0f}")


def over(find: Callable[[str], object], texts: Sequence[str]) -> Callable[[], None]:
    """One pass of a finder over all texts."""

    def run() -> None:
        for text in texts:
            find(text)

    return run


def speed(count: int, case_s: float) -> None:
    """Print texts a second beside the peers."""
    masking = Masking()
    clean = telemetry(random.Random(SEED), count, 0.0)
    mixed = telemetry(random.Random(SEED), count, 0.02)
    samples, _ = labelled(max(count // 100, 10))
    leaky = [sample.text for sample in random.Random(SEED).sample(samples, min(count // 4, len(samples)))]
    print(f"\nmachine: {platform.node()}, {processor()}, Python {platform.python_version()}; one core each")
    print(f"{'texts':<50}{'ours/s':>12}{'peer':>22}{'peer/s':>11}{'ratio':>8}{'wanted':>8}")
    peers: list[tuple[str, Callable[[str], object], str]] = [("re, same rules", find_with_re, "20x")]
    peer = presidio()
    if isinstance(peer, str):
        print(f"Presidio left out: {peer}")
    else:
        print(
            f"Presidio {peer.version}: {peer.patterns} recognisers by patterns are loaded for English, {len(PRESIDIO)} are of kinds of ours"
        )
        peers.append((f"Presidio, all {peer.patterns}", peer.all_patterns, "50x"))
        peers.append((f"Presidio, {len(PRESIDIO)} kinds", peer.same_kinds, "50x"))
    kinds = (("telemetry, nothing in it", clean), ("telemetry, 2 % with something in it", mixed), ("labelled and near misses", leaky))
    for name, texts in kinds:
        some = texts[: max(len(texts) // 10, 1)]  # a pass of a peer over them takes about as long as is measured at a time
        one_call, call_each = (lambda some=some: masking.treat(some)), over(lambda text: masking.treat((text,)), some)
        for who, find, wanted in peers:
            for how, mine in (("", one_call), (", a call each", call_each)):
                our_s, peer_s, ratio = compare(mine, over(find, some), case_s)
                speeds = f"{len(some) / our_s:>12,.0f}{who:>22}{len(some) / peer_s:>11,.0f}{ratio:>7.1f}x{wanted:>8}"
                print(f"{name + how:<50}{speeds}", flush=True)
        print(f"  ({len(some):,} texts, mean {sum(map(len, some)) / len(some):.0f} characters)")


def main() -> None:
    """Run what was asked for; without an option all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accuracy", action="store_true")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--texts", type=int, default=2_000, help="texts with a value, and near misses, of each detector")
    parser.add_argument("--harmless", type=int, default=40_000, help="values of each of the 25 kinds that are not sensitive")
    parser.add_argument("--strings", type=int, default=20_000, help="texts for speed; a tenth of them in each pass")
    parser.add_argument("--seconds-per-case", type=float, default=6.0)
    given = parser.parse_args()
    both = not (given.accuracy or given.speed)
    if given.accuracy or both:
        accuracy(given.texts)
        public(given.texts)
        harmless(given.harmless)
    if given.speed or both:
        speed(given.strings, given.seconds_per_case)


if __name__ == "__main__":
    main()
