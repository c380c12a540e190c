"""The peers of `detection.py`: the detectors' rules as Python regular expressions, and Presidio's pattern recognisers.

The rules are written once, compiled once and run one after the other over each text, as somebody would write them who has only `re`:
a pattern for each kind, a checksum where there is one, and for what only a key gives away one pattern for key and value. They do less
than the decoder: they do not read what percent signs, base64 or other scripts hide, and they only find, where the decoder also puts
together the text that is left. How much of the labelled texts they find is printed too.
"""

import base64
import binascii
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

PEERS = Path(__file__).resolve().parents[1] / "build/peers"
"""Where `scripts/setup-peers` puts them: beside our own environment, so that nothing of ours changes its version."""

Found = set[str]


def luhn(number: str) -> bool:
    """Luhn's checksum over a run of digits."""
    total = 0
    for place, digit in enumerate(reversed(number)):
        doubled = int(digit) * (2 if place % 2 else 1)
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0


BRAND = re.compile(
    r"4\d{12}(?:\d{3}|\d{6})?$|5[1-5]\d{14}$|2(?:2[2-9]|[3-6]|7[01]|720)\d{12,13}$|3[47]\d{13}$|3(?:0[0-5]|095|6|[89])\d{11,14}$"
    r"|35(?:2[89]|[3-8])\d{12,15}$|6(?:011|4[4-9]|5|2)\d{11,15}$|(?:50[1-3]8|5893|6304|6759|676[1-3])\d{8,15}$|(?:508[5-9]|607|608)\d{12,13}$"
)
CARD = re.compile(r"(?<![.\d])\d(?:[ -]?\d){11,}")
SSN = re.compile(r"(?<![\w.-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])")
NHS = re.compile(r"(?<![\w.-])\d{3}([ -])\d{3}\1\d{4}(?![\w-])")
IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}[A-Za-z0-9 -]{11,41}")
IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AT": 20, "BE": 16, "BG": 22, "CH": 21, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "EE": 20, "ES": 24, "FI": 18,
    "FR": 27, "GB": 22, "GR": 27, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IS": 26, "IT": 27, "LI": 21, "LT": 20, "LU": 20, "LV": 21,
    "MC": 27,    "MT": 31, "NL": 18, "NO": 15, "PL": 28, "PT": 25, "RO": 24, "SA": 24, "SE": 24, "SI": 19, "SK": 24, "TR": 26, "UA": 29,
}  # fmt: skip
EMAIL = re.compile(r"[\w.%+'-]{1,64}@[\w-]+(?:\.[\w-]+)*\.[^\W\d]{2,}")
JWT = re.compile(r"eyJ[\w-]+\.[\w-]{4,}(?:\.[\w-]*){0,3}")
BEARER = re.compile(r"(?<!\w)(?:bearer|token) +([\w.~+/=-]{8,})", re.IGNORECASE)
BASIC = re.compile(r"(?<!\w)basic +([\w+/=-]{4,})", re.IGNORECASE)
PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY.*?(?:-----END[^-]*-----|\Z)|PuTTY-User-Key-File-", re.DOTALL)
SERVICE_KEY = re.compile(
    r"(?<![A-Za-z0-9])(?:A(?:KIA|SIA|BIA|CCA)[A-Z0-9]{16}|AIza[\w-]{35}|GOCSPX-[\w-]{20}|ya29\.[\w-]{20}|SG\.[\w-]{22}|SK[0-9a-fA-F]{32}"
    r"|do[po]_v1_[0-9a-f]{32}|dapi[0-9a-f]{32}|dckr_pat_[\w-]{20}|gh[pousr]_[\w-]{36}|github_pat_[\w-]{22}|gl(?:pat|dt|rt|ptt)-[\w-]{20}|glsa_[\w-]{32}"
    r"|hf_[\w-]{30}|hv[sb]\.[\w-]{24}|lin_api_[\w-]{32}|key-[0-9a-f]{32}|NRAK-[A-Z0-9]{27}|npm_[\w-]{36}|pypi-[\w-]{50}|[prs]k_(?:live|test)_[\w-]{16}"
    r"|whsec_[\w-]{24}|sq0(?:atp|csp)-[\w-]{22}|shp(?:at|ss)_[0-9a-f]{32}|sk-(?:ant|proj)-[\w-]{24}|sk-[\w-]{40}|xox[bpares]-[\w-]{20}|xapp-[\w-]{20}"
    r"|AGE-SECRET-KEY-[A-Z0-9]{40}|sntrys_[\w-]{32}|pscale_tkn_[\w-]{30}|PMAK-[\w-]{32})"
)
URL_PASSWORD = re.compile(r"\w://[^\s/?#\"'`<>@]+@|oracle:(?:thin|oci):[^\s@]+@|\S+:\S+@(?:tcp6?|unix)\(")
URL_QUERY = re.compile(r"[?&#][\w.~\[\]%+$*@|()!-]+=[^\s&;#\"'`<>]+")
STATEMENT = re.compile(
    r"\b(?:select\b.*\bfrom|(?:insert|merge|replace)\b.*\binto|update\b.*\bset|delete\b.*\bfrom|with\b.*\bselect)\b",
    re.IGNORECASE | re.DOTALL,
)
LITERAL = re.compile(r"'(?:[^'\\]|''|\\.)*'|(?<![\w$.])\d+(?:\.\d+)?(?![\w.])")
MRN = re.compile(r"(?<!\w)mrn[ _#-]{0,3}\d{5,15}(?!\w)", re.IGNORECASE)
PAIR = re.compile(r"([\w.$-]{3,64})[ \"'`\\]{0,8}[:=](?!//)[ =>\\\"'`\[]{0,8}([^\r\n\"'`,;&<>}|]+)")
NUMBER_AFTER_WORD = re.compile(
    r"\b(cvv|cvc|pin|ssn|nhs|npi|mrn|phone|mobile|tel|fax|dob|birth)(?: (?:no\.?|number|is|id|code)){0,2} +#?([\d+(][\d ()+./-]*)",
    re.IGNORECASE,
)
KEYS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(pattern, re.IGNORECASE))
    for name, pattern in (
        (
            "secret",
            r"passw(?:or)?d|passphrase|secret|(?:api|access|private)[_.-]?key|(?:access|auth|id|refresh|session|csrf)[_.-]?token"  # noqa: ISC004
            r"|credentials?$|\botp$",
        ),
        ("random", r"(?:token|key|auth|signature|sig|nonce|session|sid)$"),
        ("cookie", r"cookies?$|sess(?:ion)?_?id$|connect\.sid$"),
        ("bearer", r"authorization$"),
        ("card_code", r"(?:\b|_|[a-z])(?:cvv|cvc|csc)2?$|security[_.-]?code$"),
        ("pin", r"(?:\b|_)pin(?:[_.-]?code)?$"),
        ("ssn", r"(?:\b|_)ssn$|social[_.-]?security"),
        ("nhs_number", r"(?:\b|_)nhs(?:[_.-]?(?:number|no))?$"),
        ("npi", r"(?:\b|_)npi$"),
        ("mrn", r"(?:\b|_)mrn$|medical[_.-]?record|patient[_.-]?(?:id|number|no)$"),
        ("phone", r"(?:\b|_)(?:tele|cell)?phone(?:[_.-]?number)?$|(?:\b|_)(?:mobile|msisdn|fax|tel)$"),
        ("birth_date", r"(?:\b|_)dob$|birth[_.-]?(?:date|day)?$|date[_.-]?of[_.-]?birth"),
    )
)
ABOUT = re.compile(
    r"(?:count|type|length|size|policy|expir\w*|ttl|age|limit|usage|enabled|version|status|name|required|valid|format|present)$",
    re.IGNORECASE,
)
NOTHING = re.compile(r"[*xX?.-]*$|\W*(?:null|none|true|false|redacted|masked|hidden|filtered)\W*$", re.IGNORECASE)
NUMBER = re.compile(r"[\d +().-]+")
DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}|\d{8}|\d{1,2} [A-Za-z]{3,9} \d{4}")


