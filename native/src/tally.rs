//! What was left out of the table although the body as a whole was good.

/// Why one span was refused; OTLP calls this a partial success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A trace id of sixteen zero bytes.
    TraceIdZero,
    /// A trace id that is not sixteen bytes long, or absent.
    TraceIdLength,
    /// A trace id in JSON that is not hexadecimal.
    TraceIdNotHex,
    /// A span id of eight zero bytes.
    SpanIdZero,
    /// A span id that is not eight bytes long, or absent.
    SpanIdLength,
    /// A span id in JSON that is not hexadecimal.
    SpanIdNotHex,
    /// A parent span id that is neither absent nor eight bytes long.
    ParentIdLength,
    /// A parent span id in JSON that is not hexadecimal.
    ParentIdNotHex,
    /// An id in JSON that is base64, as generic protobuf JSON writes bytes; OTLP wants hexadecimal.
    IdBase64,
    /// A start or end that does not fit 63 bits of nanoseconds, which is after the year 2262.
    TimeOutOfRange,
    /// A sensitive value whose treatment is to refuse the span.
    Sensitive,
}

impl Refusal {
    /// Every reason, in the order of the declaration.
    pub const ALL: [Self; 11] = [
        Self::TraceIdZero,
        Self::TraceIdLength,
        Self::TraceIdNotHex,
        Self::SpanIdZero,
        Self::SpanIdLength,
        Self::SpanIdNotHex,
        Self::ParentIdLength,
        Self::ParentIdNotHex,
        Self::IdBase64,
        Self::TimeOutOfRange,
        Self::Sensitive,
    ];

    /// Stable name, as in `Decoded.refused` in Python.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TraceIdZero => "trace_id_zero",
            Self::TraceIdLength => "trace_id_length",
            Self::TraceIdNotHex => "trace_id_not_hex",
            Self::SpanIdZero => "span_id_zero",
            Self::SpanIdLength => "span_id_length",
            Self::SpanIdNotHex => "span_id_not_hex",
            Self::ParentIdLength => "parent_id_length",
            Self::ParentIdNotHex => "parent_id_not_hex",
            Self::IdBase64 => "id_base64",
            Self::TimeOutOfRange => "time_out_of_range",
            Self::Sensitive => "sensitive_value",
        }
    }
}

/// Counts over one body. Counts of cut and dropped things include those of refused spans.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    refused: [u64; Refusal::ALL.len()],
    /// Spans kept with a duration of zero because they end before they start.
    pub ends_before_start: u64,
    /// Texts cut at `Limits::value_bytes`.
    pub truncated_values: u64,
    /// Attributes beyond `Limits::attributes`.
    pub dropped_attributes: u64,
    /// Events beyond `Limits::events`, or at a time that does not fit.
    pub dropped_events: u64,
    /// Links beyond `Limits::links`, or to an id that is zero or of a wrong length.
    pub dropped_links: u64,
}

impl Tally {
    /// One span was refused.
    pub fn refuse(&mut self, why: Refusal) {
        self.refused[why as usize] += 1;
    }

    /// Reasons that occurred, each with its count of spans.
    pub fn refused(&self) -> impl Iterator<Item = (Refusal, u64)> + '_ {
        Refusal::ALL.into_iter().zip(self.refused).filter(|&(_, count)| count > 0)
    }

    /// Spans refused for any reason.
    #[must_use]
    pub fn refused_spans(&self) -> u64 {
        self.refused.iter().sum()
    }
}
