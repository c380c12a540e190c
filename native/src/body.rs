//! The body as received: bounded, then decompressed without ever holding more than the limit.

use std::borrow::Cow;
use std::io::{self, Read};

use crate::error::{DecodeError, ErrorKind, Result};
use crate::limits::Limits;

/// Largest zstd window accepted, as a power of two: 8 MiB, which RFC 8878 asks every decoder to support and every encoder to
/// stay within. A frame can ask for more memory than its content; this bounds it.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// The `Content-Encoding` of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As is.
    Identity,
    /// RFC 1952, one or more members.
    Gzip,
    /// RFC 8878, one or more frames.
    Zstd,
}

/// The decompressed body; borrowed when there was nothing to decompress.
///
/// Fails with `too_large`, `truncated` or `bad_encoding` (a damaged stream, or bytes after it that are no further member).
pub fn inflate<'a>(body: &'a [u8], encoding: Encoding, limits: &Limits) -> Result<Cow<'a, [u8]>> {
    if body.len() > limits.body_bytes {
        return Err(DecodeError::new(ErrorKind::TooLarge, limits.body_bytes, "the body is longer than allowed"));
    }
    let inflated = match encoding {
        Encoding::Identity => return within(Cow::Borrowed(body), limits),
        Encoding::Gzip => read(flate2::bufread::MultiGzDecoder::new(body), body, limits)?,
        Encoding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(body).map_err(|error| broken(&error, 0))?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(|error| broken(&error, 0))?;
            read(decoder, body, limits)?
        }
    };
    within(Cow::Owned(inflated), limits)
}

/// Reads to the end or to one byte beyond the limit, whichever comes first.
fn read(decoder: impl Read, body: &[u8], limits: &Limits) -> Result<Vec<u8>> {
    if body.is_empty() {
        return Err(DecodeError::new(ErrorKind::Truncated, 0, "the compressed body is empty"));
    }
    // Traces compress about tenfold; a wrong guess costs address space or a few moves, not memory.
    let mut inflated = Vec::with_capacity(body.len().saturating_mul(8).min(limits.decoded_bytes));
    decoder
        .take(limits.decoded_bytes as u64 + 1)
        .read_to_end(&mut inflated)
        .map_err(|error| broken(&error, inflated.len()))?;
    Ok(inflated)
}

fn within<'a>(body: Cow<'a, [u8]>, limits: &Limits) -> Result<Cow<'a, [u8]>> {
    if body.len() > limits.decoded_bytes {
        let what = "the decompressed body is longer than allowed";
        return Err(DecodeError::new(ErrorKind::TooLarge, limits.decoded_bytes, what));
    }
    Ok(body)
}

fn broken(error: &io::Error, offset: usize) -> DecodeError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            DecodeError::new(ErrorKind::Truncated, offset, "the compressed stream ends early")
        }
        _ => DecodeError::new(ErrorKind::BadEncoding, offset, "the compressed stream is damaged"),
    }
}
