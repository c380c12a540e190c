//! Statements: literals out, shape kept. Works on SQL of any dialect without knowing which, and on the JSON and the commands of
//! other databases where the key says that a text is a statement.
//!
//! What one dialect takes for a literal and another for a name is taken for a literal, unless it stands where only a name can
//! and is spelled as one. Where a backslash may or may not end a string, the rest of the statement goes.

mod languages;
mod words;

use std::ops::Range;

use super::detector::Detector;
use super::scan::Scan;
use super::signals::Block;
use super::{is_word, trailing_backslashes};
use languages::{Language, find_arguments, find_json_literals, language};
use words::{COLUMNS, DATA, ENDS, LIST, NUMBER, OF_TABLE, VALUE, is_escape, next_statement, word_of};

/// What stands in place of a literal.
const LITERAL: &str = "?";

/// Finds the literals of statements; `is_statement` if the key says that the text is one.
pub(super) fn find(scan: &mut Scan<'_>, is_statement: bool) {
    if !is_statement {
        find_statements(scan);
        return;
    }
    match language(scan) {
        Language::Json => find_json_literals(scan),
        Language::Command => find_arguments(scan),
        Language::Sql => {
            let whole = 0..scan.text.len();
            Reader::new(scan, whole, None, true).read();
        }
    }
}

/// Finds the literals of the statements in a text of anything.
fn find_statements(scan: &mut Scan<'_>) {
    let (text, signals) = (scan.text, scan.signals);
    let mut starts = signals.starts(Block::names);
    let mut done = 0;
    while let Some(start) = next_statement(text, signals, &mut starts, done) {
        let quotes = surrounding_quotes(text, start);
        // A comment before the statement is part of it.
        let is_comment = |open: &&[u8]| text[done..start].trim_ascii_start().starts_with(open);
        let has_comment = [&b"/*"[..], b"--"].iter().any(is_comment);
        let end = quotes.as_ref().map_or(text.len(), |quotes| quotes.end);
        let numbers = quotes.is_some() || is_first_word(&text[..start]);
        let start = if has_comment && quotes.is_none() { done } else { start };
        Reader::new(scan, start..end, quotes.map(|quotes| quotes.byte), numbers).read();
        done = end;
    }
}

fn is_first_word(before: &[u8]) -> bool {
    before.iter().all(|byte| byte.is_ascii_whitespace() || b"(;".contains(byte))
}

fn is_name(byte: u8) -> bool {
    is_word(byte) || byte == b'_'
}

/// The quotes that a statement stands in, as a value of JSON or an argument.
struct Quotes {
    byte: u8,
    /// Where the closing one is.
    end: usize,
}

/// The quotes around the statement that starts at `start`. None if it is unsure that they are: then the statement goes on to the
/// end of the text.
fn surrounding_quotes(text: &[u8], start: usize) -> Option<Quotes> {
    const BEFORE_BYTES_MAX: usize = 64;
    let before = &text[start.saturating_sub(BEFORE_BYTES_MAX)..start];
    let opening = without_spaces(before).len().checked_sub(1)?;
    let byte = before[opening];
    if !matches!(byte, b'"' | b'\'') {
        return None;
    }
    let backslashes = trailing_backslashes(&before[..opening]);
    let is_opening = opening + 1 == before.len()
        || before[..opening - backslashes]
            .last()
            .is_none_or(|byte| byte.is_ascii_whitespace() || b":=([{,>|".contains(byte));
    let end = if is_opening { closing_quote(text, start, byte, backslashes)? } else { return None };
    // An unescaped quote inside opens a value or is followed by a name.
    let opens =
        text[..end].iter().rev().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|byte| b"=<>(,".contains(byte));
    let after = text.get(end + 1);
    let closes = after.is_none_or(|byte| byte.is_ascii_whitespace() || b",;)]}:.\\\"'<&|".contains(byte));
    (closes && !opens).then(|| Quotes { byte, end: end - trailing_backslashes(&text[..end]).min(backslashes) })
}

/// `text` without the spaces, brackets and escapes such as `\n` at its end.
fn without_spaces(mut text: &[u8]) -> &[u8] {
    loop {
        text = match text {
            [rest @ .., b' ' | b'\t' | b'\r' | b'\n' | b'('] => rest,
            [rest @ .., b'\\', b'n' | b'r' | b't'] => &rest[..rest.len() - trailing_backslashes(rest)],
            _ => return text,
        };
    }
}

