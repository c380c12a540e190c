"""Seeded texts with labels: what is sensitive in places where telemetry has it, what only looks like it, and what is not sensitive.

Written without the decoder: checksums are computed here once more, so that a mistake there does not hide itself. Nothing here is
anybody's: numbers come from a random generator, names of hosts from the reserved domains.
"""

import base64
import hashlib
import json
import random
import re
import string
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

Make = Callable[[random.Random], str]


@dataclass(frozen=True, slots=True)
class Sample:
    """A text as the value of the attribute `key`, and what a detector should say of it.

    Attributes:
        detectors: those that should find something; `sql_literal` and `url_query` where there is a literal.
        secret: the value of which nothing may be left; empty where there is none.
    """

    text: str
    key: str = "app.value"
    detectors: frozenset[str] = frozenset()
    secret: str = ""
    where: str = ""


def digits(source: random.Random, count: int) -> str:
    """So many digits, the first may be zero."""
    return "".join(source.choices(string.digits, k=count))


def pick(source: random.Random, alphabet: str, count: int) -> str:
    """So many characters of an alphabet."""
    return "".join(source.choices(alphabet, k=count))


TOKEN = string.ascii_letters + string.digits
HEX = "0123456789abcdef"
_ALPHABETS = {"d": string.digits, "h": HEX, "t": TOKEN, "c": string.ascii_uppercase, "k": string.ascii_uppercase + "234567"}
_PLACE = re.compile(r"\{([dhtck]):(\d+)\}")


def luhn_digit(body: str) -> str:
    """The check digit that makes Luhn's sum (ISO/IEC 7812-1) a multiple of ten."""
    total = 0
    for place, digit in enumerate(reversed(body)):
        doubled = int(digit) * (2 if place % 2 == 0 else 1)
        total += doubled - 9 if doubled > 9 else doubled
    return str(-total % 10)


def card(source: random.Random) -> str:
    """A payment card number of a common brand, at times in groups."""
    prefix, length = source.choice([
        ("4", 16), ("4", 16), ("4", 19), ("4", 13), ("51", 16), ("55", 16), ("2221", 16), ("34", 15), ("37", 15),
        ("6011", 16), ("3528", 16),        ("36", 14), ("62", 19), ("6759", 18),
    ])  # fmt: skip
    body = prefix + digits(source, length - len(prefix) - 1)
    number = body + luhn_digit(body)
    separator = source.choice(["", "", " ", "-"])
    groups = (number[:4], number[4:10], number[10:]) if length in {14, 15} else tuple(number[at : at + 4] for at in range(0, length, 4))
    return separator.join(groups)


def iban(source: random.Random) -> str:
    """An IBAN of one of twelve countries, at times in groups of four."""
    country, form = source.choice([
        ("DE", "{d:18}"), ("AT", "{d:16}"), ("CH", "{d:5}{k:12}"), ("ES", "{d:20}"), ("PL", "{d:24}"), ("BE", "{d:12}"), ("DK", "{d:14}"),
        ("GB", "{c:4}{d:14}"), ("NL", "{c:4}{d:10}"), ("FR", "{d:10}{k:11}{d:2}"), ("IT", "{c:1}{d:10}{k:12}"), ("MT", "{c:4}{d:5}{k:18}"),
    ])  # fmt: skip
    account = filled(form)(source)
    number = int("".join(str(int(letter, 36)) for letter in account + country) + "00")
    whole = f"{country}{98 - number % 97:02}{account}"
    form = source.choice(["plain", "plain", "small", "grouped"])
    if form == "grouped":
        return " ".join(whole[at : at + 4] for at in range(0, len(whole), 4))
    return whole.lower() if form == "small" else whole


def nhs(source: random.Random) -> str:
    """Ten digits whose last is the check digit of modulus 11."""
    while True:
        body = digits(source, 9)
        check = (11 - sum(int(digit) * weight for digit, weight in zip(body, range(10, 1, -1), strict=True)) % 11) % 11
        if check < 10:
            return body + str(check)


def nhs_grouped(source: random.Random) -> str:
    """As it is printed: 3-3-4."""
    number = nhs(source)
    return source.choice([" ", "-"]).join((number[:3], number[3:6], number[6:]))


