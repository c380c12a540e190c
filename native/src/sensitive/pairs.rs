//! Keys inside a text and the values that they give away: `key=value`, `key: value`, `"key": "value"`, `--key value`, `<key>value</key>`,
//! `key 123`.

use std::ops::{BitOr, Range};

use memchr::{memchr, memchr_iter, memchr2_iter, memmem};

use super::by_key::{NUMBER_BYTES_MAX, VALUE_BYTES_MAX, detect, find_nested, find_value, quoted_end, trimmed};
use super::keys::{KeyClass, classify};
use super::scan::Scan;
use super::signals::{Block, TOKEN_BYTES_MIN};
use super::{credentials, is_word, trailing_backslashes};

/// Bytes of a key inside a text.
const KEY_BYTES_MIN: usize = 3;
const KEY_BYTES_MAX: usize = 64;
/// Quotes, brackets and spaces between a key and its value.
const BETWEEN_MAX: usize = 8;
/// Words of a pass phrase after its first one.
pub(super) const PHRASE_WORDS_MAX: usize = 7;
/// Bytes between a name and the value that it names.
const NAMED_BYTES_MAX: usize = 160;
/// Bytes of a password that has letters and digits.
const MIXED_BYTES_MIN: usize = 6;
/// Digits of an index between brackets.
const INDEX_DIGITS_MAX: usize = 4;
/// How often each byte of a text may be looked at as part of a list or an object.
const NESTED_TIMES_MAX: usize = 8;

/// Where a value ends that no quote ends.
#[derive(Clone, Copy)]
enum End {
    /// At the end of the line or at a quote: a header.
    Line,
    /// At what separates fields, not at spaces.
    Field,
    /// After digits and what stands between them.
    Number,
    /// At spaces too.
    Word,
}

impl End {
    fn of(class: KeyClass) -> Self {
        if class.says(KeyClass::AUTHORIZATION | KeyClass::COOKIES) {
            Self::Line
        } else if class.says(KeyClass::BIRTH) {
            Self::Field
        } else if class.says(
            KeyClass::PHONE
                | KeyClass::SSN
                | KeyClass::NHS
                | KeyClass::CARD
                | KeyClass::CARD_CODE
                | KeyClass::PIN
                | KeyClass::NPI,
        ) {
            Self::Number
        } else {
            Self::Word
        }
    }

    fn is_at(self, byte: u8) -> bool {
        let separates = matches!(byte, b'\r' | b'\n' | b'"' | b'\'' | b'`');
        let field = matches!(byte, b',' | b';' | b'&' | b'<' | b'>' | b')' | b'}' | b'|');
        match self {
            Self::Line => separates,
            Self::Field => separates || field || byte == b']',
            Self::Number => !byte.is_ascii_digit() && !matches!(byte, b' ' | b'-' | b'+' | b'(' | b')' | b'.'),
            Self::Word => separates || field || matches!(byte, b' ' | b'\t'),
        }
    }
}

/// What stands around a pair, which says what may be part of a value without quotes.
#[derive(Clone, Copy, PartialEq)]
enum Around {
    /// A message: a pass phrase may have several words, and what separates fields may be part of a secret.
    Message,
    /// A query or a form: `&` stands between its fields, whatever they are.
    Form,
    /// The command line: an argument is one word.
    Arguments,
}

