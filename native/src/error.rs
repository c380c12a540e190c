//! The one error of this crate: the body as a whole cannot be decoded, so nothing of it was kept.
//!
//! A single span that is wrong (a zero trace id, say) is not an error: it is refused and counted, see [`crate::tally`].

use std::fmt;

/// Result of everything that reads a body.
pub type Result<T> = std::result::Result<T, DecodeError>;

/// What is wrong with a body; the name is stable and part of the Python API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The body ends inside a message, a string or a compressed frame.
    Truncated,
    /// A protobuf varint of more than ten bytes, or a field number that does not exist.
    BadVarint,
    /// A protobuf wire type that OTLP never uses: a group, or one of the two undefined ones.
    BadWireType,
    /// A string that is not UTF-8.
    BadUtf8,
    /// Text that is not JSON, or JSON that is not OTLP.
    BadJson,
    /// An enum name that OTLP does not know.
    BadEnum,
    /// A limit on size was reached.
    TooLarge,
    /// Values are nested deeper than the limit.
    TooDeep,
    /// The gzip or zstd stream is damaged or followed by something else.
    BadEncoding,
    /// A fault of this crate: columns that do not fit together.
    Internal,
}

impl ErrorKind {
    /// Stable name, as in `DecodeError.kind` in Python.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::BadVarint => "bad_varint",
            Self::BadWireType => "bad_wire_type",
            Self::BadUtf8 => "bad_utf8",
            Self::BadJson => "bad_json",
            Self::BadEnum => "bad_enum",
            Self::TooLarge => "too_large",
            Self::TooDeep => "too_deep",
            Self::BadEncoding => "bad_encoding",
            Self::Internal => "internal",
        }
    }

    /// What the sender should change.
    const fn advice(self) -> &'static str {
        match self {
            Self::Truncated => "send the whole body, with a matching Content-Length",
            Self::BadVarint | Self::BadWireType => {
                "send an ExportTraceServiceRequest, and a Content-Type that matches the body"
            }
            Self::BadUtf8 => "encode strings as UTF-8 and send binary values as bytes",
            Self::BadJson => "send the JSON encoding of OTLP, and a Content-Type that matches the body",
            Self::BadEnum => "send the number of the enum value, or its name in the OTLP definition",
            Self::TooLarge => "send smaller batches",
            Self::TooDeep => "flatten the attribute value",
            Self::BadEncoding => "send a Content-Encoding that matches the body",
            Self::Internal => "report this body as a bug of Verdigris",
        }
    }
}

/// Why a body was refused as a whole, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError(Box<Fault>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Fault {
    kind: ErrorKind,
    offset: usize,
    what: &'static str,
}

impl DecodeError {
    /// `offset` counts bytes in the decompressed body; `what` names the thing found there.
    #[cold]
    #[must_use]
    pub fn new(kind: ErrorKind, offset: usize, what: &'static str) -> Self {
        Self(Box::new(Fault { kind, offset, what }))
    }

    /// What is wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Where, in bytes of the decompressed body.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.0.offset
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { kind, offset, what } = &*self.0;
        write!(f, "{}: {what} at byte {offset}; {}", kind.name(), kind.advice())
    }
}

impl std::error::Error for DecodeError {}
