//! One pass over a text that says what cannot be in it, and where what could be starts: most texts are looked at once and by no
//! detector, and a detector looks only where the bits of its bytes are set.
//!
//! The pass reads 16 bytes at a time and keeps a bit of each byte for each kind of byte (as simdjson does for JSON: Langdale and Lemire,
//! Parsing gigabytes of JSON per second, 2019, arXiv:1902.08318).

use std::ops::Range;

use wide::u8x16;

/// Which of 64 neighbouring bytes are of a kind; the first is the lowest bit.
#[derive(Clone, Copy, Default)]
pub(super) struct Block {
    letters: u64,
    digits: u64,
    beyond_ascii: u64,
    underscores: u64,
    pub(super) dashes: u64,
    pluses: u64,
    pub(super) spaces: u64,
    pub(super) at: u64,
    pub(super) colons: u64,
    pub(super) equals: u64,
    pub(super) slashes: u64,
    pub(super) dots: u64,
}

impl Block {
    const BYTES: usize = 64;

    pub(super) const fn digits(&self) -> u64 {
        self.digits
    }

    /// Letters and digits of ASCII.
    pub(super) const fn alphanumeric(&self) -> u64 {
        self.letters | self.digits
    }

    /// What words are made of: letters, digits and characters beyond ASCII.
    pub(super) const fn words(&self) -> u64 {
        self.alphanumeric() | self.beyond_ascii
    }

    /// What names in a program are made of.
    pub(super) const fn names(&self) -> u64 {
        self.words() | self.underscores
    }

    /// What keys are made of, but for the dollar sign.
    pub(super) const fn keys(&self) -> u64 {
        self.tokens() | self.dots
    }

    /// Letters, digits, `-` and `_`.
    pub(super) const fn tokens(&self) -> u64 {
        self.alphanumeric() | self.underscores | self.dashes
    }

    /// The digits of both alphabets of base64.
    pub(super) const fn base64(&self) -> u64 {
        self.tokens() | self.pluses | self.slashes
    }

    /// What stands between a key and its value.
    pub(super) const fn separators(&self) -> u64 {
        self.colons | self.equals
    }
}

/// What bytes of a text are, and what could be in it.
#[derive(Default)]
pub(super) struct Signals {
    blocks: Vec<Block>,
    /// Which of the kinds below occur.
    seen: u8,
    length: usize,
    digits: u32,
    has_key: bool,
    has_long_key: bool,
}

const WHITE: u8 = 1;
const PERCENT: u8 = 1 << 1;
const QUESTION: u8 = 1 << 2;
const OPERATOR: u8 = 1 << 3;
/// `#`, and `|` too.
const BAR: u8 = 1 << 4;
const LETTER_M: u8 = 1 << 5;
const TILDE: u8 = 1 << 6;
const BACKSLASH: u8 = 1 << 7;

/// Length from which a run of letters, digits, `-` and `_` may be a key, a token or base64.
pub(super) const TOKEN_BYTES_MIN: usize = 16;
/// Length of the longest part that each of the keys has which are known by their form and not by a prefix.
pub(super) const LONG_TOKEN_BYTES_MIN: usize = 24;
/// Digits that the shortest number with a checksum or a format of its own has.
const NUMBER_DIGITS_MIN: u32 = 9;
/// Digits that the shortest IBAN has: two of its check, five of a bank.
const IBAN_DIGITS_MIN: u32 = 7;

/// Bytes that are read at a time.
const LANE_BYTES: usize = 16;

impl Block {
    /// The block of `N` lanes.
    #[inline]
    fn of<const N: usize>(lanes: &[[u8; LANE_BYTES]; N], seen: &mut u8x16) -> Self {
        let lanes = lanes.map(u8x16::new);
        let small = lanes.map(|lane| lane | u8x16::splat(0x20));
        let is = |byte: u8| bits(lanes.map(|lane| lane.simd_eq(u8x16::splat(byte))));
        for (lane, small) in lanes.into_iter().zip(small) {
            let is = |byte: u8| lane.simd_eq(u8x16::splat(byte));
            let operator = is(b'\'') | is(b'"') | is(b'`') | is(b'(') | is(b'<') | is(b'>') | is(b'$');
            *seen |= (within(lane, b'\t', b'\n') | is(b'\r')) & u8x16::splat(WHITE)
                | is(b'%') & u8x16::splat(PERCENT)
                | is(b'?') & u8x16::splat(QUESTION)
                | operator & u8x16::splat(OPERATOR)
                | (is(b'#') | is(b'|')) & u8x16::splat(BAR)
                | small.simd_eq(u8x16::splat(b'm')) & u8x16::splat(LETTER_M)
                | is(b'~') & u8x16::splat(TILDE)
                | is(b'\\') & u8x16::splat(BACKSLASH);
        }
        Self {
            letters: bits(small.map(|lane| within(lane, b'a', b'z'))),
            digits: bits(lanes.map(|lane| within(lane, b'0', b'9'))),
            // The highest bit of each byte, whatever the others are.
            beyond_ascii: bits(lanes),
            underscores: is(b'_'),
            dashes: is(b'-'),
            pluses: is(b'+'),
            spaces: is(b' '),
            at: is(b'@'),
            colons: is(b':'),
            equals: is(b'='),
            slashes: is(b'/'),
            dots: is(b'.'),
        }
    }

