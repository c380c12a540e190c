//! Values that other characters hide: percent signs, escapes of JSON, digits and letters of other scripts, characters without
//! width, base64.
//!
//! A text is read a second time with percent signs decoded (twice, because values are often encoded twice), `\u0040`, `\/` and the
//! like decoded however many backslashes they have, decimal digits of all common scripts as ASCII digits, full-width letters as ASCII
//! letters, dashes and spaces as ASCII ones, and characters without width left out. Base64 of readable text is decoded once, if it
//! starts where its run of letters starts. Not found: values in hexadecimal, compressed, encrypted, encoded more often than that,
//! written in words or split over several attributes.

use std::ops::Range;

use super::keys::KeyClass;
use super::scan::{Scan, find_content};
use super::signals::{Block, Signals};
use super::{by_key, custom, url};

/// How often percent signs are decoded.
const PERCENT_ROUNDS: usize = 2;
/// Digits of base64 that are worth decoding: those of eleven bytes.
const BASE64_BYTES_MIN: usize = 15;
const DECODED_BYTES_MIN: usize = BASE64_BYTES_MIN * 3 / 4;

/// The zeros of blocks of ten decimal digits. Source: Unicode, general category Nd.
const ZEROS: [u32; 24] = [
    0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6, 0xe50, 0xed0, 0xf20,
    0x1040, 0x17e0, 0x1810, 0xff10, 0x1d7ce, 0x1d7d8, 0x1d7e2, 0x1d7ec,
];
/// The last block of mathematical digits.
const LAST_ZERO: u32 = 0x1d7f6;

/// First and last of the characters that are not shown. Source: Unicode, `Default_Ignorable_Code_Point`, and the marks of direction.
const NOT_SHOWN: [(u32, u32); 17] = [
    (0xad, 0xad),
    (0x34f, 0x34f),
    (0x61c, 0x61c),
    (0x115f, 0x1160),
    (0x17b4, 0x17b5),
    (0x180b, 0x180f),
    (0x200b, 0x200f),
    (0x202a, 0x202e),
    (0x2060, 0x206f),
    (0x3164, 0x3164),
    (0xfe00, 0xfe0f),
    (0xfeff, 0xfeff),
    (0xffa0, 0xffa0),
    (0xfff0, 0xfff8),
    (0x1bca0, 0x1bca3),
    (0x1d173, 0x1d17a),
    (0xe_0000, 0xe_0fff),
];

/// A text as read, and for each byte of it where in the original it comes from; one place more for the end.
struct Reading {
    text: Vec<u8>,
    places: Vec<u32>,
}

/// What stands for a character beyond ASCII: itself, an ASCII character, or nothing.
enum Meaning {
    Itself,
    Ascii(u8),
    Nothing,
}

fn meaning(character: char) -> Meaning {
    let code = u32::from(character);
    let digit = ZEROS
        .iter()
        .chain([&LAST_ZERO])
        .find_map(|zero| u8::try_from(code.checked_sub(*zero)?).ok().filter(|digit| *digit < 10));
    if let Some(digit) = digit {
        return Meaning::Ascii(b'0' + digit);
    }
    match code {
        0xff01..=0xff5e => u8::try_from(code - 0xff01 + 0x21).map_or(Meaning::Itself, Meaning::Ascii),
        _ if NOT_SHOWN.iter().any(|(first, last)| (*first..=*last).contains(&code)) => Meaning::Nothing,
        0xa0 | 0x2000..=0x200a | 0x202f | 0x205f | 0x3000 => Meaning::Ascii(b' '),
        0x2010..=0x2015 | 0x2212 | 0xfe63 => Meaning::Ascii(b'-'),
        0x2024 => Meaning::Ascii(b'.'),
        _ => Meaning::Itself,
    }
}

/// Whether `text` reads otherwise than it is spelled; most texts with a backslash or beyond ASCII do not.
fn hides_something(text: &[u8]) -> bool {
    let hex = |digits: Option<&[u8]>| digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    memchr::memchr_iter(b'%', text).any(|at| hex(text.get(at + 1..at + 3)))
        || memchr::memchr_iter(b'\\', text).any(|at| match text.get(at + 1) {
            Some(b'u') => hex(text.get(at + 2..at + 6)),
            Some(b'/') => true,
            _ => false,
        })
        || !text.is_ascii()
            && text
                .utf8_chunks()
                .flat_map(|chunk| chunk.valid().chars())
                .any(|character| !character.is_ascii() && !matches!(meaning(character), Meaning::Itself))
}