/// Looks at every `key=value`, `key: value`, `"key": "value"` inside the text.
pub(super) fn find_pairs(scan: &mut Scan<'_>) {
    let text = scan.text;
    let mut done = 0;
    let mut named = None;
    // Lists in lists would have their inner ones looked at again and again.
    let mut nested_bytes = NESTED_TIMES_MAX * text.len();
    for separator in scan.signals.places(Block::separators) {
        if separator < done || text[separator + 1..].starts_with(b"//") {
            continue;
        }
        if let Some(end) = find_violation(scan, separator) {
            done = end;
            continue;
        }
        let key = key_before(scan, separator);
        let role = Role::of(&text[key.clone()]);
        let Some(mut class) = class_of(scan, key.clone(), role) else { continue };
        // The user of a URL is part of its credentials.
        if !class.is_none() && (is_in_arn(text, key.start) || text[..key.start].ends_with(b"//")) {
            continue;
        }
        // `PASS: test-suite` is what tests print.
        if class == KeyClass::SECRET_IF_MIXED
            && text[separator] == b':'
            && !text[separator + 1..].trim_ascii_start().starts_with(b"\"")
        {
            continue;
        }
        // `key` alone may be a secret's, or say what the value beside it is.
        if class.without(KeyClass::SECRET_IF_RANDOM).is_none() {
            match named_by(scan, role, separator, named) {
                Naming::Value(found) => class = found,
                Naming::Name(found) => {
                    named = Some((found, separator));
                    continue;
                }
                Naming::Neither if class.is_none() => continue,
                Naming::Neither => {}
            }
        }
        let start = separator + 1;
        let bracket = start + text[start..].iter().take(BETWEEN_MAX).take_while(|&&byte| byte == b' ').count();
        if nested_bytes > 0
            && let Some(nested) = find_nested(scan, bracket, class)
        {
            nested_bytes = nested_bytes.saturating_sub(nested.end - bracket);
            if nested.noted {
                done = nested.end;
            }
            continue;
        }
        let before = key.start.checked_sub(1).map(|before| text[before]);
        let around = if matches!(before, Some(b'?' | b'&')) { Around::Form } else { Around::Message };
        if let Some(end) = find_pair(scan, start, class, around) {
            done = end;
        }
    }
}

/// Whether the key that starts at `start` is a part of an Amazon resource name: `arn:aws:secretsmanager:eu-west-1:123456789012:secret:db`.
fn is_in_arn(text: &[u8], start: usize) -> bool {
    text[..start].ends_with(b":") && {
        let before = &text[start.saturating_sub(NAMED_BYTES_MAX)..start];
        let name = before
            .iter()
            .rev()
            .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'-' | b'/' | b'_'));
        before[before.len() - name.count()..].starts_with(b"arn:")
    }
}

/// The key that ends before `end`, its quotes and spaces passed over, and the brackets of a form: `user[password]`, `passwords[]`.
fn key_before(scan: &Scan<'_>, end: usize) -> Range<usize> {
    let text = scan.text;
    let is_between = |byte: &&u8| matches!(byte, b' ' | b'"' | b'\'' | b'`' | b'\\');
    let passed = |end: usize| end - text[..end].iter().rev().take(BETWEEN_MAX).take_while(is_between).count();
    let mut end = passed(end);
    if let Some(list) = text[..end].strip_suffix(b"]") {
        // An index is no key.
        let index = list.iter().rev().take(INDEX_DIGITS_MAX).take_while(|byte| byte.is_ascii_digit()).count();
        if list[..list.len() - index].ends_with(b"[") {
            end = list.len() - index - 1;
        }
    }
    if text[..end].ends_with(b"]") {
        let inner = passed(end - 1);
        let opening = passed(scan.signals.start(inner, Block::keys));
        // The mark that a treatment leaves has no name before it.
        let has_name = text[..opening].strip_suffix(b"[").and_then(<[u8]>::last);
        if has_name.is_some_and(|&byte| is_word(byte) || matches!(byte, b']' | b'_')) {
            end = inner;
        }
    }
    let mut start = scan.signals.start(end, Block::keys);
    while start > 0 && text[start - 1] == b'$' && end - start < KEY_BYTES_MAX {
        start = scan.signals.start(start - 1, Block::keys);
    }
    start.max(end.saturating_sub(KEY_BYTES_MAX))..end
}

/// What a short word is as a key.
#[derive(Clone, Copy, PartialEq)]
enum Role {
    /// `is`: the key is before it.
    Verb,
    /// Says that the word before it is counted: `NHS number`.
    Count,
    /// Part of a key of several words: `session id`.
    Part,
    /// Its value says what `value` is.
    Name,
    /// Both of these.
    Key,
    /// Its value is what a name before it says.
    Value,
    Other,
}

impl Role {
    fn of(key: &[u8]) -> Self {
        let is = |word: &[u8]| key.eq_ignore_ascii_case(word);
        match key.len() {
            2 if is(b"is") => Self::Verb,
            2 if is(b"no") => Self::Count,
            2 if is(b"id") => Self::Part,
            3 if is(b"no.") => Self::Count,
            3 if is(b"key") => Self::Key,
            4 if is(b"code") => Self::Part,
            4 if is(b"name") => Self::Name,
            5 if is(b"value") => Self::Value,
            6 if is(b"number") => Self::Count,
            6 if is(b"system") => Self::Name,
            11 if is(b"stringvalue") => Self::Value,
            _ => Self::Other,
        }
    }
}

