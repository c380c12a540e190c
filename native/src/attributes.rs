//! Lists of attributes: the entries of an Arrow map column while it grows.

use std::borrow::Cow;

use crate::dictionary::{Dictionary, Keys, NO_KEY};
use crate::error::Result;
use crate::limits::{Limits, clip};
use crate::sensitive::{KeyClass, Masker, Place, Position};
use crate::tally::Tally;
use crate::text::{TextColumn, offset, place};
use crate::value::ValueWriter;
use crate::wire;

/// What all columns of one table share.
pub struct Shared {
    /// The bounds.
    pub limits: Limits,
    /// What was left out.
    pub tally: Tally,
    /// The attribute keys of all columns.
    pub keys: Keys,
    /// Treats what is sensitive.
    pub masker: Masker,
}

impl Shared {
    /// `text` masked and within the limit; counts the cut.
    #[inline]
    pub fn keep<'t>(&mut self, text: &'t str, position: Position) -> Cow<'t, str> {
        match self.masker.treat(text, self.limits.value_bytes, Place::of(position)) {
            None => Cow::Borrowed(self.clip(text)),
            Some(treated) => Cow::Owned(self.clip(&treated).to_owned()),
        }
    }

    /// The index of `text`, masked and within the limit, in `dictionary`.
    #[inline]
    pub fn index(&mut self, dictionary: &mut Dictionary, text: &str, position: Position) -> Result<i32> {
        if self.masker.trusts_known()
            && let Some(index) = dictionary.known(text)
        {
            return Ok(index);
        }
        dictionary.index(&self.keep(text, position))
    }

    #[inline]
    fn clip<'t>(&mut self, text: &'t str) -> &'t str {
        let clipped = clip(text, self.limits.value_bytes);
        self.tally.truncated_values += u64::from(clipped.len() < text.len());
        clipped
    }
}

/// The key of an attribute that is being written.
#[derive(Clone, Copy)]
pub struct Key {
    index: i32,
    class: KeyClass,
}

/// A column of attribute lists, the last of which may still be open.
///
/// Write an attribute so: [`Attributes::admit`], then [`Attributes::key`], then its value into [`Attributes::value`], then
/// [`Attributes::close_entry`]. The key comes first because it says what to look for in the value. Of several attributes with
/// the same key in a list the last counts, in the place of the last.
pub struct Attributes {
    /// Where each list starts, and at last where the closed ones end.
    lists: Vec<i32>,
    keys: Vec<i32>,
    values: TextColumn,
    /// Attributes offered to the open list.
    offered: usize,
    previous_key: i32,
    /// For each key, the last list that had it, counted from one.
    last_list: Vec<u64>,
    /// The open list, counted from one over the life of the column.
    list: u64,
    /// Entries of the open list that a later one with the same key replaces.
    replaced: Vec<usize>,
    position: Position,
}

impl Attributes {
    /// An empty column of attributes that stand at `position`.
    #[must_use]
    pub fn new(position: Position) -> Self {
        Self {
            position,
            lists: vec![0],
            keys: Vec::new(),
            values: TextColumn::default(),
            offered: 0,
            previous_key: NO_KEY,
            last_list: Vec::new(),
            list: 1,
            replaced: Vec::new(),
        }
    }
}

/// The buffers of a finished column.
pub struct AttributeParts {
    /// Offsets of the lists into the entries.
    pub lists: Vec<i32>,
    /// Key of each entry, an index into [`Keys`].
    pub keys: Vec<i32>,
    /// Value of each entry.
    pub values: TextColumn,
}

impl Attributes {
    /// Room for `lists` more lists.
    pub fn reserve(&mut self, lists: usize) {
        self.lists.reserve(lists);
    }

