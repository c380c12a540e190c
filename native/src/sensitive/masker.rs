//! Masking while one body is decoded: which service and span is open, and what was found in it.

use std::hash::BuildHasher;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use hashbrown::DefaultHashBuilder;

use crate::limits::clip;

use super::definition::Masking;
use super::detector::{Detector, Shown, is_treated};
use super::findings::{Findings, Pending, Position};
use super::keys::{self, KeyClass};
use super::scan::{self, Found};
use super::signals::Signals;

/// Bytes of a text that are looked at beyond those that are kept, so that a value across the cut is found whole.
const BEYOND_CUT_BYTES: usize = 4096;

/// Treating a text can leave one in which something else is found; after so many times the whole text goes.
const ROUNDS_MAX: usize = 4;

/// Different findings of one span that are counted apart.
const PENDING_MAX: usize = 64;

/// Bytes of the words that say what was masked in a span: no more than a window keeps of a value.
const WORDS_BYTES_MAX: usize = 190;

/// Stands for the words that did not fit.
const MORE_WORDS: &str = "{other}";

/// A text and what is known of it.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// Where it stands.
    pub position: Position,
    /// Key of the attribute it is part of; of other texts, the name of the position.
    pub key: &'a [u8],
    /// What the key says.
    pub class: KeyClass,
}

impl Place<'static> {
    /// A text that has no key.
    #[must_use]
    pub fn of(position: Position) -> Self {
        Self { position, key: position.name().as_bytes(), class: KeyClass::NONE }
    }
}

type Word = (Detector, Position);

/// Treats the texts of one body.
pub struct Masker {
    masking: Arc<Masking>,
    findings: Findings,
    pending: Vec<Pending>,
    service: String,
    refuse: bool,
    /// Whether a text of this body was kept because an entry allows it.
    allowed: bool,
    /// What was found in the open resource and in the open scope, which every span of theirs shows.
    of_resource: Vec<Word>,
    of_scope: Vec<Word>,
    clean: Clean,
    /// Of the text that was read last, and what was found in it; kept for their memory.
    signals: Signals,
    found: Vec<Found>,
}

/// Texts that were looked at and in which nothing is, so that one that comes again is not searched again: user agents, URLs,
/// statements. Each has one place, where the next one replaces it.
struct Clean {
    places: Vec<(KeyClass, Vec<u8>)>,
    /// Texts that came before there were places.
    before: usize,
    hasher: DefaultHashBuilder,
}

impl Clean {
    /// Texts remembered, a power of two, and bytes of each.
    const PLACES: usize = 128;
    const BYTES_MAX: usize = 256;
    /// Texts from which on making the places is worth it.
    const WORTH_TEXTS: usize = 8;

    fn place(&self, text: &[u8]) -> usize {
        usize::try_from(self.hasher.hash_one(text) % Self::PLACES as u64).unwrap_or(0)
    }

    fn holds(&self, text: &[u8], class: KeyClass) -> bool {
        !self.places.is_empty()
            && self
                .places
                .get(self.place(text))
                .is_some_and(|(known_class, known)| *known_class == class && known == text)
    }

    fn add(&mut self, text: &[u8], class: KeyClass) {
        if text.len() > Self::BYTES_MAX {
            return;
        }
        if self.before < Self::WORTH_TEXTS {
            self.before += 1;
            return;
        }
        self.places.resize_with(Self::PLACES, Default::default);
        let place = self.place(text);
        let (known_class, known) = &mut self.places[place];
        *known_class = class;
        known.clear();
        known.extend_from_slice(text);
    }
}

impl Masker {
    /// For one body.
    #[must_use]
    pub fn new(masking: Arc<Masking>) -> Self {
        let (findings, pending, service) = (Findings::default(), Vec::new(), String::new());
        let clean = Clean { places: Vec::new(), before: 0, hasher: DefaultHashBuilder::default() };
        let (of_resource, of_scope) = (Vec::new(), Vec::new());
        let (signals, found) = (Signals::default(), Vec::new());
        let (refuse, allowed) = (false, false);
        Self { masking, findings, pending, service, refuse, allowed, of_resource, of_scope, clean, signals, found }
    }

    /// What was found.
    #[must_use]
    pub fn into_findings(self) -> Findings {
        self.findings
    }

    /// Whether a text that is part of a column already needs no second look: what is masked stays as it is, unless one service
    /// was allowed to show what another may not.
    #[must_use]
    pub fn trusts_known(&self) -> bool {
        !self.allowed
    }

    /// What a key says about its value.
    #[must_use]
    pub fn classify(&self, key: &str) -> KeyClass {
        if self.masking.is_off() {
            KeyClass::NONE
        } else if self.masking.is_identity(key) {
            KeyClass::IDENTITY
        } else {
            keys::classify(key.as_bytes())
        }
    }

