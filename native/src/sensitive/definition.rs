//! What the operator says about masking, read once and then shared by all decode calls.

use std::fmt;
use std::sync::{Arc, LazyLock};

use crate::base64;
use crate::error::{DecodeError, ErrorKind};
use crate::json::Reader;

use super::custom::{Checksum, Custom};
use super::detector::{Detector, Shown};
use super::keys;
use super::treatment::{Treatment, keyed_hash, shown_card, truncated};

/// Bytes of a definition.
const DEFINITION_BYTES_MAX: usize = 1 << 20;
/// Detectors of the operator's own.
const CUSTOM_MAX: usize = 64;
/// Allow entries.
const ALLOW_MAX: usize = 1024;
/// Attributes that say which instance a span is from.
const IDENTITY_MAX: usize = 64;
/// Bytes of a name, a key or a reason.
const TEXT_BYTES_MAX: usize = 512;
/// Bytes of the key of hashes: with fewer, who has the hashes could try all keys.
const HASH_KEY_BYTES_MIN: usize = 16;

/// A definition that cannot be kept, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadDefinition(pub String);

impl fmt::Display for BadDefinition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the definition of masking cannot be used: {}. Safe: nothing was decoded with it", self.0)
    }
}

impl std::error::Error for BadDefinition {}

type Result<T> = std::result::Result<T, BadDefinition>;

fn bad<T>(why: impl Into<String>) -> Result<T> {
    Err(BadDefinition(why.into()))
}

/// What may pass although a detector finds it.
struct Allow {
    /// `None`: every detector.
    detector: Option<Detector>,
    /// Key of the attribute, or the name of a position; `*` at its end stands for any rest.
    key: String,
    /// Service; `*` for any.
    service: String,
}

/// What is looked for, and what is done with it. Immutable.
pub struct Masking {
    off: bool,
    treatments: [Treatment; Detector::BUILT_IN.len()],
    hash_key: Vec<u8>,
    allow: Vec<Allow>,
    pub(super) custom: Vec<Custom>,
    identity: Vec<String>,
}

static STRICT: LazyLock<Arc<Masking>> = LazyLock::new(|| Arc::new(Masking::defaults()));

impl fmt::Debug for Masking {
    /// Without the key of hashes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.custom.iter().map(|custom| &*custom.name).collect();
        f.debug_struct("Masking")
            .field("off", &self.off)
            .field("custom", &names)
            .field("allow", &self.allow.len())
            .finish_non_exhaustive()
    }
}

impl Masking {
    fn defaults() -> Self {
        let mut treatments = [Treatment::Mask; Detector::BUILT_IN.len()];
        treatments[Detector::IpAddress.number()] = Treatment::Keep;
        let identity = keys::IDENTITY.map(str::to_owned).to_vec();
        Self { off: false, treatments, hash_key: Vec::new(), allow: Vec::new(), custom: Vec::new(), identity }
    }

    /// The defaults: everything is masked but IP addresses.
    #[must_use]
    pub fn strict() -> Arc<Self> {
        Arc::clone(&STRICT)
    }

    /// Nothing is looked for. For measurements and for tests of what the decoder reads.
    #[must_use]
    pub fn off() -> Arc<Self> {
        Arc::new(Self { off: true, ..Self::defaults() })
    }