/// What the key at `key` says, together with the words before it if it says nothing without them: `NHS number`, `medical record no.`.
/// `None`: it is too short for a key.
fn class_of(scan: &Scan<'_>, mut key: Range<usize>, mut role: Role) -> Option<KeyClass> {
    let text = scan.text;
    let before = |key: &Range<usize>| match text[..key.start].last() {
        Some(b' ') => key_before(scan, key.start),
        _ => key.start..key.start,
    };
    if role == Role::Verb {
        key = before(&key);
        role = Role::of(&text[key.clone()]);
    }
    if !matches!(role, Role::Count | Role::Part | Role::Key) {
        return (key.len() >= KEY_BYTES_MIN).then(|| classify(&text[key]));
    }
    let one = before(&key);
    let class = classify(&text[one.start..key.end]);
    if !class.is_none() || one.is_empty() {
        return Some(class);
    }
    let class = if role == Role::Count { classify(&text[one.clone()]) } else { class };
    let two = before(&one);
    // A word that says something by itself is not the first of a name.
    if !class.is_none() || two.is_empty() || !classify(&text[two.clone()]).is_none() {
        return Some(class);
    }
    Some(classify(&text[two.start..one.end]) | classify(&text[two.start..key.end]))
}

/// What a pair is whose key does not say it.
enum Naming {
    /// Its value is the name of something sensitive: `"name": "password"`.
    Name(KeyClass),
    /// Its value is what was named before: `"value": "…"`.
    Value(KeyClass),
    Neither,
}

/// Names and values that stand in pairs of their own: headers, environment variables, attributes, identifiers.
fn named_by(scan: &Scan<'_>, role: Role, separator: usize, named: Option<(KeyClass, usize)>) -> Naming {
    if matches!(role, Role::Name | Role::Key) {
        let rest = &scan.text[separator + 1..];
        let start =
            rest.iter().take(BETWEEN_MAX).take_while(|byte| matches!(byte, b' ' | b'"' | b'\'' | b'\\')).count();
        let name = rest[start..].iter().take(KEY_BYTES_MAX).take_while(|&&byte| !End::Word.is_at(byte)).count();
        let class = classify(&rest[start..start + name]);
        return if class.is_none() { Naming::Neither } else { Naming::Name(class) };
    }
    match named {
        Some((class, at)) if role == Role::Value && separator - at <= NAMED_BYTES_MAX => Naming::Value(class),
        _ => Naming::Neither,
    }
}

/// `Key (phone)=(+44 20 7946 0958) already exists.`: how `PostgreSQL` says which value was there twice. Returns where it ends if something
/// is noted.
fn find_violation(scan: &mut Scan<'_>, separator: usize) -> Option<usize> {
    let text = scan.text;
    if separator == 0 || text[separator - 1] != b')' || text.get(separator + 1) != Some(&b'(') {
        return None;
    }
    let keys = text[..separator - 1].iter().rev().take(VALUE_BYTES_MAX).position(|&byte| byte == b'(')?;
    let keys = &text[separator - 1 - keys..separator - 1];
    let start = separator + 2;
    let mut depth = 1_i32;
    let end = (start..text.len()).take(VALUE_BYTES_MAX).find(|&at| {
        depth += i32::from(text[at] == b'(') - i32::from(text[at] == b')');
        depth == 0
    })?;
    let mut noted = false;
    let mut at = start;
    let values = text[start..end].split(|&byte| byte == b',');
    let names = keys.split(|&byte| byte == b',');
    // A value with a comma in it: which one it is of cannot be told, so what one key says holds for all.
    let paired = names.clone().count() == values.clone().count();
    let mut classes = names.map(classify);
    let all = (!paired).then(|| classes.clone().fold(KeyClass::NONE, KeyClass::bitor));
    for value in values {
        let class = all.or_else(|| classes.next()).unwrap_or_default();
        let inner = trimmed(value);
        noted |= !class.is_none() && find_value(scan, at + inner.start..at + inner.end, class);
        at += value.len() + 1;
    }
    noted.then_some(end)
}

