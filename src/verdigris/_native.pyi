"""The OTLP decoder: one trace body in, one Arrow record batch out. Written in Rust under `native/`."""
# ruff: noqa: PYI021  these docstrings are the reference; the Rust side points here

from collections.abc import Iterable
from typing import Literal, final

from typing_extensions import Buffer, CapsuleType

__all__ = ["DecodeError", "Decoded", "Finding", "Limits", "Masking", "Treated", "decode"]

class DecodeError(ValueError):
    """The body cannot be decoded. Safe: nothing of it was kept.

    The message names what was found and what the sender should change.
    """

    kind: str
    """Stable: truncated, bad_varint, bad_wire_type, bad_utf8, bad_json, bad_enum, too_large, too_deep, bad_encoding or internal."""
    offset: int
    """Bytes from the start of the decompressed body."""

@final
class Limits:
    """Bounds on what one body may hold.

    Beyond `attributes`, `events` and `links` the rest of the list is dropped and counted; beyond `value_bytes` a text is cut
    between two characters and counted; beyond any other bound decoding fails with kind `too_large` or `too_deep`.

    Raises: ValueError: `depth` above 128, or `table_bytes` of 2**31 or more. OverflowError: a negative limit.
    """

    def __new__(
        cls,
        *,
        body_bytes: int = 67108864,
        decoded_bytes: int = 268435456,
        table_bytes: int = 1073741824,
        depth: int = 32,
        spans: int = 1_000_000,
        attributes: int = 256,
        events: int = 1024,
        links: int = 1024,
        value_bytes: int = 32_768,
    ) -> Limits: ...
    @property
    def body_bytes(self) -> int:
        """Bytes of the body as received. Default 64 MiB."""
    @property
    def decoded_bytes(self) -> int:
        """Bytes of the body after decompression; inflating stops here. Default 256 MiB."""
    @property
    def table_bytes(self) -> int:
        """Bytes of the table with every dictionary written out: a resource counts on each of its spans. Default 1 GiB."""
    @property
    def depth(self) -> int:
        """Lists inside lists in an attribute value, or values inside values in an unknown JSON member."""
    @property
    def spans(self) -> int:
        """Spans in a body, refused ones included."""
    @property
    def attributes(self) -> int:
        """Attributes of one span, event, link or resource."""
    @property
    def events(self) -> int:
        """Events of one span."""
    @property
    def links(self) -> int:
        """Links of one span."""
    @property
    def value_bytes(self) -> int:
        """Bytes of UTF-8 of one text: a name, a key, or an attribute value as rendered."""
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Masking:
    """What is looked for in every text of a body, and what is done with it. Immutable; made once and shared by all calls.

    The definition is JSON; what it does not say is as strict as can be: everything is masked but IP addresses.

    - `treatments`: by detector, mask, hash, drop or refuse; for ip_address also keep (the default) and truncate.
    - `hash_key`: base64 of 16 bytes or more, the key of HMAC-SHA-256 for what is hashed.
    - `allow`: entries with detector, key, service (`*` at the end stands for any rest) and reason.
    - `detectors`: your own, each with name, pattern (linear-time regular expression), keys, checksum (none, luhn, mod97, mod11)
      and treatment.
    - `identity`: more attributes that say which instance a span is from; they are changed for what is certain only.

    Detectors: card, card_code, pin, ssn, iban, nhs_number, npi, mrn, email, phone, birth_date, ip_address, jwt, bearer, basic,
    private_key, cookie, service_key, url_password, secret, sql_literal, url_query.

    Raises: ValueError: the definition cannot be used; the message says why. Safe: nothing was decoded with it.
    """

    def __new__(cls, definition: str = "{}") -> Masking: ...
    @staticmethod
    def off() -> Masking:
        """Nothing is looked for: for measurements, and for tests of what the decoder reads."""
    @property
    def is_off(self) -> bool:
        """Whether nothing is looked for."""
    def treat(self, texts: Iterable[str], *, key: str = "") -> list[Treated | None]:
        """What is left of texts that stand alone, each as the value of an attribute `key`; None for one in which nothing is found.

        Raises: TypeError: a text is no `str`. UnicodeEncodeError: a text has a lone surrogate.
        """

