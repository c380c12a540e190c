//! Statements: literals out, shape kept. Works on SQL of any dialect without knowing which, and on the JSON and the commands of
//! other databases where the key says that a text is a statement.
//!
//! What one dialect takes for a literal and another for a name is taken for a literal, unless it stands where only a name can
//! and is spelled as one. Where a backslash may or may not end a string, the rest of the text goes.

use super::detector::Detector;
use super::is_word;
use super::scan::Scan;
use super::signals::{Block, Signals};

/// What stands in place of a literal.
const LITERAL: &str = "?";

const SELECT: u8 = 1;
const INTO: u8 = 1 << 1;
const UPDATE: u8 = 1 << 2;
const DELETE: u8 = 1 << 3;
const NESTED: u8 = 1 << 4;
const USER: u8 = 1 << 5;
/// The statements that need no second word; only at the start of a text, because their first words are everyday ones.
const CALLS: u8 = 1 << 6;

/// What is quoted next is a value.
const VALUE: u8 = 1;
/// A number next is one too.
const NUMBER: u8 = 1 << 1;
/// What is quoted is a value until a word with [`ENDS`].
const LIST: u8 = 1 << 2;
const ENDS: u8 = 1 << 3;

/// A word of statements, with those that it may start, and those that it goes on: a statement is known by its first word together
/// with one that must follow somewhere.
struct Word {
    spelled: &'static [u8],
    starts: u8,
    goes_on: u8,
    /// What it says of what comes next.
    next: u8,
}

const fn word(spelled: &'static [u8], starts: u8, goes_on: u8, next: u8) -> Word {
    Word { spelled, starts, goes_on, next }
}

static WORDS: [Word; 37] = [
    word(b"select", SELECT, NESTED, ENDS),
    word(b"insert", INTO, NESTED, 0),
    word(b"merge", INTO, 0, 0),
    word(b"replace", INTO, 0, 0),
    word(b"upsert", INTO, 0, 0),
    word(b"update", UPDATE, NESTED, 0),
    word(b"delete", DELETE, NESTED, 0),
    word(b"with", NESTED, 0, 0),
    word(b"explain", NESTED, 0, 0),
    word(b"alter", USER, 0, 0),
    word(b"create", USER, 0, 0),
    word(b"call", CALLS, 0, 0),
    word(b"exec", CALLS, 0, 0),
    word(b"execute", CALLS, 0, 0),
    word(b"from", 0, SELECT | DELETE, 0),
    word(b"where", 0, SELECT, ENDS),
    word(b"into", 0, INTO, 0),
    word(b"values", 0, INTO, LIST | NUMBER),
    word(b"set", 0, UPDATE, 0),
    word(b"user", 0, USER, 0),
    word(b"role", 0, USER, 0),
    word(b"login", 0, USER, 0),
    word(b"identified", 0, USER, VALUE),
    word(b"password", 0, 0, VALUE),
    word(b"in", 0, 0, LIST | NUMBER),
    word(b"on", 0, 0, ENDS),
    word(b"returning", 0, 0, ENDS),
    word(b"like", 0, 0, VALUE | NUMBER),
    word(b"ilike", 0, 0, VALUE),
    word(b"between", 0, 0, VALUE | NUMBER),
    word(b"by", 0, 0, VALUE),
    word(b"then", 0, 0, VALUE | NUMBER),
    word(b"else", 0, 0, VALUE | NUMBER),
    word(b"limit", 0, 0, NUMBER),
    word(b"offset", 0, 0, NUMBER),
    word(b"and", 0, 0, NUMBER),
    word(b"top", 0, 0, NUMBER),
];

/// For each byte, in any case, the words that have it first, and those that have it second: a bit of each.
static HEADS: [[u64; 256]; 2] = {
    let mut heads = [[0; 256]; 2];
    let mut at = 0;
    while at < 2 * WORDS.len() {
        let (word, place) = (at / 2, at % 2);
        let byte = WORDS[word].spelled[place];
        heads[place][byte as usize] |= 1 << word;
        heads[place][byte.to_ascii_uppercase() as usize] |= 1 << word;
        at += 1;
    }
    heads
};

/// The word that `text` is, in any case.
fn word_of(text: &[u8]) -> Option<&'static Word> {
    let [first, second, ..] = *text else { return None };
    let mut left = HEADS[0][usize::from(first)] & HEADS[1][usize::from(second)];
    while left != 0 {
        let word = &WORDS[left.trailing_zeros() as usize];
        if text.eq_ignore_ascii_case(word.spelled) {
            return Some(word);
        }
        left &= left - 1;
    }
    None
}