/// Looks at the argument after each `--key`.
pub(super) fn find_arguments(scan: &mut Scan<'_>) {
    let text = scan.text;
    let mut done = 0;
    for dashes in scan.signals.runs(|block| block.dashes) {
        if dashes.len() != 2 || dashes.start < done || dashes.start.checked_sub(1).is_some_and(|at| is_word(text[at])) {
            continue;
        }
        let end = scan.signals.end(dashes.end, Block::tokens);
        let key = &text[dashes.end..end];
        let has_argument =
            text.get(end) == Some(&b' ') && text.get(end + 1).is_some_and(|byte| !matches!(byte, b'-' | b' '));
        if !has_argument || !(KEY_BYTES_MIN..=KEY_BYTES_MAX).contains(&key.len()) {
            continue;
        }
        let class = classify(key);
        if !class.is_none()
            && let Some(end) = find_pair(scan, end, class, Around::Arguments)
        {
            done = end;
        }
    }
}

/// Looks at the text of each element of XML, and at the attribute `value`, as FHIR has it: `<birthDate value="1984-03-17"/>`.
pub(super) fn find_elements(scan: &mut Scan<'_>) {
    const TAG_BYTES_MAX: usize = 256;
    const ATTRIBUTE: &[u8] = b"value=\"";
    let text = scan.text;
    for open in memchr_iter(b'<', text) {
        let name = scan.signals.end(open + 1, Block::keys).min(open + 1 + KEY_BYTES_MAX);
        // What is before a colon says where the name is from.
        let (from, name) = match text.get(name) {
            Some(b':') => (name + 1, scan.signals.end(name + 1, Block::keys).min(name + 1 + KEY_BYTES_MAX)),
            _ => (open + 1, name),
        };
        if name - from < KEY_BYTES_MIN {
            continue;
        }
        let class = classify(&text[from..name]);
        let tag = &text[name..text.len().min(name + TAG_BYTES_MAX)];
        let Some(tag) = memchr(b'>', tag).filter(|_| !class.is_none()).map(|end| &tag[..end]) else { continue };
        if let Some(attribute) = memmem::find(tag, ATTRIBUTE) {
            let start = name + attribute + ATTRIBUTE.len();
            find_value(scan, start..quoted_end(text, start).0, class);
        }
        let start = name + tag.len() + 1;
        let Some(length) = memchr(b'<', &text[start..]) else { return };
        let inner = trimmed(&text[start..start + length]);
        find_value(scan, start + inner.start..start + inner.end, class);
    }
}

/// A word with such an ending may be the name of a scheme: bearer, token, basic, -u, --user, `SharedAccessSignature`.
const SCHEME: u8 = 1;
/// A word with such an ending may be a key: password, passwd, passphrase, PASS, key, token, secret, id; or `is` after one.
const KEY: u8 = 1 << 1;

/// What a word may be by its last two bytes, of which the last five bits count. Asked first, because most words are neither.
static ENDINGS: [u8; 1024] = {
    let endings: [(&[u8; 2], u8); 13] = [
        (b"er", SCHEME),
        (b"en", SCHEME | KEY),
        (b"ic", SCHEME),
        (b"-u", SCHEME),
        (b"re", SCHEME),
        (b"rd", KEY),
        (b"wd", KEY),
        (b"se", KEY),
        (b"ss", KEY),
        (b"ey", KEY),
        (b"et", KEY),
        (b"id", KEY),
        (b"is", KEY),
    ];
    let mut table = [0; 1024];
    let mut at = 0;
    while at < endings.len() {
        let ([a, b], kind) = endings[at];
        table[((*a & 31) as usize) << 5 | (*b & 31) as usize] |= kind;
        at += 1;
    }
    table
};

fn ending(text: &[u8]) -> u8 {
    match *text {
        [.., a, b] => ENDINGS[usize::from(a & 31) << 5 | usize::from(b & 31)],
        _ => 0,
    }
}

