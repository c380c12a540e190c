//! What was found in one body: counts and masked samples, bounded.

use hashbrown::{Equivalent, HashMap};

use crate::limits::clip;

use super::detector::{Detector, Shown};

/// Different findings that are counted apart in one body; those of more kinds are counted together.
pub const FINDINGS_MAX: usize = 1024;

/// Bytes of a service and of an operation: names can be as long as texts can, and each is here as often as it has findings.
const NAME_BYTES: usize = 512;

/// Bytes of a masked sample.
const SAMPLE_BYTES: usize = 64;

/// Writes the enum and the names from one table.
macro_rules! positions {
    ($($(#[$doc:meta])+ $variant:ident = $name:literal,)+) => {
        /// Where in a trace a text stands.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Position {
            $($(#[$doc])+ $variant,)+
        }

        impl Position {
            /// Stable name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

positions! {
    /// Value of a resource attribute.
    Resource = "resource",
    /// Key of a resource attribute.
    ResourceKey = "resource_key",
    /// Name or version of a scope.
    Scope = "scope",
    /// Span name.
    SpanName = "span_name",
    /// Value of a span attribute.
    SpanAttribute = "span_attribute",
    /// Key of a span attribute.
    SpanAttributeKey = "span_attribute_key",
    /// Status message.
    StatusMessage = "status_message",
    /// Event name.
    EventName = "event_name",
    /// Value of an event attribute.
    EventAttribute = "event_attribute",
    /// Key of an event attribute.
    EventAttributeKey = "event_attribute_key",
    /// Value of a link attribute.
    LinkAttribute = "link_attribute",
    /// Key of a link attribute.
    LinkAttributeKey = "link_attribute_key",
    /// Trace state of a span or a link.
    TraceState = "trace_state",
}

impl Position {
    /// The position of a key whose value is here.
    #[must_use]
    pub const fn of_key(self) -> Self {
        match self {
            Self::Resource => Self::ResourceKey,
            Self::SpanAttribute => Self::SpanAttributeKey,
            Self::EventAttribute => Self::EventAttributeKey,
            Self::LinkAttribute => Self::LinkAttributeKey,
            other => other,
        }
    }
}

/// How often one detector found something in one position of one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was found.
    pub detector: Detector,
    /// Where.
    pub position: Position,
    /// Service, masked, cut at a bound.
    pub service: String,
    /// Operation, masked, cut at a bound; empty in a resource or a scope.
    pub operation: String,
    /// Whether an allow entry let it pass.
    pub allowed: bool,
    /// How often.
    pub count: u64,
    /// What stands in its place the first time; never the value.
    pub sample: String,
}

/// Detector, position, whether it is allowed, service, operation.
type Key = (Detector, Position, bool, String, String);

/// The same, to look one up without making it.
#[derive(Hash)]
struct KeyRef<'a>(Detector, Position, bool, &'a str, &'a str);

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        (self.0, self.1, self.2, self.3, self.4) == (key.0, key.1, key.2, &*key.3, &*key.4)
    }
}

/// The findings of one body, in the order in which they were met first.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    list: Vec<Finding>,
    places: HashMap<Key, usize>,
    uncounted: u64,
}

impl PartialEq for Findings {
    fn eq(&self, other: &Self) -> bool {
        self.list == other.list && self.uncounted == other.uncounted
    }
}

/// Something found in a text whose operation is not known yet.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) detector: Detector,
    pub(super) position: Position,
    pub(super) allowed: bool,
    pub(super) count: u64,
    pub(super) sample: Shown,
}

impl Findings {
    /// What was found.
    #[must_use]
    pub fn list(&self) -> &[Finding] {
        &self.list
    }

    /// Findings beyond [`FINDINGS_MAX`] kinds.
    #[must_use]
    pub fn uncounted(&self) -> u64 {
        self.uncounted
    }

    pub(super) fn add_uncounted(&mut self, count: u64) {
        self.uncounted += count;
    }

    pub(super) fn add(&mut self, pending: Pending, service: &str, operation: &str) {
        let Pending { detector, position, allowed, count, sample } = pending;
        let (service, operation) = (clip(service, NAME_BYTES), clip(operation, NAME_BYTES));
        if let Some(&place) = self.places.get(&KeyRef(detector, position, allowed, service, operation)) {
            self.list[place].count += count;
        } else if self.list.len() < FINDINGS_MAX {
            let (service, operation) = (service.to_owned(), operation.to_owned());
            self.places.insert((detector, position, allowed, service.clone(), operation.clone()), self.list.len());
            let sample = clip(&sample, SAMPLE_BYTES).to_owned();
            self.list.push(Finding { detector, position, service, operation, allowed, count, sample });
        } else {
            self.uncounted += count;
        }
    }
}