    /// Bytes of values and entries.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.values.bytes() + 2 * size_of::<i32>() * self.keys.len()
    }

    /// Keys and values of all entries.
    pub fn entries(&self) -> impl Iterator<Item = (i32, &[u8])> {
        // As many values as keys, so neither is cut short.
        self.keys.iter().zip(0..).map(|(&key, index)| (key, self.values.get(index).unwrap_or_default()))
    }

    /// Whether the open list takes one more attribute; if not, it is counted as dropped.
    #[inline]
    pub fn admit(&mut self, shared: &mut Shared) -> bool {
        self.offered += 1;
        let admitted = self.offered <= shared.limits.attributes;
        shared.tally.dropped_attributes += u64::from(!admitted);
        admitted
    }

    /// The key of the attribute just admitted, masked; found at `at` in the body and not yet known to be UTF-8.
    #[inline]
    pub fn key(&mut self, shared: &mut Shared, key: &[u8], at: usize) -> Result<Key> {
        if shared.masker.trusts_known()
            && let Some(index) = shared.keys.find(self.previous_key, key)
        {
            return Ok(Key { index, class: shared.keys.class(index) });
        }
        let given = wire::utf8(key, at)?;
        let kept = shared.keep(given, self.position.of_key());
        let class = shared.masker.classify(&kept);
        let index = shared.keys.add(self.previous_key, &kept, class)?;
        // What was masked in it may have said something about the value.
        let class = if *kept == *given { class } else { shared.masker.classify_inner(class, given) };
        Ok(Key { index, class })
    }

    /// Where to write the value of the attribute just admitted; `name` is its key as given. Forgets what was written before.
    #[inline]
    pub fn value<'a>(&'a mut self, shared: &'a mut Shared, key: Key, name: &'a [u8]) -> ValueWriter<'a> {
        let start = self.values.open_at();
        self.values.open().truncate(start);
        let place = Place { position: self.position, key: name, class: key.class };
        ValueWriter::new(self.values.open(), shared.limits.value_bytes, &mut shared.masker, place)
    }

    /// Ends an attribute whose value is written.
    #[inline]
    pub fn close_entry(&mut self, key: Key) -> Result<()> {
        let key = key.index;
        self.previous_key = key;
        self.note_list(key);
        self.keys.push(key);
        self.values.close()?;
        Ok(())
    }

    /// Adds ours to the open list, [`crate::dictionary::MASKED`]: what was masked in the span. One that the sender wrote goes, so that nobody can forge it.
    #[inline]
    pub fn mark(&mut self, keys: &mut Keys, masked: Option<&str>) -> Result<()> {
        if let Some(words) = masked {
            let index = keys.add_masked()?;
            let start = self.values.open_at();
            self.values.open().truncate(start);
            self.values.open().extend_from_slice(words.as_bytes());
            // Takes the place of the sender's, as the last of several with one key does.
            return self.close_entry(Key { index, class: KeyClass::NONE });
        }
        if let Some(forged) = keys.masked() {
            let start = self.open_at();
            let entry = self.keys[start..].iter().rposition(|&key| key == forged);
            self.replaced.extend(entry.map(|at| start + at));
        }
        Ok(())
    }

    /// Remembers that the open list has `key`, and what it replaces if it had it already.
    #[inline]
    fn note_list(&mut self, key: i32) {
        let slot = place(key);
        if slot >= self.last_list.len() {
            self.last_list.resize(slot + 1, 0);
        }
        if self.last_list[slot] == self.list {
            let start = self.open_at();
            let earlier = self.keys[start..].iter().rposition(|&other| other == key);
            self.replaced.extend(earlier.map(|at| start + at));
        }
        self.last_list[slot] = self.list;
    }

    fn open_at(&self) -> usize {
        self.lists.last().map_or(0, |&end| place(end))
    }

    /// Ends the open list.
    #[inline]
    pub fn close_list(&mut self) -> Result<()> {
        if !self.replaced.is_empty() {
            self.drop_replaced()?;
        }
        self.lists.push(offset(self.keys.len())?);
        self.start_list();
        Ok(())
    }

    #[cold]
    fn drop_replaced(&mut self) -> Result<()> {
        let start = self.open_at();
        self.replaced.sort_unstable();
        let replaced = std::mem::take(&mut self.replaced);
        self.values.retain_from(start, |entry| replaced.binary_search(&entry).is_err())?;
        let mut entry = start;
        let mut kept = start;
        while entry < self.keys.len() {
            if replaced.binary_search(&entry).is_err() {
                self.keys[kept] = self.keys[entry];
                kept += 1;
            }
            entry += 1;
        }
        self.keys.truncate(kept);
        Ok(())
    }

    /// Forgets the open list and all but the first `lists` closed ones.
    pub fn truncate(&mut self, lists: usize) {
        self.lists.truncate(lists + 1);
        let entries = self.open_at();
        self.keys.truncate(entries);
        self.values.truncate(entries);
        self.start_list();
    }

    #[inline]
    fn start_list(&mut self) {
        self.offered = 0;
        self.previous_key = NO_KEY;
        self.list += 1;
        self.replaced.clear();
    }

    /// Closed lists.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.lists.len() - 1
    }

    /// Whether there is no closed list.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The finished buffers.
    #[must_use]
    pub fn into_parts(self) -> AttributeParts {
        AttributeParts { lists: self.lists, keys: self.keys, values: self.values }
    }
}