impl Reading {
    fn of(text: &[u8]) -> Option<Self> {
        if !hides_something(text) {
            return None;
        }
        let mut text = text.to_vec();
        let mut places: Vec<u32> = (0..=u32::try_from(text.len()).ok()?).collect();
        let mut changed = false;
        for _ in 0..PERCENT_ROUNDS {
            if memchr::memchr(b'%', &text).is_none() || !decode(&mut text, &mut places, percent) {
                break;
            }
            changed = true;
        }
        changed |= memchr::memchr(b'\\', &text).is_some() && decode(&mut text, &mut places, escape);
        changed |= !text.is_ascii() && replace_characters(&mut text, &mut places);
        changed.then_some(Self { text, places })
    }
}

/// Bytes that others stand for, and how many of them there are.
type Decoded = ([u8; 4], usize);

/// Puts what is decoded in the place of what stands for it; false if nothing does. `unit` says of the rest of a text how many bytes
/// belong together, and what they stand for, which is shorter; `None`: themselves.
fn decode(text: &mut Vec<u8>, places: &mut Vec<u32>, unit: impl Fn(&[u8]) -> (usize, Option<Decoded>)) -> bool {
    let (mut read, mut write) = (0, 0);
    while read < text.len() {
        let (length, decoded) = unit(&text[read..]);
        if let Some((bytes, count)) = decoded {
            let from = places[read];
            text[write..write + count].copy_from_slice(&bytes[..count]);
            places[write..write + count].fill(from);
            write += count;
        } else {
            text.copy_within(read..read + length, write);
            places.copy_within(read..read + length, write);
            write += length;
        }
        read += length;
    }
    places[write] = places[read];
    let changed = write < read;
    text.truncate(write);
    places.truncate(write + 1);
    changed
}

/// The number that hexadecimal digits stand for.
fn hexadecimal(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number, &digit| Some(number << 4 | char::from(digit).to_digit(16)?))
}

/// `%41` and the like.
fn percent(rest: &[u8]) -> (usize, Option<Decoded>) {
    let [b'%', high, low, ..] = *rest else { return (1, None) };
    match hexadecimal(&[high, low]).and_then(|byte| u8::try_from(byte).ok()) {
        Some(byte) => (3, Some(([byte, 0, 0, 0], 1))),
        None => (1, None),
    }
}

/// `\u0041` and `\/`, also with more backslashes, as JSON inside JSON has them. Half of a character beyond the basic plane stays as it is.
fn escape(rest: &[u8]) -> (usize, Option<Decoded>) {
    let slashes = rest.iter().take_while(|&&byte| byte == b'\\').count();
    if slashes == 0 {
        return (1, None);
    }
    let (length, character) = match rest[slashes..] {
        [b'u', a, b, c, d, ..] => (5, hexadecimal(&[a, b, c, d]).and_then(char::from_u32)),
        [b'/', ..] => (1, Some('/')),
        _ => (0, None),
    };
    let decoded = character.map(|character| {
        let mut bytes = [0; 4];
        let count = character.encode_utf8(&mut bytes).len();
        (bytes, count)
    });
    (slashes + if decoded.is_some() { length } else { 0 }, decoded)
}

/// Puts ASCII in place of characters that mean the same; false if there are none.
fn replace_characters(text: &mut Vec<u8>, places: &mut Vec<u32>) -> bool {
    let mut changed = false;
    let mut out = Vec::with_capacity(text.len());
    let mut out_places = Vec::with_capacity(places.len());
    let mut at = 0;
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            let width = character.len_utf8();
            let one = match if character.is_ascii() { Meaning::Itself } else { meaning(character) } {
                Meaning::Itself => {
                    out.extend_from_slice(&text[at..at + width]);
                    out_places.extend_from_slice(&places[at..at + width]);
                    at += width;
                    continue;
                }
                Meaning::Ascii(byte) => Some(byte),
                Meaning::Nothing => None,
            };
            changed = true;
            if let Some(byte) = one {
                out.push(byte);
                out_places.push(places[at]);
            }
            at += width;
        }
        let bad = chunk.invalid().len();
        out.extend_from_slice(chunk.invalid());
        out_places.extend_from_slice(&places[at..at + bad]);
        at += bad;
    }
    out_places.push(places[at]);
    if changed {
        *text = out;
        *places = out_places;
    }
    changed
}

/// Runs the detectors on what the text reads as, if that is something else.
pub(super) fn find_hidden(scan: &mut Scan<'_>, key: &[u8], class: KeyClass) {
    let Some(Reading { text, places }) = Reading::of(scan.text) else { return };
    let signals = Signals::of(&text);
    let mut scan = scan.reading(&text, &signals, &places);
    let identity = class.says(KeyClass::IDENTITY);
    if !identity && !class.is_none() {
        by_key::find_whole(&mut scan, class);
    }
    if !identity && signals.url() {
        url::find_hidden(&mut scan);
    }
    find_content(&mut scan, identity);
    custom::find(&mut scan, key, identity);
    if signals.tokens() {
        find_base64(&mut scan);
    }
}

