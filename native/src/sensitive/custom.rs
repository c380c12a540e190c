//! Detectors of the operator's own: a pattern, the keys it holds for, a checksum.
//!
//! Patterns are matched by an automaton in time linear in the text for each match; more matches than a bound and the whole
//! text is taken for one, so that many of them cannot add up.

use regex::bytes::{Regex, RegexBuilder};

use super::detector::Detector;
use super::scan::Scan;
use super::treatment::Treatment;
use super::{luhn, mod11, mod97};

/// Bytes of a name.
pub(super) const NAME_BYTES_MAX: usize = 32;
/// Bytes of a pattern.
const PATTERN_BYTES_MAX: usize = 512;
/// Bytes of a compiled pattern, and of the cache of its automaton.
const COMPILED_BYTES_MAX: usize = 1 << 20;
/// Groups inside groups.
const NESTING_MAX: u32 = 16;
/// Matches in one text, from which on the whole text is taken for one.
const MATCHES_MAX: usize = 64;

/// What must hold for a match to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checksum {
    None,
    Luhn,
    Mod97,
    Mod11,
}

impl Checksum {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "none" => Self::None,
            "luhn" => Self::Luhn,
            "mod97" => Self::Mod97,
            "mod11" => Self::Mod11,
            _ => return None,
        })
    }

    fn holds(self, value: &[u8]) -> bool {
        match self {
            Self::None => true,
            Self::Luhn => luhn(value, 0),
            Self::Mod97 => mod97(value),
            Self::Mod11 => mod11(value),
        }
    }
}

pub(super) struct Custom {
    pub(super) name: String,
    pattern: Regex,
    /// Keys it holds for; none: every text. `*` at the end stands for any rest.
    keys: Vec<String>,
    checksum: Checksum,
    pub(super) treatment: Treatment,
    #[cfg(test)]
    pub(super) fails: bool,
}

impl Custom {
    /// Fails with the reason if the definition is bad.
    pub(super) fn new(
        name: String,
        pattern: &str,
        keys: Vec<String>,
        checksum: Checksum,
        treatment: Treatment,
    ) -> Result<Self, String> {
        let spelled = name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
        if !spelled || name.len() > NAME_BYTES_MAX {
            return Err(format!("detectors: {name:?} is no name; use up to {NAME_BYTES_MAX} of a-z, 0-9 and _"));
        }
        if pattern.len() > PATTERN_BYTES_MAX {
            return Err(format!("detectors: the pattern of {name} is longer than {PATTERN_BYTES_MAX} bytes"));
        }
        let compiled = RegexBuilder::new(pattern)
            .size_limit(COMPILED_BYTES_MAX)
            .dfa_size_limit(COMPILED_BYTES_MAX)
            .nest_limit(NESTING_MAX)
            .build()
            .map_err(|error| format!("detectors: the pattern of {name} cannot be used: {error}"))?;
        // The second text has the borders of words that a pattern of nothing but such would match.
        if [&b""[..], b"a 0_-"].iter().any(|text| compiled.find(text).is_some_and(|found| found.is_empty())) {
            return Err(format!(
                "detectors: the pattern of {name} matches the empty text, so it would match everywhere"
            ));
        }
        // What it leaves behind must not be found again.
        if compiled.is_match(format!("[{name}]").as_bytes())
            || compiled.is_match(format!("[{name} dropped]").as_bytes())
        {
            return Err(format!("detectors: the pattern of {name} matches the mark [{name}] that a treatment leaves"));
        }
        Ok(Self {
            name,
            pattern: compiled,
            keys,
            checksum,
            treatment,
            #[cfg(test)]
            fails: false,
        })
    }

    /// An attribute that says which instance a span is from must be named: a pattern that happens to match there would take
    /// the telemetry of every rollout with it.
    fn holds_for(&self, key: &[u8], identity: bool) -> bool {
        self.keys.is_empty() && !identity
            || self.keys.iter().any(|known| match known.strip_suffix('*') {
                Some(start) => !identity && key.starts_with(start.as_bytes()),
                None => key == known.as_bytes(),
            })
    }
}

/// Runs every detector of the operator's own.
pub(super) fn find(scan: &mut Scan<'_>, key: &[u8], identity: bool) {
    let masking = scan.masking;
    for (number, custom) in (0..).zip(&masking.custom) {
        #[cfg(test)]
        assert!(!custom.fails, "a detector that fails, for a test");
        if !custom.holds_for(key, identity) {
            continue;
        }
        let detector = Detector::Custom(number);
        let mut matches = 0;
        for found in custom.pattern.find_iter(scan.text) {
            matches += 1;
            if matches > MATCHES_MAX {
                scan.push(0..scan.text.len(), detector);
                break;
            }
            if custom.checksum.holds(found.as_bytes()) {
                scan.push(found.range(), detector);
            }
        }
    }
}
