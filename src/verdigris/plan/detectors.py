"""The names of the decoder's own detectors of sensitive data. A test asks the decoder whether it knows exactly these."""

DETECTORS = (
    "card", "card_code", "pin", "ssn", "iban", "nhs_number", "npi", "mrn", "email", "phone", "birth_date", "ip_address", "jwt", "bearer",
    "basic", "private_key", "cookie", "service_key", "url_password", "secret", "sql_literal", "url_query",
)  # fmt: skip
