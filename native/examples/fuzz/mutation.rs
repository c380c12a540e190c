//! A deterministic mutation fuzzer: the same seed makes the same bodies. It needs nothing but stable Rust.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow_array::{Array, StructArray};
use verdigris_native::sensitive::{Detector, Masker, Place, Position};
use verdigris_native::{DecodeError, Decoded, Encoding, Format, Limits, Masking, decode};

#[path = "sample.rs"]
pub mod sample;

/// Where a body came from, and how to decode it.
pub struct Seed {
    /// The good body.
    pub body: Vec<u8>,
    /// Its format.
    pub format: Format,
    /// Its encoding.
    pub encoding: Encoding,
}

/// What became of the bodies.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Bodies decoded.
    pub decoded: u64,
    /// Bodies refused with a typed error.
    pub refused: u64,
    /// Rows of all batches.
    pub spans: u64,
}

/// Both formats, as they are and compressed, and JSON that a real exporter wrote if given.
pub fn seeds(more_json: Vec<Vec<u8>>) -> Vec<Seed> {
    let mut seeds: Vec<Seed> = Vec::new();
    let mut add = |body: Vec<u8>, format, encoding| seeds.push(Seed { body, format, encoding });
    for (body, format) in [(sample::protobuf(), Format::Protobuf), (sample::JSON.into(), Format::Json)] {
        add(gzip(&body), format, Encoding::Gzip);
        add(zstd::encode_all(&*body, 3).expect("writing to memory"), format, Encoding::Zstd);
        // A damaged stream hardly ever gets as far as our own code, so plain bodies are tried more often.
        for _ in 0..6 {
            add(body.clone(), format, Encoding::Identity);
        }
    }
    for body in more_json {
        add(body, Format::Json, Encoding::Identity);
    }
    seeds
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(body).expect("writing to memory");
    encoder.finish().expect("writing to memory")
}

/// xorshift64*: enough randomness for this, and the same everywhere.
pub struct Random(u64);

impl Random {
    /// Any seed will do.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).expect("below a usize")
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        start..start + self.below((length - start).min(64) + 1)
    }
}

/// Pieces that the formats give a meaning to.
const TOKENS: [&[u8]; 26] = [
    b"null",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\"",
    b"\\u",
    b"\\ud800",
    b"1e400",
    b"-0.0e-0",
    b"\"traceId\":",
    b"\"value\":{\"arrayValue\":{\"values\":[",
    b"\"attributes\":[",
    b"\"resource\":{},",
    b"\xff\xff\xff\xff\x0f",
    b"\x80",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\x0a\x00",
    b"\x2a\x02\x0a\x00",
    b"\x0b",
    b"\x0f",
    b"\xc3\x28",
    b"\xed\xa0\x80",
    b"\x12\x04",
];

/// Damages `body` in one to four places, mostly one, and mostly without moving what follows.
pub fn mutate(body: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let places = [1, 1, 1, 2, 2, 4][random.below(6)];
    for _ in 0..places {
        let at = random.below(body.len());
        let range = random.range(body.len());
        match random.below(16) {
            _ if body.is_empty() => body.push(random.byte()),
            0..5 => body[at] ^= 1 << random.below(8),
            5 => body[at] = random.byte(),
            // Lengths and counts are small numbers: one more, one less.
            6..8 => body[at] = body[at].wrapping_add(1),
            8..10 => body[at] = body[at].wrapping_sub(1),
            10 => {
                for byte in &mut body[range] {
                    *byte = random.byte();
                }
            }
            11 => body.truncate(at),
            12 => drop(body.drain(range)),
            13 => {
                let copy = body[range].to_vec();
                body.splice(at..at, copy);
            }
            14 => {
                let copy = other[random.range(other.len())].to_vec();
                body.splice(range, copy);
            }
            _ => {
                let token = TOKENS[random.below(TOKENS.len())];
                body.splice(at..at, token.iter().copied());
            }
        }
    }
}

/// Small enough that every limit is met.
const TIGHT: Limits = Limits {
    body_bytes: 4096,
    decoded_bytes: 4096,
    table_bytes: 2000,
    depth: 2,
    spans: 3,
    attributes: 3,
    events: 1,
    links: 1,
    value_bytes: 5,
};

/// Decodes one body and checks what must hold for any: no panic, and twice the same whole result.
///
/// # Panics
/// If it does not hold.
pub fn check(body: &[u8], format: Format, encoding: Encoding, limits: &Limits) -> Result<Decoded, DecodeError> {
    let once = decode(body, format, encoding, limits);
    let again = decode(body, format, encoding, limits);
    match (&once, &again) {
        (Ok(once), Ok(again)) => {
            let same = once.batch == again.batch && once.tally == again.tally && once.findings == again.findings;
            assert!(same, "decoding differs from run to run");
            assert!(
                once.findings.list().iter().all(|finding| finding.detector != Detector::Failed),
                "a detector failed"
            );
            let data = StructArray::from(once.batch.clone()).to_data();
            data.validate_full().expect("a valid batch");
            assert!(once.batch.num_rows() <= limits.spans, "more rows than allowed");
        }
        (Err(once), Err(again)) => {
            assert_eq!(once, again, "the error differs from run to run");
            assert!(once.offset() <= limits.decoded_bytes.max(body.len()), "an offset outside of the body");
        }
        _ => panic!("decoding succeeds on some runs only"),
    }
    once
}