    /// Reads a definition in JSON; what it does not say is as in [`Masking::strict`].
    ///
    /// ```json
    /// {"treatments": {"email": "hash", "ip_address": "truncate"}, "hash_key": "<base64, 16 bytes or more>",
    ///  "allow": [{"detector": "email", "key": "support.mailbox", "service": "*", "reason": "a public address"}],
    ///  "detectors": [{"name": "case_number", "pattern": "CASE-[0-9]{8}", "keys": ["case.*"], "checksum": "luhn", "treatment": "mask"}],
    ///  "identity": ["deployment.slot"]}
    /// ```
    pub fn read(definition: &str) -> Result<Arc<Self>> {
        if definition.len() > DEFINITION_BYTES_MAX {
            return bad(format!("it is longer than {DEFINITION_BYTES_MAX} bytes"));
        }
        let mut masking = Self::defaults();
        let mut problem = None;
        let read = Reader::new(definition.as_bytes()).and_then(|mut reader| {
            reader.object(|reader, name| masking.member(reader, name, &mut problem))?;
            reader.end()
        });
        if let Some(why) = problem {
            return bad(why);
        }
        if let Err(error) = read {
            return bad(format!("it is no JSON as described; {error}"));
        }
        masking.check()?;
        Ok(Arc::new(masking))
    }

    fn member(&mut self, reader: &mut Reader<'_>, name: &str, problem: &mut Option<String>) -> crate::Result<()> {
        // A problem goes round the reader, whose errors have fixed texts.
        let result = match name {
            "treatments" => {
                let mut done = Ok(());
                reader.object(|reader, name| {
                    let treatment = reader.string()?;
                    done = std::mem::replace(&mut done, Ok(())).and_then(|()| self.set_treatment(name, &treatment));
                    Ok(())
                })?;
                done
            }
            "hash_key" => {
                let text = reader.string()?;
                base64::decode(&text).map_or_else(
                    || bad("hash_key is not base64"),
                    |key| {
                        self.hash_key = key;
                        Ok(())
                    },
                )
            }
            "allow" => list(reader, |reader| {
                let fields = Fields::read(reader, &["detector", "key", "service", "reason"])?;
                Ok(fields.and_then(|fields| self.add_allow(fields)))
            })?,
            "detectors" => list(reader, |reader| {
                let fields = Fields::read(reader, &["name", "pattern", "keys", "checksum", "treatment"])?;
                Ok(fields.and_then(|fields| self.add_custom(fields)))
            })?,
            "identity" => list(reader, |reader| {
                let key = reader.string()?.into_owned();
                Ok(if key.is_empty() || key.len() > TEXT_BYTES_MAX || self.identity.len() >= IDENTITY_MAX {
                    bad(format!("identity takes up to {IDENTITY_MAX} keys of 1 to {TEXT_BYTES_MAX} bytes"))
                } else {
                    self.identity.push(key);
                    Ok(())
                })
            })?,
            _ => bad(format!("it has no member {name:?}; known are treatments, hash_key, allow, detectors, identity")),
        };
        result.map_err(|BadDefinition(why)| {
            *problem = Some(why);
            DecodeError::new(ErrorKind::BadJson, reader.offset(), "a definition that cannot be used")
        })
    }

    fn set_treatment(&mut self, name: &str, treatment: &str) -> Result<()> {
        let Some(detector) = Detector::named(name).filter(|&detector| detector != Detector::Failed) else {
            return bad(format!("treatments: there is no detector {name:?}"));
        };
        let Some(treatment) = Treatment::named(treatment) else {
            return bad(format!("treatments: {treatment:?} is none of keep, mask, hash, truncate, drop, refuse"));
        };
        let of_addresses = matches!(treatment, Treatment::Keep | Treatment::Truncate);
        if of_addresses && detector != Detector::IpAddress {
            return bad(format!(
                "treatments: {name} cannot be {:?}; an allow entry with its reason lets a value pass",
                treatment.name()
            ));
        }
        if detector.is_structural() && treatment != Treatment::Mask {
            return bad(format!("treatments: {name} can only be masked; it takes literals out and keeps the shape"));
        }
        self.treatments[detector.number()] = treatment;
        Ok(())
    }