def npi(source: random.Random) -> str:
    """Ten digits, Luhn with 80840 before them."""
    body = source.choice("12") + digits(source, 8)
    return body + luhn_digit("80840" + body)


def ssn(source: random.Random) -> str:
    """Area, group and serial that can have been given out."""
    area = source.choice([n for n in range(1, 900) if n != 666])
    return f"{area:03}-{source.randint(1, 99):02}-{source.randint(1, 9999):04}"


def email(source: random.Random) -> str:
    """An address in a reserved domain."""
    local = source.choice(
        ["jane.doe", "m.mustermann", "o'hara", "li", "info+orders", "anna_k", "x" + digits(source, 4), "jürgen", "jane/doe"]
    )
    domain = source.choice(
        ["example.com", "mail.example.org", "clinic.example.co.uk", "EXAMPLE.net", "bücher.example.com", "a-b.example.com"]
    )
    return f"{local}@{domain}"


def jwt(source: random.Random) -> str:
    """A signed token with a header as libraries write it."""

    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value, separators=(",", ":")).encode()).rstrip(b"=").decode()

    header = {"alg": source.choice(["HS256", "RS256", "ES256"]), "typ": "JWT"}
    if source.random() < 0.2:  # an encrypted one has five parts
        parts = [base64.urlsafe_b64encode(source.randbytes(size)).rstrip(b"=").decode() for size in (256, 12, 40, 16)]
        return ".".join((part({"alg": "RSA-OAEP", "enc": "A256GCM"}), *parts))
    payload = {"sub": digits(source, 10), "iat": source.randint(1_600_000_000, 1_900_000_000)}
    return f"{part(header)}.{part(payload)}.{base64.urlsafe_b64encode(source.randbytes(32)).rstrip(b'=').decode()}"


def service_key(source: random.Random) -> str:
    """A key of one of the services, in the form that it documents."""
    forms = (
        "AKIA{k:16}", "ghp_{t:36}", "glpat-{t:20}", "xoxb-{d:12}-{d:12}-{t:24}", "sk_live_{t:24}", "AIza{t:35}", "SG.{t:22}.{t:43}",
        "npm_{t:36}", "dop_v1_{h:64}", "hvs.{t:24}", "github_pat_{t:22}_{t:59}", "sk-ant-api03-{t:48}", "whsec_{t:32}",
        "xapp-1-{c:11}-{d:13}-{h:64}",        "pypi-AgEIcHlwaS5vcmc{t:60}", "ASIA{k:16}", "sk-proj-{t:48}", "GOCSPX-{t:28}",
        "{d:9}:AA{t:33}", "hooks.slack.com/services/T{c:8}/B{c:8}/{t:24}",
    )  # fmt: skip
    return filled(source.choice(forms))(source)


def opaque(source: random.Random) -> str:
    """What a server gives out as a token."""
    return pick(source, TOKEN + "-_", source.choice([24, 32, 43]))


def basic(source: random.Random) -> str:
    """User and password in base64."""
    return base64.b64encode(f"{source.choice(['alice', 'svc', 'root'])}:{pick(source, TOKEN, 12)}".encode()).decode()