    /// The block of up to 64 bytes.
    #[inline]
    fn read(bytes: &[u8], seen: &mut u8x16) -> Self {
        let mut lanes = [[0; LANE_BYTES]; Self::BYTES / LANE_BYTES];
        let (whole, rest) = bytes.as_chunks::<LANE_BYTES>();
        for (lane, whole) in lanes.iter_mut().zip(whole) {
            *lane = *whole;
        }
        if let Some(lane) = lanes.get_mut(whole.len()) {
            lane[..rest.len()].copy_from_slice(rest);
        }
        match bytes.len().div_ceil(LANE_BYTES) {
            0 | 1 => Self::of(&[lanes[0]], seen),
            2 => Self::of(&[lanes[0], lanes[1]], seen),
            3 => Self::of(&[lanes[0], lanes[1], lanes[2]], seen),
            _ => Self::of(&lanes, seen),
        }
    }
}

/// The highest bits of all bytes.
#[inline]
fn bits<const N: usize>(lanes: [u8x16; N]) -> u64 {
    lanes.into_iter().rev().fold(0, |bits, lane| bits << LANE_BYTES | u64::from(lane.to_bitmask()))
}

/// Where a byte is from `low` to `high`.
#[inline]
fn within(bytes: u8x16, low: u8, high: u8) -> u8x16 {
    let above = bytes - u8x16::splat(low);
    above.min(u8x16::splat(high - low)).simd_eq(above)
}

impl Signals {
    /// Those of `text`.
    pub(super) fn of(text: &[u8]) -> Self {
        let mut signals = Self::default();
        signals.read(text);
        signals
    }

    /// Reads `text` once, instead of what was read before.
    pub(super) fn read(&mut self, text: &[u8]) {
        let mut seen = u8x16::default();
        (self.digits, self.length) = (0, text.len());
        (self.has_key, self.has_long_key) = (false, false);
        let mut before = 0;
        self.blocks.clear();
        for bytes in text.chunks(Block::BYTES) {
            let block = Block::read(bytes, &mut seen);
            self.digits += block.digits.count_ones();
            let tokens = block.tokens();
            self.note_runs(tokens);
            if before >> (Block::BYTES - 1) & tokens & 1 == 1 {
                self.note_runs(before >> (Block::BYTES / 2) | tokens << (Block::BYTES / 2));
            }
            before = tokens;
            self.blocks.push(block);
        }
        let lanes = u128::from_le_bytes(seen.to_array());
        let halves = [64, 32, 16, 8].into_iter().fold(lanes, |lanes, half| lanes | lanes >> half);
        [self.seen, ..] = halves.to_le_bytes();
    }

    /// Looks for long tokens in the bits of their bytes.
    fn note_runs(&mut self, tokens: u64) {
        // A bit stays where as many bits follow as the shifts add up to.
        let long = [1, 2, 4, 8].into_iter().fold(tokens, |runs, shift| runs & runs >> shift);
        self.has_key |= long != 0;
        self.has_long_key |= long & long >> (LONG_TOKEN_BYTES_MIN - TOKEN_BYTES_MIN) != 0;
    }

    /// The bytes of a kind.
    pub(super) fn places(&self, of: impl Fn(&Block) -> u64) -> impl Iterator<Item = usize> {
        self.bits(move |block, _| of(block))
    }

    /// The bytes of a kind before which none of that kind stands.
    pub(super) fn starts(&self, of: impl Fn(&Block) -> u64) -> impl Iterator<Item = usize> {
        self.bits(move |block, before| {
            let bits = of(block);
            bits & !(bits << 1 | before.map_or(0, &of) >> (Block::BYTES - 1))
        })
    }