    fn add_allow(&mut self, mut fields: Fields) -> Result<()> {
        if self.allow.len() >= ALLOW_MAX {
            return bad(format!("allow: more than {ALLOW_MAX} entries"));
        }
        let (key, service) = (fields.take("key")?, fields.take("service")?);
        if fields.take("reason")?.trim().is_empty() {
            return bad("allow: an entry without a reason");
        }
        if key == "*" && service == "*" {
            return bad("allow: an entry for every key of every service; name the key or the service");
        }
        let name = fields.take("detector")?;
        let custom = |name: &str| self.custom.iter().position(|custom| custom.name == name);
        let detector = match &*name {
            "*" => None,
            name => match Detector::named(name).or_else(|| custom(name).map(Detector::custom)) {
                Some(Detector::Failed) | None => {
                    return bad(format!(
                        "allow: there is no detector {name:?}; write detectors before allow if it is your own"
                    ));
                }
                found => found,
            },
        };
        self.allow.push(Allow { detector, key, service });
        Ok(())
    }

    fn add_custom(&mut self, mut fields: Fields) -> Result<()> {
        if self.custom.len() >= CUSTOM_MAX {
            return bad(format!("detectors: more than {CUSTOM_MAX}"));
        }
        let name = fields.take("name")?;
        if self.custom.iter().any(|custom| custom.name == name) || Detector::named(&name).is_some() {
            return bad(format!("detectors: the name {name:?} is taken"));
        }
        let treatment = match fields.0.remove("treatment").and_then(|mut given| given.pop()) {
            None => Treatment::Mask,
            Some(given) => match Treatment::named(&given) {
                Some(Treatment::Keep | Treatment::Truncate) | None => {
                    return bad(format!(
                        "detectors: treatment {given:?} of {name} is none of mask, hash, drop, refuse"
                    ));
                }
                Some(treatment) => treatment,
            },
        };
        let checksum = match fields.0.remove("checksum").and_then(|mut given| given.pop()) {
            None => Checksum::None,
            Some(given) => match Checksum::named(&given) {
                Some(checksum) => checksum,
                None => {
                    return bad(format!("detectors: checksum {given:?} of {name} is none of none, luhn, mod97, mod11"));
                }
            },
        };
        let keys = fields.0.remove("keys").unwrap_or_default();
        let pattern = fields.take("pattern")?;
        self.custom.push(Custom::new(name, &pattern, keys, checksum, treatment).map_err(BadDefinition)?);
        Ok(())
    }

    fn check(&self) -> Result<()> {
        let hashes = self.treatments.contains(&Treatment::Hash)
            || self.custom.iter().any(|custom| custom.treatment == Treatment::Hash);
        if hashes && self.hash_key.is_empty() {
            return bad("a treatment is hash, and there is no hash_key");
        }
        if !self.hash_key.is_empty() && self.hash_key.len() < HASH_KEY_BYTES_MIN {
            return bad(format!("hash_key has {} bytes; it needs at least {HASH_KEY_BYTES_MIN}", self.hash_key.len()));
        }
        Ok(())
    }