def pem(source: random.Random) -> str:
    """A private key in PEM, its inside random."""
    if source.random() < 0.1:
        return f"PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nPrivate-Lines: 1\n{base64.b64encode(source.randbytes(36)).decode()}"
    label = source.choice(["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "OPENSSH PRIVATE KEY", "ENCRYPTED PRIVATE KEY"])
    inside = base64.b64encode(source.randbytes(96)).decode()
    line_feed = source.choice(["\n", "\r\n", "\\n"])  # the last as a configuration in one line has it
    return line_feed.join((f"-----BEGIN {label}-----", inside[:64], inside[64:], f"-----END {label}-----"))


def password(source: random.Random) -> str:
    """As people choose them."""
    return source.choice(["hunter2", "Winter2026!", "correcthorse", "s3cr3t", "correct horse battery ", "p&ss;w,rd", "pa$$"]) + pick(
        source, TOKEN, 3
    )


def phone(source: random.Random) -> str:
    """A number of the ranges reserved for fiction."""
    last = digits(source, 2)
    return source.choice([
        f"+1 (212) 555-01{last}", f"+44 20 7946 00{last}", f"212-555-01{last}", f"+12125550{digits(source, 3)}",
        f"02079460{digits(source, 3)}",
        f"+49 (0)30 23125{digits(source, 3)}", f"212.555.01{last} ext. 4",
    ])  # fmt: skip


def birth_date(source: random.Random) -> str:
    """A date in one of seven spellings."""
    day = datetime(1930, 1, 1, tzinfo=UTC) + timedelta(days=source.randrange(30_000))
    return day.strftime(source.choice(["%Y-%m-%d", "%d/%m/%Y", "%d.%m.%Y", "%Y%m%d", "%d %b %Y", "%b %d, %Y", "%Y-%m-%dT00:00:00Z"]))


def ip_address(source: random.Random) -> str:
    """An address of a documentation range."""
    last = source.randrange(1, 256)
    return source.choice([f"203.0.113.{last}", f"198.51.100.{last}", f"2001:db8::{last:x}"])


# Places of a value that gives itself away. Each makes a text; the second is what else is in it.
NOWHERE: frozenset[str] = frozenset()
QUERY, LITERAL = frozenset({"url_query"}), frozenset({"sql_literal"})


def json_text(value: str) -> str:
    """As a string inside a JSON document."""
    return json.dumps(value, ensure_ascii=False)


FULL_WIDTH = str.maketrans(string.digits, "".join(chr(0xFF10 + digit) for digit in range(10)))

PLACES: Mapping[str, tuple[Callable[[str], str], frozenset[str]]] = {
    "alone": (lambda value: value, NOWHERE),
    "message": (lambda value: f"request for {value} was declined, retry 2 of 3", NOWHERE),
    "json": (lambda value: f'{{"event":"charged","amount":12.5,"detail":{{"value":{json_text(value)}}}}}', NOWHERE),
    "header": (lambda value: f"x-forwarded-note: {value}", NOWHERE),
    "path": (lambda value: f"/api/v2/lookup/{quote(value, safe='')}/details", NOWHERE),
    "query": (lambda value: f"https://shop.example.com/find?q={quote(value, safe='')}&page=2", QUERY),
    "sql": (lambda value: "SELECT id FROM orders WHERE note = '" + value.replace("'", "''") + "' LIMIT 10", LITERAL),
    "error": (lambda value: f"ValueError: could not parse '{value}' (code=22P02)", NOWHERE),
    "trace": (lambda value: f'Traceback (most recent call last):\n  File "pay.py", line 3, in pay\nKeyError: {value}\n', NOWHERE),
    "escaped json": (lambda value: json.dumps(json_text(value)), NOWHERE),
    "csv": (lambda value: f"7,{value},EUR,2026-01-31", NOWHERE),
    "xml": (lambda value: f"<note>{value}</note>", NOWHERE),
    "percent twice": (lambda value: f"note%3D{quote(quote(value, safe=''), safe='')}", NOWHERE),
    "base64": (lambda value: base64.b64encode(f"note: {value} given".encode()).decode(), NOWHERE),
    "full width": (lambda value: value.translate(FULL_WIDTH), NOWHERE),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rule:
    """Of one detector: how a value is made, where it gives itself away, under which keys, and what only looks like it.

    Attributes:
        make: a value.
        places: of `PLACES`, where the value alone is enough.
        keys: keys under which it is found; empty where no key is needed.
        near: makes texts with their key in which the detector should find nothing.
        wrap: what stands around the value always, such as the name of a scheme.
    """

    make: Make
    near: Callable[[random.Random], tuple[str, str]]
    places: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    wrap: str = "{}"


EVERYWHERE = tuple(PLACES)
NO_URL = tuple(place for place in PLACES if place not in {"path", "query"})
QUOTED = ("alone", "message", "json", "error", "trace", "escaped json", "xml")


def filled(template: str) -> Make:
    """Text with random characters in its places: `{d:4}` is four digits; h hexadecimal ones, t letters and digits, c capitals, k base32."""

    def make(source: random.Random) -> str:
        return _PLACE.sub(lambda place: pick(source, _ALPHABETS[place[1]], int(place[2])), template)

    return make


def plain(*makes: Make | str) -> Callable[[random.Random], tuple[str, str]]:
    """Near misses, made or filled in, that stand in a random place under a key that says nothing."""
    ready = [filled(make) if isinstance(make, str) else make for make in makes]

    def near(source: random.Random) -> tuple[str, str]:
        value = source.choice(ready)(source)
        return "app.value", PLACES[source.choice(["alone", "message", "json", "header", "error"])][0](value)

    return near


def keyed(*pairs: tuple[str, str]) -> Callable[[random.Random], tuple[str, str]]:
    """Near misses that are a key and its value."""

    def near(source: random.Random) -> tuple[str, str]:
        key, value = source.choice(pairs)
        form = source.choice(["{value}", "the {key}={value} now", '{{"{key}":"{value}"}}'])
        return (key if form == "{value}" else "app.value"), form.format(key=key, value=value)

    return near


def wrong_card(source: random.Random) -> str:
    """The brand and the length of a card, and a check digit that is wrong."""
    body = source.choice(["4", "51", "6011"])
    body += digits(source, 15 - len(body))
    number = body + str((int(luhn_digit(body)) + source.randint(1, 9)) % 10)
    return source.choice([number, " ".join(number[at : at + 4] for at in range(0, 16, 4))])


def no_brand(source: random.Random) -> str:
    """A right check digit, and a prefix that no card has."""
    body = source.choice("01789") + digits(source, 14)
    return body + luhn_digit(body)


def epoch(source: random.Random) -> str:
    """A time since 1970 in milliseconds, microseconds or nanoseconds."""
    return f"{source.randint(1_400_000_000, 2_000_000_000)}{digits(source, source.choice([3, 6, 9]))}"


def wrong_iban(source: random.Random) -> str:
    """Check digits that are wrong."""
    whole = iban(source).replace(" ", "")
    return f"{whole[:2]}{(int(whole[2:4]) + source.randint(1, 80)) % 90:02}{whole[4:]}"


def wrong_nhs(source: random.Random) -> str:
    """Ten digits in groups with a check digit that is wrong."""
    number = nhs(source)
    return f"{number[:3]} {number[3:6]} {number[6:9]}{(int(number[9]) + source.randint(1, 9)) % 10}"


def us_phone(source: random.Random) -> str:
    """A phone number in groups of 3-3-4: one in eleven has the checksum of an NHS number."""
    return f"{source.randint(201, 989)}-{source.randint(200, 999)}-{digits(source, 4)}"


def card_code(source: random.Random) -> str:
    """Three digits, or four."""
    return digits(source, source.choice([3, 3, 4]))


def user_and_password(source: random.Random) -> str:
    """As they stand before the host of a URL."""
    return f"app:{password(source)}"


def name(source: random.Random) -> str:
    """What no detector knows."""
    return "jane" + pick(source, string.ascii_lowercase, 5)


PAGE = base64.urlsafe_b64encode(b'{"page":1,"limit":20}').decode().rstrip("=")
"""Base64 of JSON that is no header of a token."""

RULES: Mapping[str, Rule] = {
    "card": Rule(card, plain(wrong_card, no_brand, epoch, "0.{d:16}", "{h:8}-{h:4}-4{h:3}-{h:4}-{h:12}"), EVERYWHERE),
    "card_code": Rule(
        card_code,
        keyed(("cvv.present", "true"), ("cvv", "12345"), ("cvc.length", "3"), ("opencvx", "123")),
        keys=("card.cvv", "cvc", "cardCvv2", "security_code", "CVV", "payment_card_cvc"),
    ),
    "pin": Rule(
        filled("{d:4}"),
        keyed(("spinner", "1234"), ("pinned", "2024"), ("pin.length", "4"), ("pin_policy", "1234"), ("opinion", "1000")),
        keys=("user.pin", "card_pin", "pin", "pinCode", "PIN"),
    ),
    "ssn": Rule(
        ssn,
        plain("000-12-{d:4}", "9{d:2}-45-{d:4}", "{d:3}-00-{d:4}", us_phone, "2026-04-{d:2}", "{d:3}-{d:2}-{d:5}", "12-{d:3}-{d:2}-{d:4}"),
        EVERYWHERE,
    ),
    "iban": Rule(iban, plain(wrong_iban, "DE{d:2}-{d:5}", "GB{d:9}"), EVERYWHERE),
    "nhs_number": Rule(nhs_grouped, plain(wrong_nhs, us_phone, nhs), NO_URL),
    "npi": Rule(
        npi, keyed(("provider.npi", "1234567890"), ("npi.count", "12"), ("company.id", "1234567893")), keys=("provider.npi", "npi")
    ),
    "mrn": Rule(
        filled("{d:8}"),
        keyed(("mrn.format", "digits"), ("mrna.dose", "12345"), ("patients.total", "120045"), ("app.note", "no MRN given")),
        keys=("patient.mrn", "mrn", "patient_id", "medical_record_number", "MRN", "patientId"),
    ),
    "email": Rule(
        email,
        plain("pkg@{d:1}.{d:2}.{d:1}", "@scope/name", "root@localhost", "app@sha256:{h:64}", "user@ host", "@example.com", "git@v2"),
        EVERYWHERE,
    ),
    "phone": Rule(
        phone,
        keyed(
            ("phone.model", "iPhone 15"),
            ("phone.count", "2"),
            ("telemetry.id", "2125550100"),
            ("hotel.id", "2125550100"),
            ("mobile", "true"),
        ),
        keys=("contact.phone", "phone_number", "tel", "mobile", "customerPhone", "mobile_no"),
    ),
    "birth_date": Rule(
        birth_date,
        keyed(("created_at", "1980-02-29"), ("dob.valid", "true"), ("expiry.date", "2029-02-01"), ("birthplace", "1010 Vienna")),
        keys=("patient.dob", "birth_date", "dateOfBirth", "DOB", "birthday"),
    ),
    "jwt": Rule(
        jwt,
        plain("{t:20}.{t:20}.{t:20}", "com.example.orders.OrderServiceImplementation", "eyJ{t:12}", f"{PAGE}.next"),
        EVERYWHERE,
    ),
    "bearer": Rule(
        opaque,
        plain("Bearer token is missing", "the bearer of this letter", "Bearer realm=api", "token expired"),
        NO_URL,
        wrap="Bearer {}",
    ),
    "basic": Rule(basic, plain("Basic Authentication failed", "a basic subscription", "Basic aGVsbG8gd29ybGQ="), NO_URL, wrap="Basic {}"),
    "private_key": Rule(
        pem,
        plain(
            "-----BEGIN CERTIFICATE-----\n{t:64}\n-----END CERTIFICATE-----", "-----BEGIN PUBLIC KEY-----\n{t:64}\n-----END PUBLIC KEY-----"
        ),
        QUOTED,
    ),
    "cookie": Rule(
        filled("{h:32}"),
        keyed(("cookie.policy", "strict"), ("session.count", "31"), ("sessions.open", "12"), ("cookies.enabled", "true")),
        keys=("http.request.header.cookie", "JSESSIONID", "PHPSESSID", "session_id", "connect.sid"),
    ),
    "service_key": Rule(
        service_key,
        plain(
            "AKIA{c:8}", "ghp_short", "sk-learn-pipeline-version-2-of-the-model", "glpat-", "npm_package_config_registry", "key-value-store"
        ),
        EVERYWHERE,
    ),
    "url_password": Rule(
        user_and_password,
        plain("postgres://db:{d:4}/shop", "https://social.example.com/@someone", "redis://cache.example.com:6379/0"),
        QUOTED,
        wrap="postgres://{}@db.example.com:5432/shop",
    ),
    "secret": Rule(
        password,
        keyed(
            ("token.type", "access"),
            ("password_policy", "strong"),
            ("cache.key", "item_12345_details_page"),
            ("password", "***"),
            ("secret", "[redacted]"),
            ("messaging.message.key", "order-42"),
            ("gen_ai.usage.input_tokens", "123456"),
            ("password", "null"),
        ),
        keys=("db.password", "client_secret", "api_key", "userPassword", "passwd", "DB_PASS", "pwd", "aws_secret_access_key"),
    ),
    "ip_address": Rule(ip_address, plain("256.1.1.{d:1}", "{d:1}.{d:2}.{d:1}", "12:30:{d:2}", "a::b::c"), EVERYWHERE),
    "sql_literal": Rule(
        name,
        plain("select an item from the list", "update in progress, set aside", "insert coin", "where is the file from yesterday"),
        ("alone",),
        wrap="UPDATE patients SET name = '{}' WHERE id IN (SELECT id FROM recent)",
    ),
    "url_query": Rule(
        name,
        plain("what?yes", "a ? b : c", "really? no=1", "/users/{id}"),
        ("alone", "message"),
        wrap="https://shop.example.com/find?name={}",
    ),
}
"""What is planted, and what only looks like it."""

KEY_FORMS: Mapping[str, tuple[Callable[[str, str], tuple[str, str]], frozenset[str]]] = {
    "attribute": (lambda key, value: (key, value), NOWHERE),
    "pair": (lambda key, value: ("app.value", f"login failed for {key}={value}, retry 2"), NOWHERE),
    "json": (lambda key, value: ("app.value", json.dumps({"id": 7, key: value})), NOWHERE),
    "header": (lambda key, value: ("app.value", f"{key}: {value}"), NOWHERE),
    "escaped json": (lambda key, value: ("app.value", json.dumps(json.dumps({"id": 7, key: value}))), NOWHERE),
    "logfmt": (lambda key, value: ("app.value", f'level=info {key}="{value}" retry=2'), NOWHERE),
    "hash": (lambda key, value: ("app.value", f"{{id=>7, {key}=>'{value}'}}"), NOWHERE),
    "query": (lambda key, value: ("app.value", f"https://shop.example.com/find?{key}={quote(value, safe='')}"), QUERY),
}
"""Forms of a key with its value."""

HEADER_ONLY = frozenset({"attribute", "header", "json", "escaped json"})


def positives(detector: str, source: random.Random, count: int) -> Iterator[Sample]:
    """Texts in which `detector` should find something."""
    rule = RULES[detector]
    for number in range(count):
        value = rule.make(source)
        if rule.keys:
            key = rule.keys[number % len(rule.keys)]
            forms = [form for form in KEY_FORMS if "cookie" not in key or form in HEADER_ONLY]
            if detector == "phone":
                forms.remove("query")  # what is encoded there is the query's to take out
            where = source.choice(forms)
            make, also = KEY_FORMS[where]
            attribute, text = make(key, value)
            yield Sample(text, attribute, also | {detector}, value, where)
        else:
            where = rule.places[number % len(rule.places)]
            place, also = PLACES[where]
            yield Sample(place(rule.wrap.format(value)), "app.value", also | {detector}, value, where)


def near_misses(detector: str, source: random.Random, count: int) -> Iterator[Sample]:
    """Texts in which `detector` should find nothing, though they look like it."""
    for _ in range(count):
        key, text = RULES[detector].near(source)
        yield Sample(text, key)


# What is not sensitive.


def of_words(source: random.Random) -> str:
    """Base64 of five everyday words."""
    words = source.choices(["order", "accepted", "for", "shipping", "customer", "region", "north", "west"], k=5)
    return base64.b64encode(" ".join(words).encode()).decode()


def second(source: random.Random) -> int:
    """A moment between 2017 and 2033."""
    return source.randint(1_500_000_000, 2_000_000_000)


HARMLESS: Mapping[str, Make] = {
    "id of 8 to 12 digits": lambda s: digits(s, s.randint(8, 12)),
    "id of 16 digits": lambda s: digits(s, 16),
    "id of 18 digits (snowflake)": lambda s: str(s.randint(10**17, 2 * 10**18)),
    "order number": lambda s: f"ORD-{s.randint(2020, 2030)}-{digits(s, 8)}",
    "seconds since 1970": lambda s: str(second(s)),
    "milliseconds since 1970": lambda s: f"{second(s)}{digits(s, 3)}",
    "microseconds since 1970": lambda s: f"{second(s)}{digits(s, 6)}",
    "nanoseconds since 1970": lambda s: f"{second(s)}{digits(s, 9)}",
    "time as text": lambda s: datetime.fromtimestamp(second(s), tz=UTC).isoformat(),
    "UUID": lambda s: str(uuid.UUID(int=s.getrandbits(128), version=4)),
    "trace parent": lambda s: f"00-{pick(s, HEX, 32)}-{pick(s, HEX, 16)}-01",
    "hex of 16 digits": lambda s: pick(s, HEX, 16),
    "hex of 32 digits": lambda s: pick(s, HEX, 32),
    "SHA-1": lambda s: hashlib.sha1(s.randbytes(8)).hexdigest(),
    "SHA-256": lambda s: hashlib.sha256(s.randbytes(8)).hexdigest(),
    "ULID": lambda s: pick(s, "0123456789ABCDEFGHJKMNPQRSTVWXYZ", 26),
    "base64 of 24 bytes": lambda s: base64.b64encode(s.randbytes(24)).decode(),
    "base64 of 5 words": of_words,
    "price": lambda s: f"{s.randint(0, 100_000):,}.{digits(s, 2)} EUR",
    "version": lambda s: f"{s.randint(0, 30)}.{s.randint(0, 100)}.{s.randint(0, 1000)}-rc.{s.randint(0, 9)}+{pick(s, HEX, 7)}",
    "fraction": lambda s: repr(s.random()),
    "coordinates": lambda s: f"{s.uniform(-90, 90):.6f},{s.uniform(-180, 180):.6f}",
    "address and port": lambda s: f"10.{s.randrange(256)}.{s.randrange(256)}.{s.randrange(256)}:{s.randint(1024, 65535)}",
    "path with ids": lambda s: f"/api/v2/customers/{digits(s, 9)}/orders/{pick(s, HEX, 24)}",
    "message with numbers": lambda s: f"batch {digits(s, 6)} of {s.randint(1, 99)} done in {s.randint(1, 9999)} ms, offset {digits(s, 10)}",
}  # fmt: skip
"""Kinds of values that traces are full of."""

_AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
    "okhttp/4.12.0", "python-requests/2.32.3", "kube-probe/1.31",
)  # fmt: skip
_NAMES = ("orders", "carts", "patients", "payments", "stock")

TELEMETRY: tuple[Make, ...] = (
    lambda s: s.choice(["GET", "POST", "PUT", "DELETE"]),
    lambda s: s.choice(["http", "grpc", "postgresql", "redis", "kafka", "true", "false", "internal", "OK"]),
    lambda s: s.choice(["200", "201", "204", "304", "404", "500", "503"]),
    lambda s: f"/api/v2/{s.choice(_NAMES)}/{{id}}",
    lambda s: f"/api/v2/{s.choice(_NAMES)}/{digits(s, 7)}",
    lambda s: f"http://{s.choice(_NAMES)}.shop.svc.cluster.local:8080/api/v2/{s.choice(_NAMES)}/{digits(s, 5)}",
    lambda s: f"{s.choice(_NAMES)}-7d9f8b6c5d-{pick(s, TOKEN.lower(), 5)}",
    lambda s: s.choice(_AGENTS),
    lambda s: f"shop.v1.{s.choice(_NAMES).title()}Service/Get",
    lambda s: f"10.2.{s.randrange(256)}.{s.randrange(256)}",
    lambda s: str(s.randint(1024, 65535)),
    lambda s: str(uuid.UUID(int=s.getrandbits(128), version=4)),
    lambda s: f"SELECT id, state FROM {s.choice(_NAMES)} WHERE id = $1 AND state = $2 LIMIT $3",
    lambda s: f"deadline of {s.randint(50, 5000)} ms exceeded while calling {s.choice(_NAMES)}",
    lambda s: (
        f"java.lang.IllegalStateException: no {s.choice(_NAMES)} in state {s.choice(['OPEN', 'CLOSED'])}\n"
        f"\tat com.example.{s.choice(_NAMES)}.Handler.handle(Handler.java:{s.randint(10, 900)})"
    ),
    lambda s: f"topic-{s.choice(_NAMES)}-{s.randint(0, 64)}",
    lambda s: datetime.fromtimestamp(second(s), tz=UTC).isoformat(),
    lambda s: f"{s.randint(1, 5)}.{s.randint(0, 50)}.{s.randint(0, 20)}",
)
"""Values of attributes as services send them, none of them sensitive."""


def telemetry(source: random.Random, count: int, leaking_share: float) -> list[str]:
    """Values of attributes, a share of them with something sensitive that needs no key."""
    leaks = [name for name, rule in RULES.items() if rule.places and name != "ip_address"]
    texts = []
    for _ in range(count):
        if source.random() < leaking_share:
            [sample] = positives(source.choice(leaks), source, 1)
            texts.append(sample.text)
        else:
            texts.append(source.choice(TELEMETRY)(source))
    return texts
