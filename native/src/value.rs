//! Attribute values as text, the form in which the span table holds them.
//!
//! A string is itself; a bool `true` or `false`; an integer decimal; a double as in [`crate::number`]; bytes are base64; a value that
//! is absent is the empty text. An array or a key-value list is compact JSON, in the order sent, where bytes are a base64
//! string, a double that is no number is a string and an absent value is `null`.
//!
//! Every text is masked before it is written, by itself and with what its key says; a number is masked if it reads as something
//! sensitive, and bytes if there is such a text in them.

use crate::base64;
use crate::limits::clip;
use crate::number;
use crate::sensitive::{KeyClass, Masker, Place};

/// Digits of the shortest number that is looked at although its key says nothing.
const NUMBER_BYTES_MIN: usize = 9;

/// Writes one value to the end of a buffer, never more than it has room for.
pub struct ValueWriter<'a> {
    text: &'a mut Vec<u8>,
    end_max: usize,
    cut: bool,
    bytes_max: usize,
    masker: &'a mut Masker,
    place: Place<'a>,
}

/// A point to go back to: of several members of a oneof the last counts.
#[derive(Clone, Copy)]
pub struct Mark {
    length: usize,
    cut: bool,
}

impl<'a> ValueWriter<'a> {
    /// Appends to `text`, at most `bytes`, the value at `place`.
    #[inline]
    pub fn new(text: &'a mut Vec<u8>, bytes: usize, masker: &'a mut Masker, place: Place<'a>) -> Self {
        let end_max = text.len().saturating_add(bytes);
        Self { text, end_max, cut: false, bytes_max: bytes, masker, place }
    }

    /// What the texts written next are part of: the value of the member `key`, itself masked and written as a JSON string.
    /// Returns what to give to [`ValueWriter::close_member`] after them.
    pub fn open_member(&mut self, key: &str) -> KeyClass {
        let outer = self.place.class;
        self.place.class = KeyClass::NONE;
        match self.masker.treat(key, self.bytes_max, self.place) {
            None => self.json_string(key),
            Some(treated) => self.json_string(&treated),
        }
        self.raw(":");
        self.place.class = self.masker.classify_inner(outer, key);
        outer
    }

    /// Ends a member.
    pub fn close_member(&mut self, outer: KeyClass) {
        self.place.class = outer;
    }

    /// Where the text ends now.
    #[inline]
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark { length: self.text.len(), cut: self.cut }
    }

    /// Forgets what was written since `mark`.
    #[inline]
    pub fn rewind(&mut self, mark: Mark) {
        self.text.truncate(mark.length);
        self.cut = mark.cut;
    }

    /// Whether something did not fit.
    #[inline]
    #[must_use]
    pub fn was_cut(&self) -> bool {
        self.cut
    }

    /// Text as it is.
    #[inline]
    pub fn raw(&mut self, piece: &str) {
        let room = self.end_max - self.text.len();
        if piece.len() <= room && !self.cut {
            self.text.extend_from_slice(piece.as_bytes());
        } else {
            self.raw_cut(piece);
        }
    }

    #[cold]
    fn raw_cut(&mut self, piece: &str) {
        if !self.cut {
            let room = self.end_max - self.text.len();
            self.text.extend_from_slice(clip(piece, room).as_bytes());
            self.cut = true;
        }
    }

    /// Text of its own, masked; in JSON a string.
    #[inline]
    pub fn string(&mut self, value: &str, in_json: bool) {
        match self.masker.treat(value, self.bytes_max, self.place) {
            None => self.as_is(value, in_json),
            Some(treated) => self.as_is(&treated, in_json),
        }
    }

    #[inline]
    fn as_is(&mut self, value: &str, in_json: bool) {
        if in_json {
            self.json_string(value);
        } else {
            self.raw(value);
        }
    }

    /// `true` or `false`.
    #[inline]
    pub fn bool(&mut self, value: bool) {
        self.raw(if value { "true" } else { "false" });
    }

    /// Decimal; a string in JSON if it had to be masked.
    #[inline]
    pub fn int(&mut self, value: i64, in_json: bool) {
        let mut buffer = itoa::Buffer::new();
        self.number(buffer.format(value), in_json);
    }

    #[inline]
    fn number(&mut self, text: &str, in_json: bool) {
        if text.len() < NUMBER_BYTES_MIN && self.place.class.is_none() {
            return self.raw(text);
        }
        let place = Place { class: self.place.class | KeyClass::NUMBER, ..self.place };
        match self.masker.treat(text, self.bytes_max, place) {
            None => self.raw(text),
            Some(treated) => self.as_is(&treated, in_json),
        }
    }

    /// Shortest text that reads back; in JSON a string if it is no number.
    #[inline(never)]
    pub fn double(&mut self, value: f64, in_json: bool) {
        let mut text = String::with_capacity(24);
        number::push_double(value, &mut text);
        if value.is_finite() {
            self.number(&text, in_json);
        } else {
            self.as_is(&text, in_json);
        }
    }

    /// Base64, padded; in JSON a string. Bytes that are text are masked as such before.
    #[inline(never)]
    pub fn bytes(&mut self, value: &[u8], in_json: bool) {
        let treated = self.treat_bytes(value);
        let value = treated.as_deref().unwrap_or(value);
        if in_json {
            self.raw("\"");
        }
        for group in value.chunks(3) {
            self.raw(std::str::from_utf8(&base64::quad(group)).unwrap_or_default());
            if self.cut {
                return;
            }
        }
        if in_json {
            self.raw("\"");
        }
    }

    /// The bytes to keep instead of `value`: the text in it is masked, run by run. `None` if nothing is found.
    fn treat_bytes(&mut self, value: &[u8]) -> Option<Vec<u8>> {
        let mut kept = Vec::new();
        let mut found = false;
        for chunk in value.utf8_chunks() {
            match self.masker.treat(chunk.valid(), self.bytes_max, self.place) {
                None => kept.extend_from_slice(chunk.valid().as_bytes()),
                Some(treated) => {
                    found = true;
                    kept.extend_from_slice(treated.as_bytes());
                }
            }
            kept.extend_from_slice(chunk.invalid());
        }
        found.then_some(kept)
    }

    /// A JSON string, quoted, with the escapes that RFC 8259 demands and no others.
    #[inline(never)]
    pub fn json_string(&mut self, value: &str) {
        self.raw("\"");
        let mut done = 0;
        for (at, byte) in value.bytes().enumerate() {
            let escape = match byte {
                b'"' => "\\\"",
                b'\\' => "\\\\",
                b'\n' => "\\n",
                b'\r' => "\\r",
                b'\t' => "\\t",
                8 => "\\b",
                12 => "\\f",
                0..0x20 => "",
                _ => continue,
            };
            self.raw(&value[done..at]);
            if escape.is_empty() {
                self.raw(&format!("\\u{byte:04x}"));
            } else {
                self.raw(escape);
            }
            done = at + 1;
            if self.cut {
                return;
            }
        }
        self.raw(&value[done..]);
        self.raw("\"");
    }
}
