//! Masking while one body is decoded: which service and span is open, and what was found in it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::limits::clip;

use super::definition::Masking;
use super::detector::{Detector, Shown};
use super::findings::{Findings, Pending, Position, SAMPLE_BYTES};
use super::keys::{self, KeyClass};
use super::scan::{self, Found};
use super::signals::Signals;

/// Bytes of a text that are looked at beyond those that are kept, so that a value across the cut is found whole.
const BEYOND_CUT_BYTES: usize = 4096;

/// Treating a text can leave one in which something else is found; after so many times the whole text goes.
const ROUNDS_MAX: usize = 4;

/// Different findings of one span that are counted apart.
const PENDING_MAX: usize = 64;

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

/// Treats the texts of one body.
pub struct Masker {
    masking: Arc<Masking>,
    findings: Findings,
    pending: Vec<Pending>,
    service: String,
    refuse: bool,
    /// Whether a text of this body was kept because an entry allows it.
    allowed: bool,
}

impl Masker {
    /// For one body.
    #[must_use]
    pub fn new(masking: Arc<Masking>) -> Self {
        let (findings, pending, service) = (Findings::default(), Vec::new(), String::new());
        Self { masking, findings, pending, service, refuse: false, allowed: false }
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
        if self.masking.is_off() {
            return None;
        }
        let text = if text.len() > bytes { clip(text, bytes.saturating_add(BEYOND_CUT_BYTES)) } else { text };
        let signals = Signals::of(text.as_bytes());
        if signals.is_plain() && place.class.is_none() && !self.masking.looks_at_plain() {
            return None;
        }
        self.treat_found(text, signals, place)
    }

    #[inline(never)]
    fn treat_found(&mut self, text: &str, mut signals: Signals, place: Place<'_>) -> Option<String> {
        let masking = Arc::clone(&self.masking);
        let mut treated: Option<String> = None;
        for round in 0..ROUNDS_MAX {
            let now = treated.as_deref().unwrap_or(text);
            let mut found: Vec<Found> = Vec::new();
            let bytes = now.as_bytes();
            let searched = catch_unwind(AssertUnwindSafe(|| {
                scan::find(bytes, signals, place.key, place.class, &masking, &mut found);
            }));
            if searched.is_err() {
                return Some(self.fail(place.position));
            }
            if found.is_empty() {
                return treated;
            }
            scan::drop_repeated(&mut found);
            found.retain(|one| {
                let allowed = masking.allows(one.detector, place.key, &self.service);
                if round == 0 || !allowed {
                    self.note(one.detector, place.position, allowed, if allowed { "" } else { &one.shown });
                }
                self.allowed |= allowed;
                !allowed
            });
            if found.is_empty() {
                return treated;
            }
            let resolved = scan::resolve(now, &masking, &mut found);
            self.refuse |= resolved.refuse;
            if resolved.text == now {
                return treated;
            }
            signals = Signals::of(resolved.text.as_bytes());
            treated = Some(resolved.text);
        }
        Some(self.fail(place.position))
    }

    /// A detector could not finish: the value goes.
    #[cold]
    fn fail(&mut self, position: Position) -> String {
        let shown: Shown = Shown::Borrowed(Detector::Failed.marker());
        self.note(Detector::Failed, position, false, &shown);
        shown.into_owned()
    }

    fn note(&mut self, detector: Detector, position: Position, allowed: bool, shown: &str) {
        let same = |one: &&mut Pending| (one.detector, one.position, one.allowed) == (detector, position, allowed);
        if let Some(one) = self.pending.iter_mut().find(same) {
            one.count += 1;
        } else if self.pending.len() < PENDING_MAX {
            let sample = clip(shown, SAMPLE_BYTES).to_owned();
            self.pending.push(Pending { detector, position, allowed, count: 1, sample });
        } else {
            self.findings.add_uncounted(1);
        }
    }

    /// Starts a span: what a refused one before it left is forgotten.
    #[inline]
    pub fn open_span(&mut self) {
        self.pending.clear();
        self.refuse = false;
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
