//! Bounds on everything a sender controls.

/// Bytes in a mebibyte.
const MIB: usize = 1 << 20;

/// Arrow offsets are 32 bits, so no column may hold more bytes or entries than this.
pub const TABLE_BYTES_MAX: usize = i32::MAX as usize;

/// Nesting is followed by recursion, so a limit on it beyond this one is refused: the stack is finite.
pub const DEPTH_MAX: usize = 128;

/// How much of what one body may hold.
///
/// Beyond `attributes`, `events` and `links` the rest of the list is dropped and counted; beyond `value_bytes` a text is cut
/// and counted; beyond any other bound the whole body is an error of kind `too_large` or `too_deep`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Bytes of the body as received.
    pub body_bytes: usize,
    /// Bytes of the body after decompression; inflating stops here.
    pub decoded_bytes: usize,
    /// Bytes of the table with all dictionaries written out, as a store would hold it. A resource is repeated on each of its
    /// spans, so a small body could otherwise grow a thousandfold. At most [`TABLE_BYTES_MAX`].
    pub table_bytes: usize,
    /// Values inside values, of an attribute or of an unknown JSON member. At most [`DEPTH_MAX`].
    pub depth: usize,
    /// Spans in a body, refused ones included.
    pub spans: usize,
    /// Attributes of one span, event, link or resource.
    pub attributes: usize,
    /// Events of one span.
    pub events: usize,
    /// Links of one span.
    pub links: usize,
    /// Bytes of UTF-8 in one text: a name, a key, or an attribute value as rendered.
    pub value_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 64 * MIB,
            decoded_bytes: 256 * MIB,
            table_bytes: 1024 * MIB,
            depth: 32,
            spans: 1_000_000,
            attributes: 256,
            events: 1024,
            links: 1024,
            value_bytes: 32 << 10,
        }
    }
}

impl Limits {
    /// Fails with the reason if a limit is larger than can be kept.
    pub const fn check(&self) -> Result<(), &'static str> {
        if self.depth > DEPTH_MAX {
            return Err("depth must be at most 128");
        }
        if self.table_bytes > TABLE_BYTES_MAX {
            return Err("table_bytes must be less than 2^31");
        }
        Ok(())
    }
}

/// The longest prefix of `text` that has at most `bytes` bytes and ends between two characters.
#[inline]
#[must_use]
pub fn clip(text: &str, bytes: usize) -> &str {
    if text.len() <= bytes { text } else { &text[..text.floor_char_boundary(bytes)] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clipping_keeps_whole_characters() {
        assert_eq!(clip("a\u{20ac}b", 3), "a");
        assert_eq!(clip("a\u{20ac}b", 4), "a\u{20ac}");
        assert_eq!(clip("a\u{20ac}b", 5), "a\u{20ac}b");
        assert_eq!(clip("\u{20ac}", 0), "");
    }
}