    /// What a field inside a value says, together with what is said of the value.
    #[must_use]
    pub fn classify_inner(&self, outer: KeyClass, key: &str) -> KeyClass {
        if self.masking.is_off() { outer } else { outer | keys::classify(key.as_bytes()) }
    }

    /// The text to keep instead of `text`, of which `bytes` at most are kept; `None` if nothing is found in it.
    #[inline]
    pub fn treat(&mut self, text: &str, bytes: usize, place: Place<'_>) -> Option<String> {
        if text.is_empty() || self.masking.is_off() {
            return None;
        }
        let text = if text.len() > bytes { clip(text, bytes.saturating_add(BEYOND_CUT_BYTES)) } else { text };
        self.signals.read(text.as_bytes());
        if self.is_ruled_out(text, &self.signals, place.class) {
            return None;
        }
        let (mut signals, mut found) = (std::mem::take(&mut self.signals), std::mem::take(&mut self.found));
        let treated = self.treat_found(text, &mut signals, &mut found, place);
        (self.signals, self.found) = (signals, found);
        treated
    }

    #[inline]
    fn is_ruled_out(&self, text: &str, signals: &Signals, class: KeyClass) -> bool {
        class.is_none() && !self.masking.looks_at_plain() && signals.rules_out_all(text.as_bytes())
    }

    #[inline(never)]
    fn treat_found(
        &mut self,
        text: &str,
        signals: &mut Signals,
        found: &mut Vec<Found>,
        place: Place<'_>,
    ) -> Option<String> {
        // A detector of the operator's own may look at the key, of which the class says nothing.
        let remembers = signals.words() && text.len() <= Clean::BYTES_MAX && !self.masking.has_custom();
        if remembers && self.clean.holds(text.as_bytes(), place.class) {
            return None;
        }
        let masking = Arc::clone(&self.masking);
        let mut treated: Option<String> = None;
        for round in 0..ROUNDS_MAX {
            let now = treated.as_deref().unwrap_or(text);
            found.clear();
            let bytes = now.as_bytes();
            let searched = catch_unwind(AssertUnwindSafe(|| {
                scan::find(bytes, signals, place.key, place.class, &masking, found);
            }));
            if searched.is_err() {
                return Some(self.fail(place.position));
            }
            if found.is_empty() {
                if round == 0 && remembers {
                    self.clean.add(text.as_bytes(), place.class);
                }
                return treated;
            }
            scan::drop_repeated(found);
            found.retain(|one| {
                let allowed = masking.allows(one.detector, place.key, &self.service);
                if round == 0 || !allowed {
                    let sample = if allowed { Shown::Borrowed("") } else { one.shown.clone() };
                    self.note(one.detector, place.position, allowed, sample);
                }
                self.allowed |= allowed;
                !allowed
            });
            if found.is_empty() {
                return treated;
            }
            let resolved = scan::resolve(now, &masking, found);
            self.refuse |= resolved.refuse;
            if resolved.text == now {
                return treated;
            }
            // A mark alone has nothing in it, but for a pattern of the operator's own that matches the mark of another detector.
            if is_treated(resolved.text.as_bytes()) && !masking.has_custom() {
                return Some(resolved.text);
            }
            signals.read(resolved.text.as_bytes());
            if self.is_ruled_out(&resolved.text, signals, place.class) {
                return Some(resolved.text);
            }
            treated = Some(resolved.text);
        }
        Some(self.fail(place.position))
    }

    /// A detector could not finish: the value goes.
    #[cold]
    fn fail(&mut self, position: Position) -> String {
        let shown = Detector::Failed.marker();
        self.note(Detector::Failed, position, false, Shown::Borrowed(shown));
        shown.to_owned()
    }

    fn note(&mut self, detector: Detector, position: Position, allowed: bool, sample: Shown) {
        let same = |one: &&mut Pending| (one.detector, one.position, one.allowed) == (detector, position, allowed);
        if let Some(one) = self.pending.iter_mut().find(same) {
            one.count += 1;
        } else if self.pending.len() < PENDING_MAX {
            self.pending.push(Pending { detector, position, allowed, count: 1, sample });
        } else {
            self.findings.add_uncounted(1);
        }
    }

    /// Ends a text that is part of no span: what was found in it and not allowed.
    #[must_use]
    pub fn take_detectors(&mut self) -> Vec<Detector> {
        self.refuse = false;
        self.pending.drain(..).filter(|one| !one.allowed).map(|one| one.detector).collect()
    }

    /// Starts a span: what a refused one before it left is forgotten.
    #[inline]
    pub fn open_span(&mut self) {
        self.pending.clear();
        self.refuse = false;
    }

