//! Strings that repeat, each stored once and named by its index.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::error::Result;
use crate::sensitive::KeyClass;
use crate::text::{TextColumn, place};

/// Distinct strings in order of first use; becomes the values of an Arrow dictionary.
///
/// The hash is seeded at random, so that a sender cannot prepare strings that collide; indices do not depend on it.
#[derive(Default)]
pub struct Dictionary {
    strings: TextColumn,
    indices: HashTable<i32>,
    hasher: DefaultHashBuilder,
    last: i32,
}

impl Dictionary {
    /// The distinct strings.
    #[must_use]
    pub fn into_strings(self) -> TextColumn {
        self.strings
    }

    /// Whether string number `index` is this one; false for an index not given out yet.
    #[inline]
    #[must_use]
    pub fn holds(&self, index: i32, string: &[u8]) -> bool {
        self.strings.get(index) == Some(string)
    }

    /// String number `index`; empty if there is none.
    #[must_use]
    pub fn text(&self, index: i32) -> &str {
        // Cannot fail: it was UTF-8 when it was added.
        self.strings.get(index).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }

    /// The index of `string`, new or not. Cheapest when it is the same as in the last call.
    #[inline]
    pub fn index(&mut self, string: &str) -> Result<i32> {
        if !self.holds(self.last, string.as_bytes()) {
            self.last = self.find_or_add(string)?;
        }
        Ok(self.last)
    }

    /// The index of `string` if it was seen before.
    #[inline]
    #[must_use]
    pub fn find(&self, string: &[u8]) -> Option<i32> {
        let hash = self.hasher.hash_one(string);
        self.indices.find(hash, |&index| self.strings.get(index) == Some(string)).copied()
    }

    /// As [`Dictionary::find`]; cheapest for the string of the last call.
    #[inline]
    #[must_use]
    pub fn known(&self, string: &str) -> Option<i32> {
        if self.holds(self.last, string.as_bytes()) { Some(self.last) } else { self.find(string.as_bytes()) }
    }

    fn find_or_add(&mut self, string: &str) -> Result<i32> {
        if let Some(index) = self.find(string.as_bytes()) {
            return Ok(index);
        }
        let index = self.strings.push(string)?;
        let hash = self.hasher.hash_one(string.as_bytes());
        let Self { strings, indices, hasher, .. } = self;
        indices.insert_unique(hash, index, |&index| hasher.hash_one(strings.get(index).unwrap_or_default()));
        Ok(index)
    }
}

/// Attribute keys. A sender writes the same keys in the same order on span after span, so the key that followed the previous
/// one last time is tried first: one comparison instead of a hash, and no second look at its UTF-8.
#[derive(Default)]
pub struct Keys {
    dictionary: Dictionary,
    /// At `previous + 1`, the key that followed last; at 0, the one that came first in a list.
    following: Vec<i32>,
    /// What each key says about its value.
    classes: Vec<KeyClass>,
    /// Index of [`MASKED`], once a sender or we used it.
    masked: Option<i32>,
}

/// Key of the one span attribute that is ours: what was masked in the span, for those who count (docs/windows.md).
pub const MASKED: &str = "verdigris.masked";

/// The `previous` of the first key in a list.
pub const NO_KEY: i32 = -1;

impl Keys {
    /// The distinct keys.
    #[must_use]
    pub fn into_strings(self) -> TextColumn {
        self.dictionary.into_strings()
    }

    /// Whether key number `index` is this one.
    #[must_use]
    pub fn holds(&self, index: i32, key: &[u8]) -> bool {
        self.dictionary.holds(index, key)
    }

    /// The index of a key that was seen before, found without checking that `key` is UTF-8: it equals one that is.
    #[inline]
    #[must_use]
    pub fn find(&mut self, previous: i32, key: &[u8]) -> Option<i32> {
        let guess = self.following.get(slot(previous)).copied().unwrap_or(NO_KEY);
        if self.dictionary.holds(guess, key) {
            return Some(guess);
        }
        let found = self.dictionary.find(key)?;
        self.remember(previous, found);
        Some(found)
    }

    /// What key number `index` says about its value.
    #[inline]
    #[must_use]
    pub fn class(&self, index: i32) -> KeyClass {
        self.classes.get(place(index)).copied().unwrap_or_default()
    }

    /// The index of `key`, new or not; a new one says `class` about its value.
    pub fn add(&mut self, previous: i32, key: &str, class: KeyClass) -> Result<i32> {
        let index = self.dictionary.index(key)?;
        if self.classes.len() <= place(index) {
            self.classes.resize(place(index) + 1, class);
        }
        if key == MASKED {
            self.masked = Some(index);
        }
        self.remember(previous, index);
        Ok(index)
    }

    /// The index of [`MASKED`] if the table has it.
    #[inline]
    #[must_use]
    pub fn masked(&self) -> Option<i32> {
        self.masked
    }

    /// The index of [`MASKED`], new or not. Not a key that senders write, so none is expected to follow another.
    pub fn add_masked(&mut self) -> Result<i32> {
        if let Some(index) = self.masked {
            return Ok(index);
        }
        let index = self.dictionary.index(MASKED)?;
        self.classes.resize(place(index) + 1, KeyClass::NONE);
        self.masked = Some(index);
        Ok(index)
    }

    fn remember(&mut self, previous: i32, index: i32) {
        let slot = slot(previous);
        if self.following.len() <= slot {
            self.following.resize(slot + 1, NO_KEY);
        }
        self.following[slot] = index;
    }
}

fn slot(previous: i32) -> usize {
    place(previous + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_string_has_one_index() {
        let mut dictionary = Dictionary::default();
        let indices: Vec<i32> =
            ["b", "a", "a", "b", "", "c", ""].iter().map(|string| dictionary.index(string).expect("small")).collect();
        assert_eq!(indices, [0, 1, 1, 0, 2, 3, 2]);
        assert_eq!(dictionary.find(b"c"), Some(3));
        assert_eq!(dictionary.find(b"d"), None);
    }

    #[test]
    fn a_wrong_guess_is_no_answer() {
        let mut keys = Keys::default();
        let a = keys.add(NO_KEY, "a", KeyClass::NONE).expect("small");
        let b = keys.add(a, "b", KeyClass::NONE).expect("small");
        let c = keys.add(a, "c", KeyClass::SECRET).expect("small");
        assert_eq!(keys.find(a, b"b"), Some(b));
        assert_eq!(keys.find(a, b"c"), Some(c));
        assert_eq!((keys.class(b), keys.class(c)), (KeyClass::NONE, KeyClass::SECRET));
        assert_eq!(keys.find(c, b"d"), None);
        assert_eq!(keys.find(NO_KEY, b"a"), Some(a));
    }
}