/// Looks at what stands after a word without a separator: credentials after the name of their scheme, a number (`MRN 00123456`, `NHS no.
/// 943 476 5919`, `NPI#1234567893`, FHIR's `…/nhs-number|9434765919`), a secret.
pub(super) fn find_after_words(scan: &mut Scan<'_>, identity: bool) {
    let (text, signals) = (scan.text, scan.signals);
    let numbers = !identity && signals.numbers_after_words();
    let secrets = !identity && signals.secrets_after_words();
    let mut done = 0;
    for space in signals.places(|block| block.spaces) {
        if space < done {
            continue;
        }
        let ending = ending(&text[..space]);
        let mut found = if ending & SCHEME == 0 { None } else { credentials::find_scheme(scan, space) };
        if found.is_none() && numbers {
            found = find_number_after(scan, space);
        }
        if found.is_none() && secrets && ending & KEY != 0 {
            found = find_secret_after(scan, space);
        }
        done = found.unwrap_or(done);
    }
    if numbers && signals.bars() {
        let mut done = 0;
        for bar in memchr2_iter(b'#', b'|', text) {
            if bar >= done {
                done = find_number_after(scan, bar).unwrap_or(done);
            }
        }
    }
}

/// Looks at the word after `space`: a random one after the key of any secret (`the API key k3J9xQ2vL8pT5mWz is unknown`), one of letters and
/// digits after that of a password (`password is hunter2`). Returns where it ends if it is noted.
fn find_secret_after(scan: &mut Scan<'_>, space: usize) -> Option<usize> {
    /// Words of letters and digits that are said of passwords.
    const ALGORITHMS: [&[u8]; 10] = [
        b"argon2",
        b"argon2id",
        b"base64",
        b"oauth2",
        b"pbkdf2",
        b"sha256",
        b"sha384",
        b"sha512",
        b"sha-256",
        b"sha-512",
    ];
    let text = scan.text;
    let start = space + 1 + usize::from(matches!(text.get(space + 1), Some(b'"' | b'\'' | b'`')));
    let length = text.get(start..)?.iter().take(VALUE_BYTES_MAX).take_while(|&&byte| !End::Word.is_at(byte)).count();
    let value = &text[start..start + length];
    let is_mixed = value.iter().any(u8::is_ascii_digit) && value.iter().any(u8::is_ascii_alphabetic);
    if length < MIXED_BYTES_MIN || !is_mixed || value.iter().any(|byte| matches!(byte, b'=' | b':')) {
        return None;
    }
    let mut key = key_before(scan, space);
    if Role::of(&text[key.clone()]) == Role::Verb {
        key = key_before(scan, key.start);
    }
    if text[..key.start].ends_with(b"/") {
        return None;
    }
    let before = if text[..key.start].ends_with(b" ") { key_before(scan, key.start) } else { key.clone() };
    let class = classify(&text[before.start..key.end]);
    let class = if class.says(KeyClass::PASSWORD) && !ALGORITHMS.iter().any(|word| value.eq_ignore_ascii_case(word)) {
        KeyClass::SECRET
    } else if class.says(KeyClass::SECRET) {
        KeyClass::SECRET_IF_RANDOM
    } else if class.says(KeyClass::SESSION) && length >= TOKEN_BYTES_MIN {
        KeyClass::SESSION
    } else {
        return None;
    };
    find_value(scan, start..start + length, class).then_some(start + length)
}

