//! A growing column of strings: one buffer of UTF-8 and the offsets into it, as Arrow lays it out.

use crate::error::{DecodeError, ErrorKind, Result};

/// `n` as an Arrow offset or index. Fails with `too_large` beyond 2³¹−1.
#[inline]
pub fn offset(n: usize) -> Result<i32> {
    i32::try_from(n)
        .map_err(|_| DecodeError::new(ErrorKind::TooLarge, 0, "the table would exceed 2^31 bytes or entries"))
}

/// An Arrow offset or index of ours as an index: ours are never negative.
#[inline]
#[expect(clippy::cast_sign_loss)]
pub(crate) fn place(offset: i32) -> usize {
    offset as usize
}

/// Strings, the last of which may still be open for writing.
pub struct TextColumn {
    /// Where each string starts, and at last where the closed ones end.
    offsets: Vec<i32>,
    bytes: Vec<u8>,
}

impl Default for TextColumn {
    fn default() -> Self {
        Self { offsets: vec![0], bytes: Vec::new() }
    }
}

impl TextColumn {
    /// Closed strings.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there is no closed string.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of all strings.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Room for `rows` more strings of `bytes` together.
    pub fn reserve(&mut self, rows: usize, bytes: usize) {
        self.offsets.reserve(rows);
        self.bytes.reserve(bytes);
    }

    /// Appends a string and returns its index.
    #[inline]
    pub fn push(&mut self, string: &str) -> Result<i32> {
        self.bytes.extend_from_slice(string.as_bytes());
        self.close()
    }

    /// String number `index`, if there is one.
    #[inline]
    #[must_use]
    pub fn get(&self, index: i32) -> Option<&[u8]> {
        let index = usize::try_from(index).ok()?;
        let [start, end] = *self.offsets.get(index..)?.first_chunk()?;
        self.bytes.get(place(start)..place(end))
    }

    /// The buffer to write the open string to: only ever append whole characters, and cut at [`TextColumn::open_at`].
    #[inline]
    pub(crate) fn open(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Where the open string starts in the buffer.
    #[inline]
    pub(crate) fn open_at(&self) -> usize {
        self.offsets.last().map_or(0, |&end| place(end))
    }

    /// Ends the open string and returns its index.
    #[inline]
    pub fn close(&mut self) -> Result<i32> {
        let index = offset(self.len())?;
        self.offsets.push(offset(self.bytes.len())?);
        Ok(index)
    }

    /// Forgets the open string and all but the first `rows` closed ones.
    pub fn truncate(&mut self, rows: usize) {
        self.offsets.truncate(rows + 1);
        self.bytes.truncate(self.open_at());
    }

    /// Keeps of the strings from `first` on those for which `keep` says so.
    pub fn retain_from(&mut self, first: usize, mut keep: impl FnMut(usize) -> bool) -> Result<()> {
        let rows = self.len();
        let mut kept = first;
        let mut end = place(self.offsets[first]);
        for row in first..rows {
            let source = place(self.offsets[row])..place(self.offsets[row + 1]);
            if keep(row) {
                let length = source.len();
                self.bytes.copy_within(source, end);
                end += length;
                kept += 1;
                self.offsets[kept] = offset(end)?;
            }
        }
        self.truncate(kept);
        Ok(())
    }

    /// Offsets and bytes, for Arrow.
    #[must_use]
    pub fn into_parts(self) -> (Vec<i32>, Vec<u8>) {
        (self.offsets, self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_strings_of_many_are_kept() {
        let mut column = TextColumn::default();
        for string in ["before", "a", "", "bc", "def", "g"] {
            column.push(string).expect("small");
        }
        column.retain_from(1, |row| row % 2 == 1).expect("small");
        assert_eq!(column.into_parts(), (vec![0, 6, 7, 9, 10], b"beforeabcg".to_vec()));
    }

    #[test]
    fn the_open_string_is_forgotten() {
        let mut column = TextColumn::default();
        column.push("kept").expect("small");
        column.push("closed").expect("small");
        column.open().extend(b"open");
        column.truncate(1);
        assert_eq!((column.len(), column.get(0), column.get(1), column.get(-1)), (1, Some(&b"kept"[..]), None, None));
        assert_eq!(column.bytes(), 4);
    }

    #[test]
    fn offsets_end_at_31_bits() {
        assert_eq!(offset(2_147_483_647).ok(), Some(i32::MAX));
        assert!(offset(2_147_483_648).is_err());
    }
}
