//! How often masking changes what is not sensitive, on a million generated texts, and how its time grows with hostile ones.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use verdigris_native::Masking;
use verdigris_native::base64::quad;
use verdigris_native::sensitive::{Masker, Place, Position};

/// xorshift64*, the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64).try_into().expect("below a u64")
    }

    fn hex(&mut self, digits: usize) -> String {
        (0..digits)
            .map(|_| char::from_digit(u32::try_from(self.below(16)).expect("small"), 16).expect("a digit"))
            .collect()
    }

    fn digits(&mut self, count: usize) -> String {
        (0..count).map(|_| char::from(b'0' + u8::try_from(self.below(10)).expect("small"))).collect()
    }
}

/// A kind of text, and how many of a million may be changed.
const KINDS: [(&str, u64); 18] = [
    // One 16-digit number in 30 has the prefix, the length and the checksum of a card: it cannot be told from one. In 20 digits
    // there are eleven windows.
    ("number of 16 digits", 35_000),
    ("number of 20 digits", 180_000),
    ("number of 8 to 12 digits", 100),
    ("milliseconds since 1970", 0),
    ("microseconds since 1970", 0),
    ("nanoseconds since 1970", 0),
    ("time as text", 0),
    ("uuid", 0),
    ("trace id", 20),
    ("span id", 2_000),
    ("sha-256", 20),
    ("git commit", 20),
    ("base64 of 24 bytes", 20),
    ("base64 of 5 words", 0),
    ("price", 0),
    ("version", 0),
    ("fraction", 0),
    ("path with an id", 100),
];

