//! Protobuf on the wire: tags, varints and lengths over a borrowed body. Knows nothing of OTLP.
//!
//! The readers of tags, lengths and short numbers are inlined everywhere: a call each would cost more than the work.
//!
//! Source: <https://protobuf.dev/programming-guides/encoding/>.

#![expect(clippy::inline_always, reason = "measured: a fifth of the time of a protobuf body")]

use crate::error::{DecodeError, ErrorKind, Result};

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const BYTES: u32 = 2;
const FIXED32: u32 = 5;

/// Tag of a varint field with this number.
#[must_use]
pub const fn varint(number: u32) -> u32 {
    number << 3 | VARINT
}

/// Tag of an eight-byte field with this number.
#[must_use]
pub const fn fixed64(number: u32) -> u32 {
    number << 3 | FIXED64
}

/// Tag of a length-delimited field (string, bytes, message) with this number.
#[must_use]
pub const fn bytes(number: u32) -> u32 {
    number << 3 | BYTES
}

/// Reads one message: a window on the body, so that every offset is one in the whole body.
///
/// A field whose wire type is not the expected one has another tag, and is skipped like an unknown one, as protobuf asks.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    /// The body up to the end of this message.
    body: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    /// Reads `body` as one message.
    #[must_use]
    pub fn new(body: &'a [u8]) -> Self {
        Self { body, position: 0 }
    }

    /// Bytes from the start of the body to the next unread one.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.position
    }

    /// The bytes of this message that are still unread.
    #[inline(always)]
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        &self.body[self.position..]
    }

    /// Tag of the next field, or `None` at the end of the message.
    #[inline(always)]
    pub fn tag(&mut self) -> Result<Option<u32>> {
        match self.body.get(self.position) {
            None => Ok(None),
            // Field numbers 1 to 15 take one byte, and OTLP has few others.
            Some(&byte) if (8..0x80).contains(&byte) => {
                self.position += 1;
                Ok(Some(u32::from(byte)))
            }
            Some(_) => self.long_tag().map(Some),
        }
    }

    fn long_tag(&mut self) -> Result<u32> {
        let at = self.position;
        match u32::try_from(self.varint()?) {
            Ok(tag) if tag >> 3 > 0 => Ok(tag),
            _ => Err(DecodeError::new(ErrorKind::BadVarint, at, "a field number out of range")),
        }
    }

    /// The value of a varint field.
    #[inline(always)]
    pub fn varint(&mut self) -> Result<u64> {
        match *self.rest() {
            [byte, ..] if byte < 0x80 => {
                self.position += 1;
                Ok(u64::from(byte))
            }
            [low, high, ..] if high < 0x80 => {
                self.position += 2;
                Ok(u64::from(low & 0x7f) | u64::from(high) << 7)
            }
            _ => self.long_varint(),
        }
    }

    #[inline(never)]
    fn long_varint(&mut self) -> Result<u64> {
        let at = self.position;
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            let Some(&byte) = self.body.get(self.position) else {
                return Err(self.ends("the message ends inside a number"));
            };
            self.position += 1;
            // The tenth byte carries the one bit that is left; protobuf drops what is above it.
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(DecodeError::new(ErrorKind::BadVarint, at, "a number of more than ten bytes"))
    }

    /// The value of an eight-byte field.
    #[inline(always)]
    pub fn fixed64(&mut self) -> Result<u64> {
        let Some(&value) = self.rest().first_chunk() else { return Err(self.ends("the message ends inside a number")) };
        self.position += 8;
        Ok(u64::from_le_bytes(value))
    }

    /// The value of a length-delimited field, as a message to read or as [`Reader::rest`] to take whole.
    #[inline(always)]
    pub fn bytes(&mut self) -> Result<Self> {
        let length = self.varint()?;
        if length > (self.body.len() - self.position) as u64 {
            return Err(self.ends("a field is longer than its message"));
        }
        let start = self.position;
        // Fits: no longer than the body.
        #[expect(clippy::cast_possible_truncation)]
        let end = start + length as usize;
        self.position = end;
        Ok(Self { body: &self.body[..end], position: start })
    }

    /// Passes over the value of a field that is not wanted.
    pub fn skip(&mut self, tag: u32) -> Result<()> {
        match tag & 7 {
            VARINT => self.varint().map(drop),
            FIXED64 => self.fixed64().map(drop),
            BYTES => self.bytes().map(drop),
            FIXED32 if self.rest().len() < 4 => Err(self.ends("the message ends inside a number")),
            FIXED32 => {
                self.position += 4;
                Ok(())
            }
            _ => {
                let what = "a group or an undefined wire type, which OTLP has none of, before this";
                Err(DecodeError::new(ErrorKind::BadWireType, self.position, what))
            }
        }
    }

    #[cold]
    fn ends(&self, what: &'static str) -> DecodeError {
        DecodeError::new(ErrorKind::Truncated, self.position, what)
    }
}

