//! OTLP trace bodies, as exporters send them, to the Arrow columns of the span table.
//!
//! ```text
//! body ── body.rs ──► bytes ─┬─ wire.rs ─ otlp_proto.rs ─┬─► table.rs ── batch.rs ──► Arrow RecordBatch
//!         (inflate)          └─ json.rs ─ otlp_json.rs ──┘   (columns)
//!                                                        └─► sensitive/: every text is masked before it enters a column
//! ```
//!
//! Bodies come from anyone who can reach the receiver. Whatever they hold, decoding ends in a batch or in a
//! [`DecodeError`]; its time and memory are bounded by [`Limits`]. This crate knows nothing of windows, roles or storage.

pub mod attributes;
pub mod base64;
pub mod batch;
pub mod body;
pub mod dictionary;
pub mod error;
pub mod ids;
pub mod json;
pub mod limits;
pub mod number;
pub mod otlp_json;
pub mod otlp_proto;
#[cfg(feature = "extension-module")]
mod python;
pub mod resource;
pub mod sensitive;
pub mod table;
pub mod tally;
pub mod text;
pub mod value;
pub mod wire;

use std::sync::Arc;

use arrow_array::RecordBatch;

pub use body::Encoding;
pub use error::{DecodeError, ErrorKind, Result};
pub use limits::Limits;
pub use sensitive::{Findings, Masking};
pub use tally::Tally;

/// How a body spells OTLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `application/x-protobuf`.
    Protobuf,
    /// `application/json`.
    Json,
}

/// What a body held.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// One row per span kept, in the order sent.
    pub batch: RecordBatch,
    /// What was left out.
    pub tally: Tally,
    /// What was sensitive in it, and is not in the batch.
    pub findings: Findings,
}

/// Decodes one body with the strict defaults of masking. Either all of it is in the result, less what the tally counts and
/// what the findings count, or none of it.
pub fn decode(body: &[u8], format: Format, encoding: Encoding, limits: &Limits) -> Result<Decoded> {
    decode_masked(body, format, encoding, limits, Masking::strict())
}

/// As [`decode`], with the operator's definition of masking.
pub fn decode_masked(
    body: &[u8],
    format: Format,
    encoding: Encoding,
    limits: &Limits,
    masking: Arc<Masking>,
) -> Result<Decoded> {
    let body = body::inflate(body, encoding, limits)?;
    let mut table = table::Table::new(*limits, masking);
    match format {
        Format::Protobuf => otlp_proto::read(&body, &mut table)?,
        Format::Json => otlp_json::read(&body, &mut table)?,
    }
    // The body is not needed any more, and the largest thing in memory if it was compressed.
    drop(body);
    let tally = table.shared.tally.clone();
    // Every offset and index was made together with what it points to, so the columns fit; if not, the host lives on.
    let (batch, findings) = batch::record_batch(table)
        .map_err(|_| DecodeError::new(ErrorKind::Internal, 0, "columns that do not fit together"))?;
    Ok(Decoded { batch, tally, findings })
}