/// Runs the detectors on what base64 in the text stands for; what it stands for goes as a whole if something is found in it.
///
/// A slash is part of an alphabet and also what paths are made of, so runs are looked at with slashes and without.
pub(super) fn find_base64(scan: &mut Scan<'_>) {
    let (text, signals) = (scan.text, scan.signals);
    let mut decoded = Vec::new();
    for run in signals.runs(Block::base64).filter(|run| run.len() >= BASE64_BYTES_MIN) {
        find_in_base64(scan, run.clone(), &mut decoded);
        let mut start = run.start;
        for part in text[run.clone()].split(|&byte| byte == b'/') {
            if part.len() >= BASE64_BYTES_MIN && part.len() < run.len() {
                find_in_base64(scan, start..start + part.len(), &mut decoded);
            }
            start += part.len() + 1;
        }
    }
}

/// Looks at one run; it starts at the first letter or digit, because dashes and slashes stand between words too.
fn find_in_base64(scan: &mut Scan<'_>, mut run: Range<usize>, decoded: &mut Vec<u8>) {
    run.start += scan.bytes(run.clone()).iter().take_while(|byte| !byte.is_ascii_alphanumeric()).count();
    if run.len() < BASE64_BYTES_MIN {
        return;
    }
    let encoded = scan.bytes(run.clone());
    // Nothing is allocated before it is known that this is text.
    let mut readable = 0;
    decode_readable(&encoded[..BASE64_BYTES_MIN], |_| readable += 1);
    if readable < DECODED_BYTES_MIN {
        return;
    }
    decoded.clear();
    decoded.reserve(encoded.len());
    decode_readable(encoded, |byte| decoded.push(byte));
    let padding = scan.text[run.end..].iter().take(2).take_while(|&&byte| byte == b'=').count();
    let mut inner = Vec::new();
    let signals = Signals::of(decoded);
    let mut reading = Scan::new(decoded, &signals, scan.masking, &mut inner, None);
    url::find_passwords(&mut reading);
    find_content(&mut reading, false);
    for detector in inner.iter().map(|found| found.detector) {
        scan.push_whole(run.start..run.end + padding, detector, scan.masking.marker(detector));
    }
}

/// Decodes as far as the text stays readable, which most that is no base64 of text does not for three bytes, and hands over
/// each byte.
#[inline]
fn decode_readable(encoded: &[u8], mut each: impl FnMut(u8)) {
    let (mut bits, mut have, mut count) = (0_u32, 0, 0);
    for &digit in encoded {
        let Some(value) = crate::base64::value(digit) else { break };
        bits = (bits << 6 | value) & 0xffff;
        have += 6;
        if have >= 8 {
            have -= 8;
            let [.., byte] = (bits >> have).to_be_bytes();
            if byte < 0x20 && !matches!(byte, b'\t' | b'\r' | b'\n') || byte == 0x7f || byte >= 0x80 && count < 3 {
                break;
            }
            count += 1;
            each(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        Reading::of(text.as_bytes())
            .map_or_else(|| text.to_owned(), |reading| String::from_utf8_lossy(&reading.text).into_owned())
    }

    #[test]
    fn hidden_characters_are_read() {
        assert_eq!(read("a%40b%2Ecd"), "a@b.cd");
        assert_eq!(read("a%2540b"), "a@b");
        assert_eq!(read("\u{ff14}\u{664}\u{1d7da}"), "442");
        assert_eq!(read("1\u{200b}2\u{2011}3\u{a0}4"), "12-3 4");
        assert_eq!(read("%zz%4"), "%zz%4");
        assert_eq!(read(r"a:\/\\/b \n"), r"a://b \n");
        assert_eq!(read(r"j\u00fcrgen\\u0040b.cd"), "j\u{fc}rgen@b.cd");
        assert_eq!(read(r"\u00 \ud83d \\ C:\users\ufo"), r"\u00 \ud83d \\ C:\users\ufo");
    }

    #[test]
    fn places_lead_back() {
        let text = "x\u{200b}%34%31\u{e9}y";
        let reading = Reading::of(text.as_bytes()).expect("something is hidden");
        assert_eq!(reading.text, "x41\u{e9}y".as_bytes());
        assert_eq!(reading.places.iter().map(|&place| place as usize).collect::<Vec<_>>(), [0, 4, 7, 10, 11, 12, 13]);
    }
}