    /// The places where bytes of a kind stand together.
    pub(super) fn runs(&self, of: impl Fn(&Block) -> u64 + Copy) -> impl Iterator<Item = Range<usize>> {
        self.starts(of).map(move |start| start..self.end(start, of))
    }

    /// Where the bytes of a kind from `start` on end.
    pub(super) fn end(&self, start: usize, of: impl Fn(&Block) -> u64) -> usize {
        let (mut number, mut skipped) = (start / Block::BYTES, start % Block::BYTES);
        while let Some(block) = self.blocks.get(number) {
            let others = !of(block) >> skipped;
            if others != 0 {
                return number * Block::BYTES + skipped + others.trailing_zeros() as usize;
            }
            (number, skipped) = (number + 1, 0);
        }
        self.length
    }

    /// Where the bytes of a kind that end before `end` start.
    pub(super) fn start(&self, end: usize, of: impl Fn(&Block) -> u64) -> usize {
        let (mut number, mut bytes) = (end / Block::BYTES, end % Block::BYTES);
        loop {
            // Of this block the bytes before `bytes`, the last of them in the highest bit.
            let others = match (self.blocks.get(number), bytes) {
                (Some(block), 1..) => !of(block) << (Block::BYTES - bytes) >> (Block::BYTES - bytes),
                _ => 0,
            };
            if others != 0 {
                return (number + 1) * Block::BYTES - others.leading_zeros() as usize;
            }
            let Some(before) = number.checked_sub(1) else { return 0 };
            (number, bytes) = (before, Block::BYTES);
        }
    }

    /// Places of the bits that `of` says of each block, which it is told together with the one before.
    fn bits(&self, of: impl Fn(&Block, Option<&Block>) -> u64) -> impl Iterator<Item = usize> {
        let (mut number, mut left) = (0, 0_u64);
        std::iter::from_fn(move || {
            while left == 0 {
                let block = self.blocks.get(number)?;
                left = of(block, number.checked_sub(1).map(|before| &self.blocks[before]));
                number += 1;
            }
            let bit = left.trailing_zeros() as usize;
            left &= left - 1;
            Some((number - 1) * Block::BYTES + bit)
        })
    }

    #[inline]
    const fn has(&self, kinds: u8) -> bool {
        self.seen & kinds != 0
    }

    #[inline]
    fn any(&self, of: impl Fn(&Block) -> u64) -> bool {
        self.blocks.iter().any(|block| of(block) != 0)
    }

    #[inline]
    fn has_space(&self) -> bool {
        self.has(WHITE) || self.any(|block| block.spaces)
    }

    /// Whether no detector that needs no key could find anything in `text`, of which these are the signals.
    #[inline]
    pub(super) fn rules_out_all(&self, text: &[u8]) -> bool {
        (self.is_plain() || self.is_one_token() && is_hex_id(text))
            && !(self.mrn() && self.starts(Block::words).any(|start| starts_with_mrn(&text[start..])))
    }

    #[inline]
    fn is_plain(&self) -> bool {
        !(self.numbers()
            || self.tokens()
            || self.has(OPERATOR | QUESTION | PERCENT | BACKSLASH)
            || self.any(|block| block.at | block.separators() | block.beyond_ascii)
            || self.schemes()
            || self.numbers_after_words())
    }

    /// Letters, digits, `-` and `_` and nothing else.
    #[inline]
    fn is_one_token(&self) -> bool {
        self.end(0, Block::tokens) == self.length
    }

    /// Words or the parts of a path; what has none is an id or a number more often than not.
    pub(super) fn words(&self) -> bool {
        self.has_space() || self.any(|block| block.slashes)
    }

    /// A number with a checksum or a format of its own.
    pub(super) fn numbers(&self) -> bool {
        self.digits >= NUMBER_DIGITS_MIN
    }

    /// An IBAN, whose account can be mostly letters.
    pub(super) fn iban(&self) -> bool {
        self.digits >= IBAN_DIGITS_MIN
    }

    /// Such a number in groups.
    pub(super) fn groups(&self) -> bool {
        self.has_space() || self.any(|block| block.dashes)
    }

    /// MRN with a number after it.
    #[inline]
    pub(super) const fn mrn(&self) -> bool {
        self.digits >= 5 && self.has(LETTER_M)
    }

    /// An e-mail address.
    pub(super) fn email(&self) -> bool {
        self.at() && self.any(|block| block.dots)
    }