/// Where the quote is that closes what is opened by one after `backslashes`: escaped as often, and not written twice.
fn closing_quote(text: &[u8], start: usize, quote: u8, backslashes: usize) -> Option<usize> {
    let mut at = start;
    loop {
        at += memchr::memchr2(quote, b'\\', text.get(at..)?)?;
        let escapes = length_of(&text[at..], b'\\');
        at += escapes;
        let quotes = length_of(&text[at..], quote);
        if quotes > 0 && escapes > 0 {
            // In a text in quotes that is quoted again, each backslash of the inner one is two.
            if escapes < backslashes || escapes % (2 * backslashes + 2) == backslashes {
                return Some(at);
            }
            at += 1;
        } else if quotes % 2 == 1 {
            return Some(at + quotes - 1);
        } else {
            at += quotes;
        }
    }
}

/// How many of `byte` `text` starts with.
fn length_of(text: &[u8], byte: u8) -> usize {
    text.iter().take_while(|&&one| one == byte).count()
}

fn push(scan: &mut Scan<'_>, start: usize, end: usize, shown: &'static str) {
    let value = scan.bytes(start..end);
    if value != shown.as_bytes() && !value.trim_ascii().is_empty() {
        scan.push_as(start..end, Detector::SqlLiteral, shown);
    }
}

/// Reads a statement from front to back and takes strings, numbers and comments out.
struct Reader<'s, 'a> {
    scan: &'s mut Scan<'a>,
    /// The text up to the end of the statement.
    text: &'a [u8],
    at: usize,
    /// The quote that the statement stands in: inside it is written twice or after backslashes.
    outer: Option<u8>,
    /// Whether all numbers go, also where no operator stands before them.
    numbers: bool,
    /// What comes next: [`VALUE`], [`NUMBER`], [`DATA`].
    next: u8,
    /// Whether a list of values was begun.
    in_values: bool,
    /// For each open bracket, the innermost in the lowest bit, whether what is quoted inside is a value; in JSON, what stands
    /// before a colon is none.
    brackets: u64,
    /// What the last word says of what comes next.
    said: u8,
    /// Whether the last word is the name of something that has columns.
    has_columns: bool,
}

impl<'s, 'a> Reader<'s, 'a> {
    fn new(scan: &'s mut Scan<'a>, range: Range<usize>, outer: Option<u8>, numbers: bool) -> Self {
        let text = scan.bytes(0..range.end);
        Self {
            scan,
            text,
            at: range.start,
            outer,
            numbers,
            next: 0,
            in_values: false,
            brackets: 0,
            said: 0,
            has_columns: false,
        }
    }

