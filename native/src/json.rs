//! JSON as a stream over a borrowed body. Knows nothing of OTLP, builds no values.
//!
//! Source: RFC 8259, with what protobuf JSON adds: a member that is `null` is absent. Half of a surrogate pair, which
//! JavaScript senders produce when they shorten strings, becomes U+FFFD.

use std::borrow::Cow;

use crate::error::{DecodeError, ErrorKind, Result};

/// Reads one JSON text from front to back; positions can be kept and returned to.
pub struct Reader<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> Reader<'a> {
    /// Reads `body`. Fails with `bad_utf8` if it is not UTF-8.
    pub fn new(body: &'a [u8]) -> Result<Self> {
        Ok(Self { text: crate::wire::utf8(body, 0)?, position: 0 })
    }

    /// Bytes before the next unread one.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.position
    }

    /// Goes back to a value passed over before; `offset` is one that [`Reader::offset`] gave.
    pub fn seek(&mut self, offset: usize) {
        self.position = offset;
    }

    /// An error at the next unread byte.
    #[cold]
    #[must_use]
    pub fn error(&self, what: &'static str) -> DecodeError {
        if self.position >= self.text.len() {
            DecodeError::new(ErrorKind::Truncated, self.text.len(), "the JSON text ends early")
        } else {
            DecodeError::new(ErrorKind::BadJson, self.position, what)
        }
    }

    /// The next byte that is no white space; 0 at the end.
    #[inline]
    pub fn peek(&mut self) -> u8 {
        let bytes = self.text.as_bytes();
        while let Some(&byte) = bytes.get(self.position) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return byte;
            }
            self.position += 1;
        }
        0
    }

    /// Takes `byte` if it comes next.
    #[inline]
    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == byte;
        self.position += usize::from(found);
        found
    }

    /// Takes `word` if it comes next; `false` leaves the position.
    fn word(&mut self, word: &str) -> bool {
        let found = self.text.as_bytes()[self.position..].starts_with(word.as_bytes());
        self.position += if found { word.len() } else { 0 };
        found
    }

    /// Nothing but white space may follow.
    pub fn end(&mut self) -> Result<()> {
        self.peek();
        if self.position == self.text.len() {
            Ok(())
        } else {
            Err(self.error("something after the end of the JSON text"))
        }
    }

    /// Takes `null` if it comes next.
    #[inline]
    pub fn null(&mut self) -> Result<bool> {
        if self.peek() != b'n' {
            return Ok(false);
        }
        if self.word("null") { Ok(true) } else { Err(self.error("a word that JSON does not know")) }
    }

    /// Reads an object: `member` gets each name and must read its value. Members that are `null` are left out.
    #[inline]
    pub fn object(&mut self, mut member: impl FnMut(&mut Self, &str) -> Result<()>) -> Result<()> {
        if !self.take(b'{') {
            return Err(self.error("expected an object"));
        }
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            if self.peek() != b'"' {
                return Err(self.error("expected the name of a member"));
            }
            let name = self.string()?;
            if !self.take(b':') {
                return Err(self.error("expected a colon"));
            }
            if !self.null()? {
                member(self, &name)?;
            }
            if self.take(b'}') {
                return Ok(());
            }
            if !self.take(b',') {
                return Err(self.error("expected a comma or the end of the object"));
            }
        }
    }

    /// Reads an array: `item` must read each item.
    #[inline]
    pub fn array(&mut self, mut item: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        if !self.take(b'[') {
            return Err(self.error("expected an array"));
        }
        if self.take(b']') {
            return Ok(());
        }
        loop {
            item(self)?;
            if self.take(b']') {
                return Ok(());
            }
            if !self.take(b',') {
                return Err(self.error("expected a comma or the end of the array"));
            }
        }
    }

    /// Reads a string; borrowed unless it has escapes.
    #[inline]
    pub fn string(&mut self) -> Result<Cow<'a, str>> {
        if !self.take(b'"') {
            return Err(self.error("expected a string"));
        }
        let start = self.position;
        self.position += plain(&self.text.as_bytes()[start..]);
        let run = &self.text[start..self.position];
        if self.text.as_bytes().get(self.position) == Some(&b'"') {
            self.position += 1;
            return Ok(Cow::Borrowed(run));
        }
        self.escaped(run).map(Cow::Owned)
    }

    /// The rest of a string that starts with `run`, unescaped.
    fn escaped(&mut self, run: &str) -> Result<String> {
        let mut string = run.to_owned();
        loop {
            match self.text.as_bytes().get(self.position) {
                Some(b'"') => {
                    self.position += 1;
                    return Ok(string);
                }
                Some(b'\\') => {
                    self.position += 1;
                    string.push(self.escape()?);
                }
                _ => return Err(self.error("a control character in a string")),
            }
            let start = self.position;
            self.position += plain(&self.text.as_bytes()[start..]);
            string.push_str(&self.text[start..self.position]);
        }
    }

    /// The character of an escape whose backslash is taken.
    fn escape(&mut self) -> Result<char> {
        let character = match self.text.as_bytes().get(self.position) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.position += 1;
                return self.escape_utf16();
            }
            _ => return Err(self.error("an escape that JSON does not know")),
        };
        self.position += 1;
        Ok(character)
    }

    fn escape_utf16(&mut self) -> Result<char> {
        let high = self.hex4()?;
        if let Some(character) = char::from_u32(high) {
            return Ok(character);
        }
        let after = self.position;
        if high < 0xdc00 && self.word("\\u") {
            let low = self.hex4()?;
            if (0xdc00..0xe000).contains(&low) {
                let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.position = after;
        }
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn hex4(&mut self) -> Result<u32> {
        let digits = self.text.as_bytes()[self.position..].first_chunk::<4>();
        let value = digits.and_then(|digits| {
            digits.iter().try_fold(0, |value, &digit| Some(value << 4 | char::from(digit).to_digit(16)?))
        });
        let Some(value) = value else { return Err(self.error("\\u without four hexadecimal digits")) };
        self.position += 4;
        Ok(value)
    }

    /// Reads a number and returns it as spelled.
    #[inline]
    pub fn number(&mut self) -> Result<&'a str> {
        self.peek();
        let start = self.position;
        let bytes = self.text.as_bytes();
        let digits = |mut at: usize| {
            while bytes.get(at).is_some_and(u8::is_ascii_digit) {
                at += 1;
            }
            at
        };
        let whole = start + usize::from(bytes.get(start) == Some(&b'-'));
        let mut end = digits(whole);
        let leading_zero = bytes.get(whole) == Some(&b'0') && end > whole + 1;
        let mut good = end > whole && !leading_zero;
        if bytes.get(end) == Some(&b'.') {
            let fraction = end + 1;
            end = digits(fraction);
            good &= end > fraction;
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            let exponent = end + 1 + sign;
            end = digits(exponent);
            good &= end > exponent;
        }
        if !good {
            self.position = if end == bytes.len() { end } else { start };
            return Err(self.error("expected a number"));
        }
        self.position = end;
        Ok(&self.text[start..end])
    }

    /// Reads `true` or `false`.
    pub fn bool(&mut self) -> Result<bool> {
        match self.peek() {
            b't' if self.word("true") => Ok(true),
            b'f' if self.word("false") => Ok(false),
            _ => Err(self.error("expected true or false")),
        }
    }

    /// Passes over a value of any kind. Fails with `too_deep` if more than `depth` arrays and objects are inside each other.
    pub fn skip(&mut self, depth: usize) -> Result<()> {
        match self.peek() {
            b'"' => self.string().map(drop),
            open @ (b'{' | b'[') => {
                let Some(depth) = depth.checked_sub(1) else {
                    let what = "a value nested deeper than allowed";
                    return Err(DecodeError::new(ErrorKind::TooDeep, self.position, what));
                };
                if open == b'{' {
                    self.object(|reader, _| reader.skip(depth))
                } else {
                    self.array(|reader| reader.skip(depth))
                }
            }
            b't' | b'f' => self.bool().map(drop),
            b'n' => self.null().map(drop),
            _ => self.number().map(drop),
        }
    }
}