/// Looks at the value that starts at `at` or soon after. Returns where it ends if it is noted.
fn find_pair(scan: &mut Scan<'_>, at: usize, class: KeyClass, around: Around) -> Option<usize> {
    let text = scan.text;
    let is_between = |byte: u8| matches!(byte, b' ' | b'=' | b'>' | b'\\' | b'"' | b'\'' | b'`');
    let (mut start, mut quote) = (at, None);
    // Up to the first quote: a second one would end an empty text.
    while quote.is_none() && start < text.len().min(at + BETWEEN_MAX) && is_between(text[start]) {
        start += 1;
        quote = matches!(text[start - 1], b'"' | b'\'' | b'`').then_some(start);
    }
    let kind = End::of(class);
    let end_at = |from: usize, most: usize| {
        (from..text.len())
            .take(most)
            .find(|&at| kind.is_at(text[at]))
            .unwrap_or(text.len().min(from.saturating_add(most)))
    };
    let most = if matches!(kind, End::Number | End::Field) { NUMBER_BYTES_MAX } else { usize::MAX };
    if quote.is_none() {
        start += text[start..].iter().take(BETWEEN_MAX).take_while(|&&byte| byte == b' ').count();
        quote = wrapped(text, start);
    }
    let end = if let Some(after_quote) = quote {
        start = after_quote;
        quoted_end(text, start).0.min(start.saturating_add(most))
    } else {
        // What is a secret only if it is random is decided by its first bytes, so that values that are none stay bounded.
        let always = KeyClass::SECRET | KeyClass::COOKIES | KeyClass::SESSION | KeyClass::AUTHORIZATION;
        let most = if class.says(always) { usize::MAX } else { most.min(VALUE_BYTES_MAX) };
        end_at(start, most)
    };
    let mut range = start..end.max(start);
    let inner = trimmed(&text[range.clone()]);
    range = range.start + inner.start..range.start + inner.end;
    // The backslashes of a quote that ends the text around are not part of it.
    if quote.is_none() && matches!(text.get(range.end), Some(b'"' | b'\'')) {
        range.end -= trailing_backslashes(&text[range.clone()]);
    }
    if class.says(KeyClass::SECRET) && quote.is_none() && detect(&text[range.clone()], class).is_some() {
        if is_prose(text, at, range.clone()) {
            return None;
        }
        if around == Around::Message {
            range.end = run_on_end(text, range.end);
        }
        if around != Around::Arguments && has_phrases(class, &text[range.clone()]) {
            range.end = phrase_end(text, range.end);
        }
    } else if class.says(KeyClass::BIRTH) && quote.is_none() {
        range.end = year_end(text, range.clone());
    }
    if matches!(kind, End::Number) && quote.is_none() {
        while range.end > range.start && !text[range.end - 1].is_ascii_digit() {
            range.end -= 1;
        }
        return find_number(scan, range, class);
    }
    if range.len() >= VALUE_BYTES_MAX && class.says(KeyClass::SECRET_IF_RANDOM) && quote.is_none() {
        range.end = end_at(range.start, usize::MAX);
    }
    let end = range.end;
    find_value(scan, range, class).then_some(end)
}

/// Where the text starts that a wrapper before it quotes: `Some("…")`, `SecretStr('…')`, `b'…'`.
fn wrapped(text: &[u8], start: usize) -> Option<usize> {
    const WRAPPER_BYTES_MAX: usize = 32;
    let is_part =
        |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':' | b'.' | b'&' | b'(' | b'{' | b'[');
    let wrapper = &text[start..];
    let wrapper = &wrapper[..wrapper.iter().take(WRAPPER_BYTES_MAX).take_while(is_part).count()];
    let opens = matches!(wrapper, [.., b'(' | b'{' | b'[']) || matches!(wrapper, [b'b' | b'u' | b'r' | b'N']);
    let quote = start + wrapper.len();
    (opens && matches!(text.get(quote), Some(b'"' | b'\''))).then_some(quote + 1)
}

/// Whether a message goes on where a value would be: `password: must contain a digit`.
fn is_prose(text: &[u8], at: usize, first: Range<usize>) -> bool {
    const WORDS: [&[u8]; 24] = [
        b"must",
        b"should",
        b"cannot",
        b"can't",
        b"is",
        b"was",
        b"has",
        b"does",
        b"rejected",
        b"This",
        b"Ensure",
        b"The",
        b"Too",
        b"size",
        b"permission",
        b"unauthorized",
        b"try",
        b"loaded",
        b"created",
        b"sent",
        b"updated",
        b"initialized",
        b"Creation",
        b"Still",
    ];
    text[..at].ends_with(b":") && text.get(first.end) == Some(&b' ') && WORDS.contains(&&text[first])
}

/// Where a secret without quotes ends whose first part ends at `end`: what separates fields is part of it, unless a space or the next
/// key follows.
fn run_on_end(text: &[u8], mut end: usize) -> usize {
    let is_key = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    while let Some((b'&' | b';' | b',', rest)) = text[end..].split_first() {
        let part = rest.iter().take_while(|&&byte| !End::Word.is_at(byte)).count();
        let key = rest.iter().take(KEY_BYTES_MAX).take_while(is_key).count();
        if part == 0 || key > 0 && matches!(rest.get(key), Some(b'=' | b':')) {
            break;
        }
        end += 1 + part;
    }
    end
}