    /// Whether nothing is looked for.
    #[inline]
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.off
    }

    pub(super) fn has_custom(&self) -> bool {
        !self.custom.is_empty()
    }

    /// Whether texts must be searched in which no built-in detector can find anything.
    #[inline]
    pub(super) fn looks_at_plain(&self) -> bool {
        !self.custom.is_empty() || self.treatments[Detector::IpAddress.number()] != Treatment::Keep
    }

    pub(super) fn is_identity(&self, key: &str) -> bool {
        self.identity.iter().any(|known| known == key)
    }

    pub(super) fn allows(&self, detector: Detector, key: &[u8], service: &str) -> bool {
        let matches = |pattern: &str, text: &[u8]| match pattern.strip_suffix('*') {
            Some(start) => text.starts_with(start.as_bytes()),
            None => text == pattern.as_bytes(),
        };
        self.allow.iter().any(|allow| {
            allow.detector.is_none_or(|allowed| allowed == detector)
                && detector != Detector::Failed
                && matches(&allow.key, key)
                && matches(&allow.service, service.as_bytes())
        })
    }

    /// What is done with what `detector` finds.
    #[must_use]
    pub fn treatment(&self, detector: Detector) -> Treatment {
        match detector {
            Detector::Custom(number) => {
                self.custom.get(usize::from(number)).map_or(Treatment::Mask, |custom| custom.treatment)
            }
            other => self.treatments[other.number()],
        }
    }

    /// Name of a detector, the operator's own included.
    #[must_use]
    pub fn name(&self, detector: Detector) -> &str {
        match detector {
            Detector::Custom(number) => self.custom.get(usize::from(number)).map_or("custom", |custom| &custom.name),
            other => other.name(),
        }
    }

    pub(super) fn marker(&self, detector: Detector) -> Shown {
        match detector {
            Detector::Custom(_) => Shown::Owned(format!("[{}]", self.name(detector))),
            other => Shown::Borrowed(other.marker()),
        }
    }

    /// What stands in place of `value`.
    pub(super) fn shown(&self, detector: Detector, value: &[u8]) -> Shown {
        match self.treatment(detector) {
            Treatment::Hash => {
                let compact: Vec<u8>;
                let value = if detector == Detector::Card {
                    compact = value.iter().copied().filter(u8::is_ascii_digit).collect();
                    &compact
                } else {
                    value
                };
                let name = self.name(detector);
                Shown::Owned(format!("[{name}~{}]", keyed_hash(&self.hash_key, name, value)))
            }
            Treatment::Truncate => truncated(value).map_or_else(|| self.marker(detector), Shown::Owned),
            Treatment::Mask if detector == Detector::Card => Shown::Owned(shown_card(value)),
            _ => self.marker(detector),
        }
    }
}

/// The members of one entry: each a text or a list of texts.
struct Fields(hashbrown::HashMap<&'static str, Vec<String>>);

impl Fields {
    /// Reads an object that may have the members `known`. The outer error is of JSON, the inner one of what it says.
    fn read(reader: &mut Reader<'_>, known: &[&'static str]) -> crate::Result<Result<Self>> {
        let mut fields = hashbrown::HashMap::new();
        let mut problem = Ok(());
        reader.object(|reader, name| {
            let mut values = Vec::new();
            if reader.peek() == b'[' {
                reader.array(|reader| {
                    values.push(reader.string()?.into_owned());
                    Ok(())
                })?;
            } else {
                values.push(reader.string()?.into_owned());
            }
            match known.iter().find(|known| **known == name) {
                _ if values.len() > CUSTOM_MAX || values.iter().any(|value| value.len() > TEXT_BYTES_MAX) => {
                    problem = bad(format!(
                        "{name:?} has a text of more than {TEXT_BYTES_MAX} bytes or more than {CUSTOM_MAX} of them"
                    ));
                }
                Some(known) => drop(fields.insert(*known, values)),
                None => problem = bad(format!("an entry has no member {name:?}; known are {}", known.join(", "))),
            }
            Ok(())
        })?;
        Ok(problem.map(|()| Self(fields)))
    }

    fn take(&mut self, name: &'static str) -> Result<String> {
        match self.0.remove(name).as_deref() {
            Some([one]) if !one.is_empty() => Ok(one.clone()),
            _ => bad(format!("an entry needs {name:?}, one text")),
        }
    }
}

/// Reads an array until an item has a problem.
fn list(
    reader: &mut Reader<'_>,
    mut item: impl FnMut(&mut Reader<'_>) -> crate::Result<Result<()>>,
) -> crate::Result<Result<()>> {
    let mut done = Ok(());
    reader.array(|reader| {
        let one = item(reader)?;
        if done.is_ok() {
            done = one;
        }
        Ok(())
    })?;
    Ok(done)
}

impl Detector {
    /// Its number among the built-in ones.
    pub(super) fn number(self) -> usize {
        Self::BUILT_IN.iter().position(|&one| one == self).unwrap_or(0)
    }

    fn custom(number: usize) -> Self {
        Self::Custom(u8::try_from(number).unwrap_or(u8::MAX))
    }
}