/// Length of the longest prefix without quote, backslash or control character, eight bytes at a time.
#[inline]
fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    const QUOTES: u64 = u64::from_le_bytes([b'"'; 8]);
    const BACKSLASHES: u64 = u64::from_le_bytes([b'\\'; 8]);
    // Sets the high bit of at least each byte that is zero, and of none below the first that is.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let quote = zeros(word ^ QUOTES);
        let backslash = zeros(word ^ BACKSLASHES);
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let found = quote | backslash | control;
        if found != 0 {
            return index * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let stop = rest.iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\');
    words.len() * 8 + stop.unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_ends_at_the_first_quote_wherever_it_is() {
        for length in 0..40 {
            for stop in ["\"", "\\", "\n", "\u{1f}"] {
                let text = "x".repeat(length) + stop + "\"tail\"\\\u{1}";
                assert_eq!(plain(text.as_bytes()), length, "{text:?}");
            }
            let text = "\u{e9}\u{20} !#[]\u{7f}\u{80}".repeat(length);
            assert_eq!(plain(text.as_bytes()), text.len());
        }
    }

    #[test]
    fn positions_can_be_returned_to() {
        let mut reader = Reader::new(b"[1, {\"a\": [true]}, 2]").expect("UTF-8");
        let mut object_at = 0;
        let mut item = 0;
        reader
            .array(|reader| {
                item += 1;
                reader.peek();
                if item == 2 {
                    object_at = reader.offset();
                }
                reader.skip(2)
            })
            .and_then(|()| reader.end())
            .expect("JSON");
        reader.seek(object_at);
        let mut names = Vec::new();
        reader
            .object(|reader, name| {
                names.push(name.to_owned());
                reader.skip(1)
            })
            .expect("an object");
        assert_eq!(names, ["a"]);
    }
}