/// Fuzzes while `go_on` of the number of executions so far. The body of a failure is printed before the panic goes on.
///
/// # Panics
/// If a check fails.
pub fn run(seed: u64, seeds: &[Seed], mut go_on: impl FnMut(u64) -> bool) -> Outcomes {
    let mut random = Random::new(seed);
    let mut outcomes = Outcomes::default();
    let mut executions = 0;
    while go_on(executions) {
        executions += 1;
        let chosen = &seeds[random.below(seeds.len())];
        let other = &seeds[random.below(seeds.len())];
        let mut body = chosen.body.clone();
        mutate(&mut body, &other.body, &mut random);
        let limits = if random.below(4) == 0 { TIGHT } else { Limits::default() };
        match catch_unwind(AssertUnwindSafe(|| check(&body, chosen.format, chosen.encoding, &limits))) {
            Ok(Ok(decoded)) => {
                outcomes.decoded += 1;
                outcomes.spans += decoded.batch.num_rows() as u64;
            }
            Ok(Err(_)) => outcomes.refused += 1,
            Err(panic) => {
                println!("seed {seed}, execution {executions}, {:?}, {:?}: {body:?}", chosen.format, chosen.encoding);
                std::panic::resume_unwind(panic);
            }
        }
    }
    outcomes
}

/// What detectors start at, and what separates it; put together at random around what is planted.
const PIECES: [&str; 56] = [
    " ",
    " ",
    "  ",
    "\n",
    "=",
    ":",
    ": ",
    ", ",
    "&",
    "?",
    "?a=",
    "&b=",
    "#",
    "/",
    "//",
    "://",
    "@",
    "\"",
    "'",
    "\\",
    "\\\"",
    "[",
    "]",
    "{",
    "}",
    "(",
    "<",
    ">",
    "|",
    ";",
    "%",
    "%20",
    "%40",
    "%2540",
    "\u{200b}",
    "\u{e9}",
    "\u{ff14}",
    "12",
    "4111",
    "0.",
    "-",
    "--",
    "/*",
    "$a$",
    "password",
    "cvv",
    "Bearer",
    "Basic",
    "Cookie: ",
    "SELECT a FROM t WHERE b = ",
    "eyJhbGciOiJIUzI1NiJ9.",
    "-----BEGIN PRIVATE KEY-----",
    "[email]",
    "[secret~",
    "411111******1111",
    "MRN",
];

/// What is planted, with the part of it that must not come out.
const PLANTED: [(&str, &str); 8] = [
    ("4111111111111111", "11111111111"),
    ("4111 1111 1111 1111", "1111 1111 1111"),
    ("123-45-6789", "45-6789"),
    ("GB82WEST12345698765432", "WEST12345698"),
    ("jane.roe@example.com", "jane.roe@"),
    ("AKIAIOSFODNN7EXAMPLE", "IOSFODNN7"),
    ("password=hunter2", "hunter2"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl", "eyJzdWIi"),
];

/// Masks texts made at random with something planted in each, while `go_on` of the number so far. What is planted never comes
/// out, no detector fails, and masking what is masked changes nothing. Returns the number of texts.
///
/// # Panics
/// If one of these does not hold.
pub fn run_texts(seed: u64, mut go_on: impl FnMut(u64) -> bool) -> u64 {
    let mut random = Random::new(seed);
    let place = Place::of(Position::SpanAttribute);
    let mut texts = 0;
    while go_on(texts) {
        texts += 1;
        let (planted, secret) = PLANTED[random.below(PLANTED.len())];
        let mut junk = || -> String { (0..random.below(6)).map(|_| PIECES[random.below(PIECES.len())]).collect() };
        let text = format!("{} {planted} {}", junk(), junk());
        let mut masker = Masker::new(Masking::strict());
        let once =
            masker.treat(&text, usize::MAX, place).unwrap_or_else(|| panic!("seed {seed}: nothing found in {text:?}"));
        assert!(!once.contains(secret), "seed {seed}: {secret:?} of {text:?} comes out: {once:?}");
        assert_ne!(once, "[failed]", "seed {seed}: a detector failed on {text:?}");
        let again = masker.treat(&once, usize::MAX, place);
        assert_eq!(again, None, "seed {seed}: masking {once:?} again changes it");
    }
    texts
}