    fn read(mut self) {
        while let Some(&byte) = self.text.get(self.at) {
            let from = self.at;
            let rest = &self.text[from..];
            match byte {
                b'\'' | b'"' | b'`' | b'\\' => self.read_quoted(),
                b'$' => self.read_dollar(),
                b'-' if rest.starts_with(b"--") => self.take_line(2),
                b'#' if self.is_comment() => self.take_line(1),
                b'/' if rest.starts_with(b"/*") => self.read_comment(),
                b'\n' if self.next & DATA != 0 => {
                    push(self.scan, from + 1, self.text.len(), LITERAL);
                    return;
                }
                b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F' if is_uuid(rest) => {
                    self.take(from + UUID_BYTES);
                }
                b'0'..=b'9' => {
                    let end = number_end(self.text, from);
                    if self.numbers || self.next & NUMBER != 0 { self.take(end) } else { self.pass(end) }
                }
                _ if is_name(byte) => self.read_word(),
                b'?' | b'@' | b':' if parameter_digits(self.text, from) > 0 => {
                    self.pass(from + 1 + parameter_digits(self.text, from));
                }
                _ => self.read_sign(byte),
            }
        }
    }

    /// Takes out what ends at `end`.
    fn take(&mut self, end: usize) {
        push(self.scan, self.at, end, LITERAL);
        self.pass(end);
    }

    /// Goes on behind a literal, a name or a comment that ends at `end`.
    fn pass(&mut self, end: usize) {
        self.at = end;
        self.expect(0);
    }

    /// Notes what comes next, beside what a list has and data that are still to come.
    fn expect(&mut self, next: u8) {
        let values = if self.in_values { VALUE } else { 0 };
        self.next = self.next & DATA | next & (VALUE | NUMBER | DATA) | values;
    }

    /// A string, or the name of something. The quote may be escaped, as may be the statement.
    fn read_quoted(&mut self) {
        let from = self.at;
        let backslashes = length_of(&self.text[from..], b'\\');
        let Some(&byte @ (b'\'' | b'"' | b'`')) = self.text.get(from + backslashes) else {
            self.at += backslashes;
            return;
        };
        let is_doubled = backslashes == 0 && self.outer == Some(byte);
        let width = backslashes + 1 + usize::from(is_doubled);
        let Some(end) = self.quoted_end(byte, backslashes, width) else {
            self.take(self.text.len());
            return;
        };
        let inner = self.text.get(from + width..end - width).unwrap_or_default();
        let is_value = match byte {
            b'\'' => true,
            b'"' => {
                let is_member = || self.text[end..].trim_ascii_start().starts_with(b":");
                let is_qualifier = matches!(self.text.get(end..end + 2), Some([b'.', next]) if is_name(*next) || b"\"`*[".contains(next));
                !is_qualifier
                    && (self.next & VALUE != 0 || self.brackets & 1 == 1 && !is_member() || !is_identifier(inner))
            }
            _ => false,
        };
        if is_value {
            self.take(end);
        } else {
            self.pass(end);
        }
    }

    /// Where the text in quotes from here on ends; `None` if it has no end or one that dialects see in different places.
    fn quoted_end(&self, quote: u8, backslashes: usize, width: usize) -> Option<usize> {
        let text = self.text;
        let mut at = self.at + width;
        loop {
            at += memchr::memchr2(quote, b'\\', text.get(at..)?)?;
            let escapes = length_of(&text[at..], b'\\');
            at += escapes;
            let quotes = length_of(&text[at..], quote);
            if quotes == 0 {
                continue;
            }
            if backslashes > 0 {
                return (escapes == backslashes).then_some(at + 1);
            }
            if escapes % 2 == 1 || escapes > 0 && self.outer.is_some() || !quotes.is_multiple_of(width) {
                return None;
            }
            at += quotes;
            if quotes / width % 2 == 1 {
                return Some(at);
            }
        }
    }

    /// `$$…$$` and `$tag$…$tag$` are strings, `$1` and `$name` parameters.
    fn read_dollar(&mut self) {
        let from = self.at;
        let Some(opening) = dollar_tag(&self.text[from..]) else {
            let name = self.text[from + 1..].iter().position(|&byte| !is_name(byte));
            self.pass(name.map_or(self.text.len(), |name| from + 1 + name));
            return;
        };
        let inside = from + opening.len();
        let end = memchr::memmem::find(&self.text[inside..], opening);
        self.take(end.map_or(self.text.len(), |end| inside + end + opening.len()));
    }

    /// Whether `#` here starts a comment, as in `MySQL`. It is part of operators of `PostgreSQL` and of names in SQL Server.
    fn is_comment(&self) -> bool {
        match self.text.get(self.at + 1) {
            None => true,
            Some(byte) if byte.is_ascii_whitespace() => true,
            Some(b'>' | b'-' | b'#') => false,
            Some(_) => self.outer.is_none() && self.numbers && self.said & OF_TABLE == 0,
        }
    }

    /// Takes out what follows the `sign` bytes of a comment up to the end of the line.
    fn take_line(&mut self, sign: usize) {
        let start = self.at + sign;
        let end = memchr::memchr(b'\n', &self.text[start..]).map_or(self.text.len(), |line| start + line);
        push(self.scan, start, end, "");
        self.pass(end);
    }

    /// Takes out what a comment says, but for hints of an optimizer.
    fn read_comment(&mut self) {
        let start = self.at + 2;
        let end = memchr::memmem::find(&self.text[start..], b"*/");
        let inner = &self.text[start..end.map_or(self.text.len(), |end| start + end)];
        let is_shape = |&byte: &u8| is_name(byte) || byte.is_ascii_whitespace() || b"(),.@".contains(&byte);
        let is_hint = end.is_some() && inner.strip_prefix(b"+").is_some_and(|hint| hint.iter().all(is_shape));
        if !is_hint {
            push(self.scan, start, start + inner.len(), "");
        }
        self.pass((start + inner.len() + 2).min(self.text.len()));
    }

    /// A word. N'…', E'…', X'…', _utf8'…' are strings with a prefix, which stays.
    fn read_word(&mut self) {
        let from = self.at;
        self.at = self.scan.signals.end(from, Block::names).min(self.text.len());
        let spelled = &self.text[from + usize::from(is_escape(self.text, from))..self.at];
        let next = word_of(spelled).map_or(0, |word| word.next);
        let is_qualified = from.checked_sub(1).is_some_and(|before| self.text[before] == b'.');
        self.has_columns = next & COLUMNS != 0
            || self.said & (OF_TABLE | COLUMNS) == OF_TABLE | COLUMNS
            || is_qualified && self.has_columns;
        self.said = next;
        self.in_values = self.in_values && next & ENDS == 0 || next & LIST != 0;
        self.expect(next);
        if next & ENDS != 0 {
            self.brackets &= !1;
        }
        if self.text.get(self.at) == Some(&b'\'') && [&b"q"[..], b"nq"].iter().any(|q| spelled.eq_ignore_ascii_case(q))
        {
            self.read_q_quoted();
        }
    }

    /// Oracle's q'[…]', in brackets or between any two equal bytes.
    fn read_q_quoted(&mut self) {
        let Some(&opening) = self.text.get(self.at + 1).filter(|byte| !byte.is_ascii_whitespace() && **byte != b'\'')
        else {
            return;
        };
        let closing = match opening {
            b'[' => b']',
            b'(' => b')',
            b'{' => b'}',
            b'<' => b'>',
            other => other,
        };
        let inside = self.at + 2;
        let end = memchr::memmem::find(&self.text[inside..], &[closing, b'\'']);
        self.take(end.map_or(self.text.len(), |end| inside + end + 2));
    }

    /// A byte that is part of no word and no literal.
    fn read_sign(&mut self, byte: u8) {
        let from = self.at;
        self.at += 1;
        match byte {
            b'=' | b'<' | b'>' | b'!' | b'~' => self.next |= VALUE | NUMBER,
            b'(' | b'[' | b'{' => {
                let is_value = match byte {
                    b'(' if from.checked_sub(1).is_some_and(|before| is_name(self.text[before])) => {
                        !self.has_columns && self.said & ENDS == 0
                    }
                    b'(' => self.brackets & 1 == 1,
                    _ => true,
                };
                self.brackets = self.brackets << 1 | u64::from(is_value);
                match byte {
                    b'(' => self.next |= NUMBER,
                    b'{' => self.next &= !VALUE,
                    _ => {}
                }
            }
            b')' | b']' | b'}' => {
                self.brackets >>= 1;
                self.next &= if self.in_values { !0 } else { !VALUE };
            }
            b';' => {
                (self.in_values, self.brackets, self.said) = (false, 0, 0);
                self.next &= !VALUE;
            }
            // A cast of PostgreSQL, or what stands before a value in JSON.
            b':' if self.text.get(self.at) == Some(&b':') => self.at += 1,
            b':' => self.next |= VALUE,
            b',' | b'+' | b'-' | b'*' | b'/' | b'%' => self.next |= NUMBER,
            _ => {}
        }
    }
}