    /// What was masked in the open span, its resource and its scope: sorted words, `detector@position`, one space between two.
    /// `None`: nothing. What takes literals out of a structure says nothing of them, and what an entry allows is no leak.
    #[inline]
    #[must_use]
    pub fn words(&self) -> Option<String> {
        if self.pending.is_empty() && self.of_resource.is_empty() && self.of_scope.is_empty() {
            return None;
        }
        let found = self.found().chain(self.of_resource.iter().copied()).chain(self.of_scope.iter().copied());
        let mut words: Vec<String> =
            found.map(|(detector, position)| format!("{}@{}", self.masking.name(detector), position.name())).collect();
        words.sort_unstable();
        words.dedup();
        let mut bytes = 0;
        let fitting = words.iter().take_while(|word| {
            bytes += word.len() + 1;
            bytes + MORE_WORDS.len() <= WORDS_BYTES_MAX
        });
        let fitting = fitting.count();
        if fitting < words.len() {
            words.truncate(fitting);
            words.push(MORE_WORDS.to_owned());
        }
        (!words.is_empty()).then(|| words.join(" "))
    }

    fn found(&self) -> impl Iterator<Item = Word> + '_ {
        let leaks = self.pending.iter().filter(|one| !one.allowed && !one.detector.is_structural());
        leaks.map(|one| (one.detector, one.position))
    }

    /// Ends a resource. Returns whether its spans have to be refused.
    pub fn close_resource(&mut self) -> bool {
        self.of_resource = self.found().collect();
        self.close(|| "")
    }

    /// The spans that follow are of another scope.
    pub fn open_scope(&mut self) {
        self.of_scope.clear();
    }

    /// Ends a scope, or a part of it. Returns whether its spans have to be refused.
    pub fn close_scope(&mut self) -> bool {
        let found: Vec<Word> = self.found().collect();
        self.of_scope.extend(found);
        self.close(|| "")
    }

    /// Ends a span, a resource or a scope: what was found is counted. Returns whether it has to be refused.
    #[inline]
    pub fn close<'t>(&mut self, operation: impl FnOnce() -> &'t str) -> bool {
        if !self.pending.is_empty() {
            let operation = operation();
            for pending in self.pending.drain(..) {
                self.findings.add(pending, &self.service, operation);
            }
        }
        std::mem::take(&mut self.refuse)
    }

    /// The spans that follow are of `service`, as masked.
    pub fn open_service(&mut self, service: &str) {
        service.clone_into(&mut self.service);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place<'static> {
        Place::of(Position::StatusMessage)
    }

    #[test]
    fn a_detector_that_fails_takes_the_value_with_it() {
        let definition = "{\"detectors\": [{\"name\": \"broken\", \"pattern\": \"x\"}]}";
        let mut masking = Masking::read(definition).expect("a good definition");
        Arc::get_mut(&mut masking).expect("not shared yet").custom[0].fails = true;
        let mut masker = Masker::new(masking);
        assert_eq!(masker.treat("a value", 100, place()).as_deref(), Some("[failed]"));
        masker.close(|| "operation");
        let findings = masker.into_findings();
        let [finding] = findings.list() else { panic!("one finding") };
        assert_eq!((finding.detector, &*finding.operation, finding.count), (Detector::Failed, "operation", 1));
        assert!(!format!("{finding:?}").contains("a value"));
    }

    #[test]
    fn findings_are_bounded_and_what_is_beyond_is_counted() {
        let mut masker = Masker::new(Masking::strict());
        for operation in 0..2000 {
            masker.open_span();
            assert!(masker.treat("jane@example.com", 100, place()).is_some());
            masker.close(|| "");
            masker.treat("jane@example.com", 100, place());
            masker.open_service(&operation.to_string());
            masker.close(|| "x");
        }
        let findings = masker.into_findings();
        let counted: u64 = findings.list().iter().map(|finding| finding.count).sum();
        assert_eq!(findings.list().len(), super::super::findings::FINDINGS_MAX);
        assert_eq!(counted + findings.uncounted(), 4000);
    }

    #[test]
    fn a_value_across_the_cut_is_found_whole() {
        let mut masker = Masker::new(Masking::strict());
        let text = format!("{}4111111111111111", "a ".repeat(46));
        let treated = masker.treat(&text, 100, place()).expect("a card");
        assert!(treated.ends_with(" 411111******1111"), "{treated}");
    }

    #[test]
    fn nothing_is_made_for_a_clean_text_that_was_seen_before() {
        let mut masker = Masker::new(Masking::strict());
        let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101";
        for _ in 0..=Clean::WORTH_TEXTS {
            assert_eq!(masker.treat(agent, 1000, place()), None);
        }
        assert!(masker.clean.holds(agent.as_bytes(), KeyClass::NONE));
        assert!(!masker.clean.holds(agent.as_bytes(), KeyClass::SECRET));
    }
}