def is_card(text: str) -> bool:
    """A card, or a window of one in a longer run."""
    number = re.sub(r"\D", "", text)
    if number == text and len(number) in {13, 16, 19} and 1000 <= int(number[:4]) < 2600:
        return False  # a time since 1970
    windows = [number] if len(number) <= 19 else []
    windows += [number[at : at + size] for size in (15, 16) for at in range(len(number) - size + 1)]
    return any(BRAND.match(window) and luhn(window) for window in windows)


def is_iban(text: str) -> bool:
    """ISO 7064, modulus 97, over as many characters as the country has."""
    compact = re.sub(r"[ -]", "", text)[: IBAN_LENGTHS.get(text[:2].upper(), 0)]
    if not compact:
        return False
    return int("".join(str(int(letter, 36)) for letter in compact[4:] + compact[:4])) % 97 == 1


def is_nhs(text: str) -> bool:
    """Modulus 11."""
    number = [int(digit) for digit in re.sub(r"\D", "", text)]
    if len(number) != 10:
        return False
    return (11 - sum(digit * weight for digit, weight in zip(number[:9], range(10, 1, -1), strict=True)) % 11) % 11 == number[9]


def is_jwt(text: str) -> bool:
    """A header that can be read."""
    header = text.partition(".")[0]
    try:
        return b'"alg"' in base64.urlsafe_b64decode(header + "=" * (-len(header) % 4))
    except (ValueError, binascii.Error):
        return False


def is_basic(text: str) -> bool:
    """User and password."""
    try:
        return b":" in base64.b64decode(text + "=" * (-len(text) % 4))
    except (ValueError, binascii.Error):
        return False