/// The `$$` or `$tag$` that `text` starts with.
fn dollar_tag(text: &[u8]) -> Option<&[u8]> {
    const TAG_BYTES_MAX: usize = 64;
    let [b'$', tag @ ..] = text else { return None };
    let length = tag.iter().take(TAG_BYTES_MAX).position(|&byte| !is_name(byte))?;
    (tag[length] == b'$' && !tag[0].is_ascii_digit()).then_some(&text[..length + 2])
}

/// How many digits the parameter at `start` has, `?1`, `:1` or `@1`; none if it is none. A colon before a number of JSON stands
/// behind a name.
fn parameter_digits(text: &[u8], start: usize) -> usize {
    const DIGITS_MAX: usize = 3;
    let digits = text[start + 1..].iter().take_while(|byte| byte.is_ascii_digit()).take(DIGITS_MAX + 1).count();
    let ends = !text.get(start + 1 + digits).is_some_and(|&byte| is_name(byte));
    let before = start.checked_sub(1).map(|before| text[before]);
    let stands_alone =
        text[start] != b':' || before.is_none_or(|byte| byte.is_ascii_whitespace() || b"(,=<>+-*/|%!~".contains(&byte));
    if digits <= DIGITS_MAX && ends && stands_alone { digits } else { 0 }
}

fn is_identifier(text: &[u8]) -> bool {
    text.first().is_some_and(|&byte| is_name(byte) && !byte.is_ascii_digit())
        && text.iter().all(|&byte| is_name(byte) || b"$.".contains(&byte))
}

const UUID_BYTES: usize = 36;

/// Whether `text` starts with a UUID, which needs no quotes in CQL.
fn is_uuid(text: &[u8]) -> bool {
    text.get(8) == Some(&b'-')
        && text.get(..UUID_BYTES).is_some_and(|uuid| {
            let fits = |(at, byte): (usize, &u8)| match at {
                8 | 13 | 18 | 23 => *byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            };
            uuid.iter().enumerate().all(fits)
        })
        && !text.get(UUID_BYTES).is_some_and(|&byte| is_name(byte))
}

/// Where a number ends: digits, a point, an exponent, hexadecimal digits.
fn number_end(text: &[u8], start: usize) -> usize {
    let is_part = |at: usize| {
        let byte = text[at];
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'.' | b'_')
            || matches!(byte, b'+' | b'-') && matches!(text[at - 1], b'e' | b'E') && !text[start..].starts_with(b"0x")
    };
    (start + 1..text.len()).find(|&at| !is_part(at)).unwrap_or(text.len())
}
