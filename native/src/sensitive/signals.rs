//! One pass over a text that says what cannot be in it, so that most texts are looked at once and by no detector.

/// What bytes of a text are; a text has the union of those of its bytes.
#[derive(Clone, Copy)]
pub(super) struct Signals {
    seen: u16,
    digits: u32,
    longest_token: usize,
    length: usize,
}

const DIGIT: u16 = 1;
const TOKEN: u16 = 1 << 1;
const AT: u16 = 1 << 2;
const PAIR: u16 = 1 << 3;
const SPACE: u16 = 1 << 4;
const DASH: u16 = 1 << 5;
const PERCENT: u16 = 1 << 6;
const BEYOND_ASCII: u16 = 1 << 7;
const QUESTION: u16 = 1 << 8;
const OPERATOR: u16 = 1 << 9;
const SLASH: u16 = 1 << 10;
const DOT: u16 = 1 << 11;
const HASH: u16 = 1 << 12;
const LETTER_M: u16 = 1 << 13;
const TILDE: u16 = 1 << 14;
const BACKSLASH: u16 = 1 << 15;

/// Length from which a run of letters, digits, `-` and `_` may be a key, a token or base64.
pub(super) const TOKEN_BYTES_MIN: usize = 16;
/// Length of the longest part that each of the keys has which are known by their form and not by a prefix.
pub(super) const LONG_TOKEN_BYTES_MIN: usize = 24;
/// Digits that the shortest number with a checksum or a format of its own has.
const NUMBER_DIGITS_MIN: u32 = 9;
/// Digits that the shortest IBAN has: two of its check, five of a bank.
const IBAN_DIGITS_MIN: u32 = 7;

const CLASSES: [u16; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "below 256")]
        let spelled = byte as u8;
        classes[byte] = match spelled {
            b'0'..=b'9' => DIGIT | TOKEN,
            b'm' | b'M' => LETTER_M | TOKEN,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => TOKEN,
            b'-' => DASH | TOKEN,
            b'@' => AT,
            b':' => PAIR,
            b'=' => PAIR | OPERATOR,
            b' ' | b'\t' | b'\n' | b'\r' => SPACE,
            b'%' => PERCENT,
            b'?' => QUESTION,
            b'\'' | b'"' | b'`' | b'(' | b'<' | b'>' | b'$' => OPERATOR,
            b'/' => SLASH,
            b'.' => DOT,
            b'#' => HASH,
            b'~' => TILDE,
            b'\\' => BACKSLASH,
            0x80.. => BEYOND_ASCII,
            _ => 0,
        };
        byte += 1;
    }
    classes
};

impl Signals {
    /// Reads `text` once.
    #[inline]
    pub(super) fn of(text: &[u8]) -> Self {
        let (mut seen, mut digits, mut token_start, mut longest_token) = (0, 0, 0, 0);
        for (at, &byte) in text.iter().enumerate() {
            let class = CLASSES[usize::from(byte)];
            seen |= class;
            digits += u32::from(class & DIGIT);
            if class & TOKEN == 0 {
                longest_token = longest_token.max(at - token_start);
                token_start = at + 1;
            }
        }
        Self { seen, digits, longest_token: longest_token.max(text.len() - token_start), length: text.len() }
    }

    #[inline]
    const fn has(self, class: u16) -> bool {
        self.seen & class != 0
    }

    /// Whether no detector that needs no key could find anything in `text`, of which these are the signals.
    #[inline]
    pub(super) fn rules_out_all(self, text: &[u8]) -> bool {
        if self.mrn() && text.windows(3).any(|word| word.eq_ignore_ascii_case(b"mrn")) {
            return false;
        }
        self.is_plain() || self.is_one_token() && is_hex_id(text)
    }

    #[inline]
    fn is_plain(self) -> bool {
        self.digits < NUMBER_DIGITS_MIN
            && self.longest_token < TOKEN_BYTES_MIN
            && !self.has(AT | PAIR | PERCENT | BEYOND_ASCII | OPERATOR | QUESTION | BACKSLASH)
            && !(self.has(SPACE) && self.length >= WORDS_BYTES_MIN)
    }

    /// Letters, digits, `-` and `_` and nothing else.
    #[inline]
    const fn is_one_token(self) -> bool {
        self.seen & !(DIGIT | TOKEN | DASH) == 0
    }

    /// Words or the parts of a path; what has none is an id or a number more often than not.
    pub(super) fn words(self) -> bool {
        self.has(SPACE | SLASH)
    }

    /// A number with a checksum or a format of its own.
    pub(super) fn numbers(self) -> bool {
        self.digits >= NUMBER_DIGITS_MIN
    }

    /// An IBAN, whose account can be mostly letters.
    pub(super) fn iban(self) -> bool {
        self.digits >= IBAN_DIGITS_MIN
    }

    /// Such a number in groups.
    pub(super) fn groups(self) -> bool {
        self.has(SPACE | DASH)
    }

    /// MRN with a number after it.
    #[inline]
    pub(super) const fn mrn(self) -> bool {
        self.digits >= 5 && self.has(LETTER_M)
    }

    /// An e-mail address.
    pub(super) fn email(self) -> bool {
        self.has(AT) && self.has(DOT)
    }

    /// A key with its value: `key=value`, `key: value`, `"key": "value"`.
    pub(super) fn pairs(self) -> bool {
        self.has(PAIR)
    }

    /// A word with a number after it.
    pub(super) fn numbers_after_words(self) -> bool {
        self.has(SPACE) && self.digits >= 3
    }

    /// A token long enough for a key of a service, a JWT or base64.
    pub(super) fn tokens(self) -> bool {
        self.longest_token >= TOKEN_BYTES_MIN
    }

    /// A token as long as one part of the keys that are known by their form.
    pub(super) fn long_tokens(self) -> bool {
        self.longest_token >= LONG_TOKEN_BYTES_MIN
    }

    /// A secret of Microsoft Entra, which has a tilde in it.
    pub(super) fn tilde(self) -> bool {
        self.tokens() && self.has(TILDE)
    }

    /// Credentials after the name of their scheme.
    pub(super) fn schemes(self) -> bool {
        self.has(SPACE) && self.length >= WORDS_BYTES_MIN
    }

    /// The head of a private key.
    pub(super) fn private_key(self) -> bool {
        self.has(DASH) && self.has(SPACE) && self.length >= 27
    }

    /// A URL or a connection string with credentials or with a query.
    pub(super) fn url(self) -> bool {
        self.has(AT | QUESTION) && self.has(SLASH | PAIR) || self.has(HASH) && self.has(PAIR)
    }

    /// A statement of SQL with literals.
    pub(super) fn sql(self) -> bool {
        self.has(SPACE) && self.has(OPERATOR)
    }

    /// Characters that stand for others.
    pub(super) fn hidden(self) -> bool {
        self.has(PERCENT | BEYOND_ASCII | BACKSLASH)
    }

    /// An IP address.
    pub(super) fn ip_address(self) -> bool {
        self.digits >= 1 && self.has(DOT | PAIR)
    }
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