def by_key(key: str, value: str) -> Iterator[str]:
    """What a key makes of its value."""
    value = value.strip()
    if not value or NOTHING.match(value) or ABOUT.search(key):
        return
    number = NUMBER.match(value)
    digits = re.sub(r"\D", "", number[0]) if number else ""
    for name, pattern in KEYS:
        if not pattern.search(key):
            continue
        if name == "random":
            if len(value) >= 16 and re.search(r"\d", value) and re.search(r"[A-Za-z]", value):
                yield "secret"
        elif name in {"secret", "cookie", "bearer"} or (
            (name == "card_code" and len(digits) in {3, 4})
            or (name == "pin" and 3 <= len(digits) <= 12)
            or (name == "ssn" and len(digits) == 9)
            or (name == "nhs_number" and is_nhs(digits))
            or (name == "npi" and len(digits) == 10 and luhn("80840" + digits))
            or (name == "mrn" and re.search(r"\d", value))
            or (name == "phone" and 7 <= len(digits) <= 15)
            or (name == "birth_date" and DATE.match(value))
        ):
            yield name


RULES: tuple[tuple[str, re.Pattern[str], Callable[[str], bool] | None], ...] = (
    ("card", CARD, is_card), ("ssn", SSN, None), ("nhs_number", NHS, is_nhs), ("iban", IBAN, is_iban), ("email", EMAIL, None),
    ("jwt", JWT, is_jwt), ("private_key", PRIVATE_KEY, None), ("service_key", SERVICE_KEY, None), ("url_password", URL_PASSWORD, None),
    ("url_query", URL_QUERY, None), ("mrn", MRN, None),
)  # fmt: skip


def find_with_re(text: str, key: str = "app.value") -> Found:
    """All rules on one text; names of what was found."""
    found = {name for name, pattern, holds in RULES for match in pattern.finditer(text) if holds is None or holds(match[0])}
    found.update("bearer" for match in BEARER.finditer(text) if re.search(r"\d|[a-z][A-Z]", match[1]))
    found.update("basic" for match in BASIC.finditer(text) if is_basic(match[1]))
    if STATEMENT.search(text) and LITERAL.search(text):
        found.add("sql_literal")
    for match in PAIR.finditer(text):
        found.update(by_key(match[1], match[2]))
    for match in NUMBER_AFTER_WORD.finditer(text):
        found.update(by_key(match[1], match[2]))
    found.update(by_key(key, text))
    return found


PRESIDIO = {
    "CreditCardRecognizer": "card", "EmailRecognizer": "email", "IbanRecognizer": "iban", "UsSsnRecognizer": "ssn",
    "NhsRecognizer": "nhs_number", "UsNpiRecognizer": "npi",
}  # fmt: skip
"""Its pattern recognisers for what we have a detector for, but IP addresses, which ours keep by default: 6 kinds where ours are 21."""


@dataclass(frozen=True, slots=True)
class Presidio:
    """Presidio's recognisers on one text, without a language model and without its engine.

    Attributes:
        same_kinds: those of `PRESIDIO`, with our names of what they found.
        all_patterns: all recognisers by patterns that it loads for English by default, with its own names.
    """

    version: str
    same_kinds: Callable[[str], Found]
    all_patterns: Callable[[str], Found]
    patterns: int


def presidio() -> Presidio | str:
    """Presidio, or why it is not there."""
    if str(PEERS) not in sys.path:
        sys.path.append(str(PEERS))
    try:
        import tldextract  # noqa: PLC0415  # here, because both may be missing
        from presidio_analyzer import PatternRecognizer, RecognizerRegistry, predefined_recognizers  # noqa: PLC0415
    except ImportError as error:
        return f"presidio-analyzer is not there ({error}); scripts/setup-peers installs it"
    # It would ask the internet for a list at its first use, and waits for that; its own copy of the list is the same to it.
    tldextract.extract = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    recognisers: list[Any] = [getattr(predefined_recognizers, name)() for name in PRESIDIO]
    kinds = [(one, one.supported_entities, kind) for one, kind in zip(recognisers, PRESIDIO.values(), strict=True)]

    registry = RecognizerRegistry()
    registry.load_predefined_recognizers(languages=["en"])
    patterns = [(one, one.supported_entities) for one in registry.recognizers if isinstance(one, PatternRecognizer)]

    def same_kinds(text: str) -> Found:
        return {kind for one, entities, kind in kinds if one.analyze(text, entities=entities, nlp_artifacts=None)}

    def all_patterns(text: str) -> Found:
        return {found.entity_type for one, entities in patterns for found in one.analyze(text, entities=entities, nlp_artifacts=None) or ()}

    return Presidio(version("presidio-analyzer"), same_kinds, all_patterns, len(patterns))


def public_templates() -> list[str] | str:
    """The sentences of presidio-evaluator (MIT) with places for values; or why they are not there."""
    file = PEERS / "presidio_evaluator/data_generator/raw_data/templates.txt"
    if not file.is_file():
        return "presidio-evaluator is not there; scripts/setup-peers installs it"
    return [line.strip() for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
