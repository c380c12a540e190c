"""Which rule speaks of what a detector finds. Titles are in our own words.

Sources: PCI DSS v4.0.1 (June 2024), requirements 3.3 and 3.4; 45 CFR 164.502(b), the minimum necessary, with the identifiers that
164.514(b)(2)(i) lists; Regulation (EU) 2016/679, articles 5(1)(c) and 32. That a rule speaks of a value does not say that it was
broken: who may see the telemetry, and why it is kept, is not in the telemetry.
"""

from collections.abc import Mapping
from types import MappingProxyType

TITLES: Mapping[str, str] = MappingProxyType({
    "PCI-DSS-4.0.1:3.3.1.2": "No card verification code is kept after authorisation",
    "PCI-DSS-4.0.1:3.3.1.3": "No PIN is kept after authorisation",
    "PCI-DSS-4.0.1:3.4.1": "Card numbers are masked when shown",
    "HIPAA-45CFR:164.502(b)": "No more health information is used or disclosed than is needed",
    "GDPR-2016-679:5(1)(c)": "No more personal data than is needed",
    "GDPR-2016-679:32": "Personal data are kept secure",
})  # fmt: skip
"""Rules, by the framework's version and its own identifier."""

_HEALTH, _LESS, _SECURE = "HIPAA-45CFR:164.502(b)", "GDPR-2016-679:5(1)(c)", "GDPR-2016-679:32"

STANDARDS: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "card": ("PCI-DSS-4.0.1:3.4.1", _LESS, _SECURE),
    "card_code": ("PCI-DSS-4.0.1:3.3.1.2", _LESS, _SECURE),
    "pin": ("PCI-DSS-4.0.1:3.3.1.3", _LESS, _SECURE),
    "ssn": (_HEALTH, _LESS, _SECURE),
    "iban": (_HEALTH, _LESS, _SECURE),
    "nhs_number": (_HEALTH, _LESS, _SECURE),
    "npi": (_LESS,),
    "mrn": (_HEALTH, _LESS, _SECURE),
    "email": (_HEALTH, _LESS, _SECURE),
    "phone": (_HEALTH, _LESS, _SECURE),
    "birth_date": (_HEALTH, _LESS, _SECURE),
    "ip_address": (_HEALTH, _LESS, _SECURE),
    "jwt": (_SECURE,),
    "bearer": (_SECURE,),
    "basic": (_SECURE,),
    "private_key": (_SECURE,),
    "cookie": (_LESS, _SECURE),
    "service_key": (_SECURE,),
    "url_password": (_SECURE,),
    "secret": (_SECURE,),
    "sql_literal": (_HEALTH, _LESS),
    "url_query": (_HEALTH, _LESS),
    "failed": (),
})  # fmt: skip
"""Rules by detector. A detector of the operator's own has none: what it finds is for the operator to say."""

MEANINGS: Mapping[str, str] = MappingProxyType({
    "card": "Payment card number",
    "card_code": "Card verification code",
    "pin": "PIN",
    "ssn": "US social security number",
    "iban": "Bank account number (IBAN)",
    "nhs_number": "UK NHS number",
    "npi": "US national provider identifier",
    "mrn": "Medical record number",
    "email": "E-mail address",
    "phone": "Phone number",
    "birth_date": "Date of birth",
    "ip_address": "IP address",
    "jwt": "JSON web token",
    "bearer": "Bearer credentials",
    "basic": "Basic credentials",
    "private_key": "Private key",
    "cookie": "Cookie of a session",
    "service_key": "Key or token of a service",
    "url_password": "Credentials in a URL or a connection string",
    "secret": "Password, secret or token under a key that says so",
    "sql_literal": "Literal of a statement",
    "url_query": "Value in the query of a URL",
    "failed": "A detector could not finish; the value was dropped",
})  # fmt: skip
"""What each detector finds."""


def standards_of(detector: str) -> tuple[str, ...]:
    """The rules that speak of what `detector` finds; none for one that is not ours."""
    return STANDARDS.get(detector, ())


def meaning_of(detector: str) -> str:
    """What `detector` finds, in a few words."""
    return MEANINGS.get(detector, "A detector of your own")