/// Commands of key-value stores, whose arguments are values without quotes.
const COMMANDS: [&str; 44] = [
    "get",
    "set",
    "setex",
    "psetex",
    "setnx",
    "getset",
    "getdel",
    "getex",
    "mget",
    "mset",
    "msetnx",
    "append",
    "del",
    "unlink",
    "exists",
    "expire",
    "auth",
    "hello",
    "hset",
    "hget",
    "hmset",
    "hmget",
    "hdel",
    "hgetall",
    "hincrby",
    "lpush",
    "rpush",
    "lpop",
    "rpop",
    "lrange",
    "sadd",
    "srem",
    "sismember",
    "smembers",
    "zadd",
    "zrem",
    "zscore",
    "publish",
    "eval",
    "evalsha",
    "xadd",
    "incr",
    "incrby",
    "decr",
];

/// Finds the literals of a statement; `is_statement` if the key says that the text is one.
pub(super) fn find(scan: &mut Scan<'_>, is_statement: bool) {
    let text = scan.text;
    if let Some(start) = statement_start(text, scan.signals) {
        // A comment before the statement is part of it.
        let comment = [&b"/*"[..], b"--"].iter().any(|open| text.trim_ascii_start().starts_with(open));
        let start = if comment { 0 } else { start };
        find_literals(scan, start, is_statement || is_first_word(text, start));
    } else if is_statement {
        match text.trim_ascii_start().first() {
            Some(b'{' | b'[') => find_json_literals(scan),
            _ if is_command(text) => find_arguments(scan),
            _ => find_literals(scan, 0, true),
        }
    }
}

fn is_first_word(text: &[u8], start: usize) -> bool {
    text[..start].iter().all(|byte| byte.is_ascii_whitespace() || b"(;".contains(byte))
}

/// The words of a text with their places.
fn words(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = (at..text.len()).find(|&at| is_name(text[at]))?;
        at = (start..text.len()).find(|&at| !is_name(text[at])).unwrap_or(text.len());
        Some((start, &text[start..at]))
    })
}

fn is_name(byte: u8) -> bool {
    is_word(byte) || byte == b'_'
}

/// Where the first statement starts: its first word with one that must follow it. One pass over the words.
fn statement_start(text: &[u8], signals: &Signals) -> Option<usize> {
    let mut waiting = [None; 8];
    for run in signals.runs(Block::names) {
        let start = run.start;
        let Some(word) = word_of(&text[run]) else { continue };
        let bits = |set: u8| (0..8).filter(move |bit| set >> bit & 1 == 1);
        if let Some(start) = bits(word.goes_on).filter_map(|bit| waiting[bit]).min() {
            return Some(start);
        }
        if word.starts & CALLS != 0 && !text[..start].iter().any(|&byte| is_name(byte)) {
            return Some(start);
        }
        for bit in bits(word.starts) {
            waiting[bit] = waiting[bit].or(Some(start));
        }
    }
    None
}

/// What stood before a place in a statement, as far as it says what comes next.
#[derive(Clone, Copy, PartialEq)]
enum Before {
    /// A comparison, or a list of values: what is quoted next is a value.
    Value,
    /// Anything else.
    Other,
}

/// Takes strings, numbers and comments out from `start` on. `numbers` also where no operator stands before them.
fn find_literals(scan: &mut Scan<'_>, start: usize, numbers: bool) {
    let text = scan.text;
    let mut before = Before::Other;
    let mut in_values = false;
    let mut operator = false;
    let mut at = start;
    while at < text.len() {
        let byte = text[at];
        let from = at;
        match byte {
            b'\'' => {
                at = push_string(scan, from, byte);
            }
            b'"' | b'`' => {
                let end = quoted_end(text, from, byte);
                let is_identifier = byte == b'`'
                    || before == Before::Other && end.is_some_and(|end| is_identifier(&text[from + 1..end - 1]));
                match end {
                    Some(end) if is_identifier || text.get(end) == Some(&b'.') => at = end,
                    _ => at = push_string(scan, from, byte),
                }
            }
            b'$' => at = dollar_end(scan, from),
            b'-' if text[from..].starts_with(b"--") => {
                let end = text[from..].iter().position(|&byte| byte == b'\n').map_or(text.len(), |line| from + line);
                push(scan, from + 2, end, "");
                at = end;
            }
            b'/' if text[from..].starts_with(b"/*") => {
                let end = memchr::memmem::find(&text[from + 2..], b"*/").map_or(text.len(), |end| from + 2 + end);
                push(scan, from + 2, end, "");
                at = end.saturating_add(2);
            }
            b'0'..=b'9' => {
                at = number_end(text, from);
                if numbers || operator {
                    push(scan, from, at, LITERAL);
                }
            }
            _ if is_name(byte) => {
                at = scan.signals.end(from, Block::names);
                // N'…', E'…', X'…', _utf8'…' are strings with a prefix, which stays.
                let next = word_of(&text[from..at]).map_or(0, |word| word.next);
                in_values = in_values && next & ENDS == 0 || next & LIST != 0;
                before = if in_values || next & VALUE != 0 { Before::Value } else { Before::Other };
                operator = next & NUMBER != 0;
                continue;
            }
            _ => {
                at = from + 1;
                let compares = matches!(byte, b'=' | b'<' | b'>' | b'!' | b'~');
                if compares {
                    before = Before::Value;
                } else if matches!(byte, b')' | b';') && !in_values {
                    before = Before::Other;
                }
                operator |= compares || matches!(byte, b'(' | b',' | b'+' | b'-' | b'*' | b'/' | b'%');
                if byte == b';' {
                    in_values = false;
                }
                continue;
            }
        }
        operator = false;
        before = if in_values { Before::Value } else { Before::Other };
    }
}