fn text_of(kind: &str, random: &mut Random) -> String {
    let second = 1_500_000_000 + random.below(500_000_000);
    let hex = random.hex(64);
    match kind {
        "number of 16 digits" => random.digits(16),
        "number of 20 digits" => random.digits(20),
        "number of 8 to 12 digits" => {
            let count = 8 + random.below(5);
            random.digits(usize::try_from(count).expect("small"))
        }
        "milliseconds since 1970" => format!("{second}{}", random.digits(3)),
        "microseconds since 1970" => format!("{second}{}", random.digits(6)),
        "nanoseconds since 1970" => format!("{second}{}", random.digits(9)),
        "time as text" => {
            let mut part = |from: u64, count: u64| from + random.below(count);
            format!(
                "20{:02}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
                part(10, 30),
                part(1, 12),
                part(1, 28),
                part(0, 24),
                part(0, 60),
                part(0, 60),
                part(0, 1_000_000)
            )
        }
        "uuid" => format!("{}-{}-4{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..15], &hex[16..20], &hex[20..32]),
        "trace id" => hex[..32].to_owned(),
        "span id" => hex[..16].to_owned(),
        "sha-256" => hex,
        "git commit" => hex[..40].to_owned(),
        "base64 of 24 bytes" => {
            let bytes: Vec<u8> = (0..3).flat_map(|_| random.next().to_le_bytes()).collect();
            bytes.chunks(3).flat_map(quad).map(char::from).collect()
        }
        "base64 of 5 words" => {
            let words = ["order", "accepted", "for", "shipping", "customer", "region", "north", "west"];
            let text: Vec<&str> = (0..5).map(|_| words[usize::try_from(random.below(8)).expect("small")]).collect();
            text.join(" ").as_bytes().chunks(3).flat_map(quad).map(char::from).collect()
        }
        "price" => format!("{}.{:02} EUR", random.below(100_000), random.below(100)),
        "version" => format!(
            "{}.{}.{}-rc.{}+{}",
            random.below(30),
            random.below(100),
            random.below(1000),
            random.below(9),
            &hex[..7]
        ),
        "fraction" => format!("0.{}", random.digits(16)),
        _ => format!("/api/v2/customers/{}/orders/{}", random.digits(9), &hex[..24]),
    }
}

#[test]
fn what_is_not_sensitive_is_hardly_ever_changed() {
    const EACH: u64 = 60_000;
    let seed = 0x5eed_0001;
    let mut random = Random(seed);
    let mut total = 0;
    let mut too_often = Vec::new();
    for (kind, per_million_max) in KINDS {
        let mut changed = 0;
        let mut by_detector: BTreeMap<&str, u64> = BTreeMap::new();
        for _ in 0..EACH {
            let mut masker = Masker::new(Masking::strict());
            let text = text_of(kind, &mut random);
            if masker.treat(&text, 32 << 10, Place::of(Position::SpanAttribute)).is_some() {
                changed += 1;
                masker.close(|| "");
                for finding in masker.into_findings().list() {
                    *by_detector.entry(finding.detector.name()).or_default() += 1;
                }
            }
        }
        total += EACH;
        println!("{kind}: {changed} of {EACH}, {by_detector:?}");
        if changed * 1_000_000 > per_million_max * EACH {
            too_often.push(kind);
        }
    }
    assert!(too_often.is_empty(), "seed {seed}: changed too often: {too_often:?}");
    assert!(total >= 1_000_000);
}

/// Texts made of what a detector starts at, again and again, without ever getting what it wants.
const HOSTILE: &[&str] = &[
    "4",
    "4111 ",
    "41111111-",
    "1-1-",
    "4-",
    "4111.",
    "4_4+",
    "a@",
    "@",
    "a.a@",
    "a:@",
    "@tcp(",
    "oracle:thin:",
    "eyJ",
    "eyJ.",
    "eyJhbGciOiJIUzI1NiJ9.",
    "://",
    "x://a:b",
    "x://a:b/",
    "?a",
    "?a=",
    "?",
    "?:",
    "#",
    "#a",
    "&=",
    "%2",
    "%25",
    "%2525",
    "token=",
    "password=a,a;",
    "secret=a ",
    "\"pin\":[\"",
    "{\"pin\":{\"",
    "--pin ",
    "<pin>",
    "<pin value=\"",
    "Key (pin)=(",
    "(pin)=(a,",
    "\"name\":\"pin\",\"value\":",
    "pin[pin]=",
    "password=\"\\",
    "api key no ",
    "token='",
    "password:\"",
    "cvv: ",
    "cvv 1",
    "no 1 no ",
    "Bearer ",
    "Basic ",
    "-----BEGIN",
    "-----BEGIN PRIVATE KEY-----",
    "SELECT ",
    "select from ",
    "\"select from\" ",
    "\"select from",
    "\\\"select from\\\\\\\" ",
    "'select from ''",
    "sp_executesql ",
    "update set.",
    "((exec ",
    "SET DECLARE ",
    "select from $a",
    "select from q'[",
    "select from '\\\"",
    "select from /*+ a",
    "select from # ",
    "select from f((",
    "select 'a' from \"b",
    "with with ",
    "$a$",
    "'\\\\'",
    "/*",
    "GB82",
    "gb 8 2 ",
    "MRN1",
    "AKIAAKIA-",
    "Q~",
    "k3J9xQ2vL8pT5mWz",
    "\u{200b}\u{ff14}",
    "?q=\"x",
    "?q='x&",
    "/?a;",
    "/?a=&a",
    "/?a=;a=#b",
    "/b?q=<",
    "@//",
    "a/b@//",
    "\"kty\":",
    "\"kty\" :\"d\": \"",
    "curl -u a:",
    "SharedAccessSignature sig=&",
    "a:1.2.3.4",
    "4111  ",
    "\\/",
    "%3F%3D",
    "pat.eyJ1.",
    "access_token$production$",
    "a.atlasv1.",
    "sk-0",
    "+1 415 ",
];

/// Something of everything, so that every detector is run whatever the rest of the text is.
const TAIL: &str = " 123456789 m@n.o q=r: s/t?u#v 'w' -%20 0123456789abcdefg~";

/// How long it takes to mask `text` so many times.
fn time(masking: &Arc<Masking>, text: &str, times: u32) -> Duration {
    let start = Instant::now();
    for _ in 0..times {
        let mut masker = Masker::new(masking.clone());
        masker.treat(text, text.len(), Place::of(Position::SpanAttribute));
    }
    start.elapsed()
}

/// Whether one text takes about as long as eight of an eighth of its length, and not eight times as long. Both take about the
/// same time, so that other work on the machine disturbs one as much as the other, and not in each of twenty measurements.
fn is_linear(masking: &Arc<Masking>, unit: &str, tail: &str, bytes: usize) -> bool {
    let text = |bytes: usize| unit.repeat(bytes / unit.len()) + tail;
    let (small, large) = (text(bytes), text(8 * bytes));
    let linear = (0..20)
        .map(|_| (time(masking, &small, 8), time(masking, &large, 1)))
        .find(|(eight_small, large)| *large < *eight_small * 3 + Duration::from_micros(200));
    println!("{unit:?}, eight times {bytes} bytes and as many at once: {linear:?}");
    linear.is_some()
}

#[test]
fn time_is_linear_in_hostile_texts() {
    let masking = Masking::read("{\"treatments\": {\"ip_address\": \"truncate\"}}").expect("a good definition");
    for &unit in HOSTILE {
        for tail in ["", TAIL] {
            assert!(is_linear(&masking, unit, tail, 16 << 10), "{unit:?} with {tail:?}");
        }
    }
}

#[test]
fn time_is_linear_for_any_pattern() {
    // A backtracking matcher would need years for the first.
    for pattern in ["(a|aa)+[bB]{1,3}c", "[a-z]*[0-9]{40}", "(x+x+)+y"] {
        let definition = format!("{{\"detectors\": [{{\"name\": \"slow\", \"pattern\": \"{pattern}\"}}]}}");
        let masking = Masking::read(&definition).expect("a good definition");
        for unit in ["a", "aaaab", "4", "x", "a4"] {
            // Large from the start, so that the matcher has chosen its way of working.
            assert!(is_linear(&masking, unit, "", 64 << 10), "{pattern} on {unit:?}");
        }
    }
}