@final
class Treated:
    """A text in which something was found, after its treatment."""

    @property
    def text(self) -> str:
        """What is left."""
    @property
    def detectors(self) -> list[str]:
        """What found something, each once, in the order in which they did."""

@final
class Finding:
    """How often one detector found something in one position of one operation. Never holds the value."""

    @property
    def detector(self) -> str:
        """Its name; `failed` if a detector could not finish, whose value was dropped."""
    @property
    def position(self) -> str:
        """Where: resource, resource_key, scope, span_name, span_attribute, span_attribute_key, status_message, event_name,
        event_attribute, event_attribute_key, link_attribute, link_attribute_key or trace_state.
        """
    @property
    def service(self) -> str:
        """Service, masked, at most 512 bytes."""
    @property
    def operation(self) -> str:
        """Span name, masked, at most 512 bytes; empty in a resource or a scope."""
    @property
    def treatment(self) -> str:
        """mask, hash, truncate, drop or refuse; allow if an allow entry let it pass."""
    @property
    def count(self) -> int:
        """How often."""
    @property
    def sample(self) -> str:
        """What stood in its place the first time."""

@final
class Decoded:
    """One decoded body: the columns of `otel_traces`, in its order, one row per span kept, in the order sent.

    `pyarrow.record_batch(decoded)` takes the columns over without copying. Counts of cut and dropped things include those
    of refused spans.
    """

    @property
    def spans(self) -> int:
        """Rows."""
    @property
    def refused(self) -> dict[str, int]:
        """Spans refused, by reason; a partial success of OTLP. Only reasons that occurred.

        trace_id_zero, trace_id_length, trace_id_not_hex, span_id_zero, span_id_length, span_id_not_hex, parent_id_length,
        parent_id_not_hex, id_base64, time_out_of_range, sensitive_value.
        """
    @property
    def findings(self) -> list[Finding]:
        """What was sensitive and is not in the columns, in the order in which it was met first; at most 1,024."""
    @property
    def findings_uncounted(self) -> int:
        """Findings beyond those."""
    @property
    def ends_before_start(self) -> int:
        """Spans kept with a duration of zero because they end before they start."""
    @property
    def truncated_values(self) -> int:
        """Texts cut at `Limits.value_bytes`."""
    @property
    def dropped_attributes(self) -> int:
        """Attributes beyond `Limits.attributes`."""
    @property
    def dropped_events(self) -> int:
        """Events beyond `Limits.events`, or at a time after the year 2262."""
    @property
    def dropped_links(self) -> int:
        """Links beyond `Limits.links`, or to an id that is zero or of a wrong length."""
    def __arrow_c_schema__(self) -> CapsuleType: ...
    def __arrow_c_array__(self, requested_schema: CapsuleType | None = None) -> tuple[CapsuleType, CapsuleType]: ...

def decode(
    body: Buffer,
    *,
    format: Literal["protobuf", "json"],  # noqa: A002
    encoding: Literal["identity", "gzip", "zstd"] = "identity",
    limits: Limits | None = None,
    masking: Masking | None = None,
) -> Decoded:
    """Decode one OTLP trace body (`ExportTraceServiceRequest` or `TracesData`). Sensitive values do not reach a column.

    The interpreter lock is released meanwhile. `bytes` are read in place; any other buffer is copied first.

    Args:
        body: as received.
        format: by its Content-Type.
        encoding: by its Content-Encoding.
        limits: defaults if None.
        masking: the strict defaults if None.

    Raises:
        DecodeError: nothing was kept.
        ValueError: a format or encoding that does not exist.
        TypeError: `body` is no buffer.

    """