    /// What ends with an @: the part of an e-mail address before it, or the credentials of a URL.
    pub(super) fn at(&self) -> bool {
        self.any(|block| block.at)
    }

    /// A key with its value: `key=value`, `key: value`, `"key": "value"`.
    pub(super) fn pairs(&self) -> bool {
        self.any(Block::separators)
    }

    /// The argument of a command line.
    pub(super) fn arguments(&self) -> bool {
        self.has_space() && self.any(|block| block.dashes & block.dashes >> 1)
    }

    /// An element of XML: it is closed, with a slash.
    pub(super) fn elements(&self) -> bool {
        self.has(OPERATOR) && self.any(|block| block.slashes)
    }

    /// A word with a number after it.
    pub(super) fn numbers_after_words(&self) -> bool {
        self.digits >= 3 && (self.has(BAR) || self.has_space())
    }

    /// A token long enough for a key of a service, a JWT or base64.
    pub(super) fn tokens(&self) -> bool {
        self.has_key
    }

    /// A token as long as one part of the keys that are known by their form.
    pub(super) fn long_tokens(&self) -> bool {
        self.has_long_key
    }

    /// A secret of Microsoft Entra, which has a tilde in it.
    pub(super) fn tilde(&self) -> bool {
        self.tokens() && self.has(TILDE)
    }

    /// Credentials after the name of their scheme.
    pub(super) fn schemes(&self) -> bool {
        self.has_space() && self.length >= WORDS_BYTES_MIN
    }

    /// What stands between a word and a number without a space.
    pub(super) fn bars(&self) -> bool {
        self.has(BAR)
    }

    /// A word of letters and digits after another word.
    pub(super) fn secrets_after_words(&self) -> bool {
        self.digits >= 1 && self.schemes()
    }

    /// The head of a private key.
    pub(super) fn private_key(&self) -> bool {
        self.any(|block| block.dashes) && self.has_space() && self.length >= 27
    }

    /// A URL or a connection string with credentials or with a query.
    pub(super) fn url(&self) -> bool {
        (self.at() || self.has(QUESTION)) && (self.any(|block| block.slashes) || self.pairs())
            || self.has(BAR) && self.pairs()
    }

    /// A statement of SQL with literals.
    pub(super) fn sql(&self) -> bool {
        self.has_space() && (self.any(|block| block.equals) || self.has(OPERATOR))
    }

    /// Characters that stand for others.
    pub(super) fn hidden(&self) -> bool {
        self.any(|block| block.beyond_ascii) || self.has(PERCENT | BACKSLASH)
    }

    /// An IP address.
    pub(super) fn ip_address(&self) -> bool {
        self.digits >= 1 && (self.any(|block| block.dots) || self.pairs())
    }
}

/// Whether `text` starts with MRN in any case.
pub(super) fn starts_with_mrn(text: &[u8]) -> bool {
    text.get(..3).is_some_and(|name| name.eq_ignore_ascii_case(b"mrn"))
}

/// Whether `text` is a UUID or a hexadecimal number of a length that ids and hashes have. With few letters in it, it may be an
/// IBAN of Belgium or Andorra as well, or a card number in a UUID's place.
#[inline]
fn is_hex_id(text: &[u8]) -> bool {
    const LETTERS_MIN: usize = 4;
    let letters = text.iter().filter(|byte| byte.is_ascii_alphabetic()).count();
    let fits = match text.len() {
        36 => text
            .iter()
            .enumerate()
            .all(|(at, byte)| if matches!(at, 8 | 13 | 18 | 23) { *byte == b'-' } else { byte.is_ascii_hexdigit() }),
        16 | 24 | 32 | 40 | 48 | 56 | 64 | 96 | 128 => text.iter().all(u8::is_ascii_hexdigit),
        _ => false,
    };
    fits && letters >= LETTERS_MIN
}

/// Bytes of the shortest text with a scheme and credentials after it.
const WORDS_BYTES_MIN: usize = 13;

#[cfg(test)]
mod tests {
    use super::*;

    /// What a kind is, said byte by byte.
    type Is = fn(u8) -> bool;
    type Kind = (fn(&Block) -> u64, Is);