fn push(scan: &mut Scan<'_>, start: usize, end: usize, shown: &'static str) {
    let value = scan.bytes(start..end);
    if value != shown.as_bytes() && !value.trim_ascii().is_empty() {
        scan.push_as(start..end, Detector::SqlLiteral, shown);
    }
}

/// Takes out the string that starts at `start`, to the end of the text if it has none, and returns where it ends.
fn push_string(scan: &mut Scan<'_>, start: usize, quote: u8) -> usize {
    let end = quoted_end(scan.text, start, quote).unwrap_or(scan.text.len());
    push(scan, start, end, LITERAL);
    end
}

/// Where the text in quotes from `start` ends; `None` if it has no end or one that dialects see in different places.
fn quoted_end(text: &[u8], start: usize, quote: u8) -> Option<usize> {
    let mut at = start + 1;
    loop {
        at += memchr::memchr2(quote, b'\\', text.get(at..)?)?;
        if text[at] == b'\\' {
            if text.get(at + 1) == Some(&quote) {
                return None;
            }
            at += 2;
        } else if text.get(at + 1) == Some(&quote) {
            at += 2;
        } else {
            return Some(at + 1);
        }
    }
}

fn is_identifier(text: &[u8]) -> bool {
    text.first().is_some_and(|&byte| is_name(byte) && !byte.is_ascii_digit())
        && text.iter().all(|&byte| is_name(byte) || b"$.".contains(&byte))
}

/// `$$…$$` and `$tag$…$tag$` are strings, `$1` a parameter.
fn dollar_end(scan: &mut Scan<'_>, start: usize) -> usize {
    const TAG_BYTES_MAX: usize = 64;
    let text = scan.text;
    let tag = text[start + 1..].iter().take(TAG_BYTES_MAX).position(|&byte| !is_name(byte)).unwrap_or(0);
    let opening = &text[start..text.len().min(start + tag + 2)];
    if opening.last() != Some(&b'$') || opening.len() < 2 || opening.get(1).is_some_and(u8::is_ascii_digit) {
        return start + 1 + tag;
    }
    let inside = start + opening.len();
    let end = memchr::memmem::find(&text[inside..], opening).map_or(text.len(), |at| inside + at + opening.len());
    push(scan, start, end, LITERAL);
    end
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

/// Strings that are no names of members, and numbers.
fn find_json_literals(scan: &mut Scan<'_>) {
    let text = scan.text;
    let mut at = 0;
    while at < text.len() {
        let from = at;
        match text[at] {
            quote @ (b'"' | b'\'') => {
                let mut end = from + 1;
                while end < text.len() && text[end] != quote {
                    end += if text[end] == b'\\' { 2 } else { 1 };
                }
                at = end.min(text.len()) + 1;
                let is_name = text.get(at..).is_some_and(|rest| rest.trim_ascii_start().first() == Some(&b':'));
                if !is_name {
                    push(scan, from + 1, end.min(text.len()), LITERAL);
                }
            }
            b'0'..=b'9' if !from.checked_sub(1).is_some_and(|before| is_name(text[before])) => {
                at = number_end(text, from);
                push(scan, from, at, LITERAL);
            }
            _ => at += 1,
        }
    }
}

fn is_command(text: &[u8]) -> bool {
    words(text).next().is_some_and(|(start, word)| {
        text[..start].trim_ascii().is_empty()
            && COMMANDS.iter().any(|command| word.eq_ignore_ascii_case(command.as_bytes()))
    })
}

/// All words of each line but the first.
fn find_arguments(scan: &mut Scan<'_>) {
    let text = scan.text;
    let mut start = 0;
    for line in text.split(|&byte| byte == b'\n') {
        let mut at = start;
        start += line.len() + 1;
        let end = at + line.len();
        let mut first = true;
        while let Some(from) = (at..end).find(|&at| !text[at].is_ascii_whitespace()) {
            at = (from..end).find(|&at| text[at].is_ascii_whitespace()).unwrap_or(end);
            if !std::mem::take(&mut first) {
                push(scan, from, at, LITERAL);
            }
        }
    }
}