/// Whether a value without quotes that starts with the word `first` can be of several words: a password, and a secret that starts
/// with a word. After a secret of the other kind the message goes on.
fn has_phrases(class: KeyClass, first: &[u8]) -> bool {
    class.says(KeyClass::PASSWORD) || class.says(KeyClass::SECRET) && first.iter().all(u8::is_ascii_alphabetic)
}

/// Where the words end that follow the first one of a secret without quotes: at what separates fields, and before the next key.
fn phrase_end(text: &[u8], first: usize) -> usize {
    let mut end = first;
    for _ in 0..PHRASE_WORDS_MAX {
        let rest = &text[end..];
        let word = rest.iter().skip(1).take_while(|&&byte| !End::Word.is_at(byte)).count();
        let after = rest.get(1 + word..).unwrap_or_default().trim_ascii_start();
        let is_key = rest.get(1..=word).is_some_and(|word| word.iter().any(|byte| b"=:[".contains(byte)))
            || matches!(after.first(), Some(b'=' | b':'));
        if rest.first() != Some(&b' ') || word == 0 || is_key {
            break;
        }
        end += 1 + word;
    }
    end
}

/// Where a date ends that was cut at a comma, as `Jan 31, 1980` is: after four digits, if there is no year before it.
fn year_end(text: &[u8], range: Range<usize>) -> usize {
    let Some(rest) = text[range.end..].strip_prefix(b",") else { return range.end };
    let year = rest.trim_ascii_start();
    let at = text.len() - year.len();
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let has_year = text[range.clone()].split(|byte| !byte.is_ascii_digit()).any(|run| run.len() >= 4);
    if digits(year) == 4 && !has_year && !range.is_empty() { at + 4 } else { range.end }
}

/// A number, or if it is not one of `class` its first word: other numbers may follow it.
fn find_number(scan: &mut Scan<'_>, range: Range<usize>, class: KeyClass) -> Option<usize> {
    if find_value(scan, range.clone(), class) {
        return Some(range.end);
    }
    let word = scan.bytes(range.clone()).iter().position(|&byte| byte == b' ')?;
    let first = range.start..range.start + word;
    let end = first.end;
    find_value(scan, first, class).then_some(end)
}

/// Looks at the number after the word that ends at `space`. Returns where it ends if it is noted.
fn find_number_after(scan: &mut Scan<'_>, space: usize) -> Option<usize> {
    const KINDS: [KeyClass; 9] = [
        KeyClass::CARD_CODE,
        KeyClass::PIN,
        KeyClass::CARD,
        KeyClass::SSN,
        KeyClass::NHS,
        KeyClass::NPI,
        KeyClass::MRN,
        KeyClass::PHONE,
        KeyClass::BIRTH,
    ];
    let text = scan.text;
    if !text.get(space + 1).is_some_and(|&byte| byte.is_ascii_digit() || matches!(byte, b'#' | b'+' | b'(')) {
        return None;
    }
    let key = key_before(scan, space);
    // The last part of a path, and a status after it.
    if text[..key.start].ends_with(b"/") && text[space] == b' ' {
        return None;
    }
    let role = Role::of(&text[key.clone()]);
    let class = class_of(scan, key, role)?;
    if !KINDS.iter().any(|&kind| class.says(kind)) {
        return None;
    }
    let start = (space..text.len()).take(3).find(|&at| !matches!(text[at], b' ' | b'#' | b'|')).unwrap_or(space);
    let is_part = |byte: u8| {
        byte.is_ascii_digit() || b"-+()./ ".contains(&byte) || class.says(KeyClass::MRN) && byte.is_ascii_alphanumeric()
    };
    let mut end = (start..text.len())
        .take(NUMBER_BYTES_MAX)
        .find(|&at| !is_part(text[at]))
        .unwrap_or(text.len().min(start + NUMBER_BYTES_MAX));
    if class.says(KeyClass::MRN) {
        end = (start..end).find(|&at| text[at] == b' ').unwrap_or(end);
    }
    while end > start && !text[end - 1].is_ascii_alphanumeric() {
        end -= 1;
    }
    find_number(scan, start..end, class)
}