    const KINDS: [Kind; 15] = [
        (Block::digits, |byte| byte.is_ascii_digit()),
        (Block::alphanumeric, |byte| byte.is_ascii_alphanumeric()),
        (Block::words, |byte| byte.is_ascii_alphanumeric() || byte >= 0x80),
        (Block::names, |byte| byte.is_ascii_alphanumeric() || byte >= 0x80 || byte == b'_'),
        (Block::keys, |byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)),
        (Block::tokens, |byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)),
        (Block::base64, |byte| crate::base64::value(byte).is_some()),
        (Block::separators, |byte| b":=".contains(&byte)),
        (|block| block.dashes, |byte| byte == b'-'),
        (|block| block.spaces, |byte| byte == b' '),
        (|block| block.at, |byte| byte == b'@'),
        (|block| block.colons, |byte| byte == b':'),
        (|block| block.equals, |byte| byte == b'='),
        (|block| block.slashes, |byte| byte == b'/'),
        (|block| block.dots, |byte| byte == b'.'),
    ];

    fn runs(text: &[u8], is: Is) -> Vec<Range<usize>> {
        let mut runs: Vec<Range<usize>> = Vec::new();
        for at in (0..text.len()).filter(|&at| is(text[at])) {
            match runs.last_mut() {
                Some(run) if run.end == at => run.end += 1,
                _ => runs.push(at..at + 1),
            }
        }
        runs
    }

    /// Texts of all lengths up to three blocks, of any bytes or of few, so that runs of all lengths cross the borders of blocks.
    fn texts() -> impl Iterator<Item = Vec<u8>> {
        let mut random = 7_u64;
        let mut next = move || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33).to_le_bytes()[0]
        };
        (0..200)
            .flat_map(|length| [(length, &b""[..]), (length, b"aaaaaaaaaaaaaaaaaaa1."), (length, b"Ab-_/+=: 09@.")])
            .map(move |(length, of)| {
                let bytes =
                    (0..length).map(|_| if of.is_empty() { next() } else { of[usize::from(next()) % of.len()] });
                bytes.collect()
            })
    }

    #[test]
    fn bits_are_those_of_the_bytes() {
        let mut signals = Signals::default();
        for text in texts() {
            signals.read(&text);
            for (of, is) in KINDS {
                let expected = runs(&text, is);
                assert_eq!(signals.runs(of).collect::<Vec<_>>(), expected, "{text:?}");
                let places: Vec<usize> = (0..text.len()).filter(|&at| is(text[at])).collect();
                assert_eq!(signals.places(of).collect::<Vec<_>>(), places, "{text:?}");
                for end in 0..=text.len() {
                    let length = text[..end].iter().rev().take_while(|&&byte| is(byte)).count();
                    assert_eq!(signals.start(end, of), end - length, "{end} {text:?}");
                    let length = text[end..].iter().take_while(|&&byte| is(byte)).count();
                    assert_eq!(signals.end(end, of), end + length, "{end} {text:?}");
                }
            }
        }
    }

    #[test]
    fn what_is_seen_is_there() {
        for text in texts() {
            let signals = Signals::of(&text);
            let longest = runs(&text, KINDS[5].1).iter().map(Range::len).max().unwrap_or(0);
            assert_eq!(signals.tokens(), longest >= TOKEN_BYTES_MIN, "{text:?}");
            assert_eq!(signals.long_tokens(), longest >= LONG_TOKEN_BYTES_MIN, "{text:?}");
            assert_eq!(signals.is_one_token(), longest == text.len(), "{text:?}");
            assert_eq!(signals.digits as usize, text.iter().filter(|byte| byte.is_ascii_digit()).count(), "{text:?}");
            let has = |kind: &[u8]| text.iter().any(|byte| kind.contains(byte));
            for (seen, kind) in [
                (WHITE, &b"\t\r\n"[..]),
                (PERCENT, b"%"),
                (QUESTION, b"?"),
                (OPERATOR, b"'\"`(<>$"),
                (BAR, b"#|"),
                (LETTER_M, b"mM"),
                (TILDE, b"~"),
                (BACKSLASH, b"\\"),
            ] {
                assert_eq!(signals.has(seen), has(kind), "{seen} {text:?}");
            }
            assert_eq!((signals.at(), signals.pairs()), (has(b"@"), has(b":=")), "{text:?}");
            assert_eq!((signals.words(), signals.groups()), (has(b" \t\r\n/"), has(b" \t\r\n-")), "{text:?}");
            assert_eq!(signals.email(), has(b"@") && has(b"."), "{text:?}");
            assert_eq!(signals.sql(), has(b" \t\r\n") && has(b"='\"`(<>$"), "{text:?}");
            assert_eq!(signals.hidden(), has(b"%\\") || !text.is_ascii(), "{text:?}");
        }
    }
}