/// `bytes` as a string; protobuf strings are UTF-8. `offset` is where they start in the body.
#[inline]
#[expect(unsafe_code, reason = "the standard library has no safe way to take ASCII for a string in one pass")]
pub fn utf8(bytes: &[u8], offset: usize) -> Result<&str> {
    if is_ascii(bytes) {
        // SAFETY: ASCII is UTF-8.
        return Ok(unsafe { std::str::from_utf8_unchecked(bytes) });
    }
    simdutf8::basic::from_utf8(bytes).map_err(|_| not_utf8(bytes, offset))
}

/// The error of [`utf8`], with the offset of the first bad byte.
#[cold]
#[must_use]
pub fn not_utf8(bytes: &[u8], offset: usize) -> DecodeError {
    let good = simdutf8::compat::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len);
    DecodeError::new(ErrorKind::BadUtf8, offset + good, "a string that is not UTF-8")
}

/// Whether all bytes are ASCII. Most strings are, and are short: eight bytes at a time, the last eight overlapping.
#[inline]
fn is_ascii(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<8>();
    let last = bytes
        .last_chunk::<8>()
        .map_or_else(|| rest.iter().fold(0, |bits, &byte| bits | u64::from(byte)), |word| u64::from_le_bytes(*word));
    let bits = words.iter().fold(last, |bits, word| bits | u64::from_le_bytes(*word));
    bits & 0x8080_8080_8080_8080 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_of_every_length() {
        for bits in 0..64 {
            for value in [1_u64 << bits, (1 << bits) - 1, u64::MAX >> bits] {
                let mut body = Vec::new();
                let mut rest = value;
                while rest >= 0x80 {
                    body.push(rest.to_le_bytes()[0] | 0x80);
                    rest >>= 7;
                }
                body.push(rest.to_le_bytes()[0]);
                assert_eq!(Reader::new(&body).varint(), Ok(value));
                for end in 0..body.len() {
                    let error = Reader::new(&body[..end]).varint().expect_err("cut");
                    assert_eq!((error.kind(), error.offset()), (ErrorKind::Truncated, end));
                }
            }
        }
    }

    #[test]
    fn a_field_cannot_leave_its_message() {
        // Field 1 holds two bytes, which say that field 1 in them holds five; the body would have them.
        let body = [0x0a, 2, 0x0a, 5, 1, 2, 3, 4, 5];
        let mut outer = Reader::new(&body);
        assert_eq!(outer.tag(), Ok(Some(bytes(1))));
        let mut inner = outer.bytes().expect("whole");
        assert_eq!(inner.tag(), Ok(Some(bytes(1))));
        let error = inner.bytes().err().expect("too long");
        assert_eq!((error.kind(), error.offset()), (ErrorKind::Truncated, 4));
    }

    #[test]
    fn ascii_is_told_from_the_rest_at_every_place() {
        for length in 0..40 {
            assert!(is_ascii(&vec![0x7f; length]));
            for at in 0..length {
                let mut bytes = vec![b'a'; length];
                bytes[at] = 0x80;
                assert!(!is_ascii(&bytes), "{at} of {length}");
                let error = utf8(&bytes, 100).expect_err("not UTF-8");
                assert_eq!((error.kind(), error.offset()), (ErrorKind::BadUtf8, 100 + at));
            }
        }
    }
}
