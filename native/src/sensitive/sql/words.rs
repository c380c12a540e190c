//! The words of statements: what they begin, what they go on, and what they say of what comes next.

use super::super::signals::{Block, Signals};

use super::{dollar_tag, is_name};

const SELECT: u16 = 1;
const INTO: u16 = 1 << 1;
const UPDATE: u16 = 1 << 2;
const DELETE: u16 = 1 << 3;
const NESTED: u16 = 1 << 4;
const USER: u16 = 1 << 5;
/// Words that nothing but a statement has together.
const RARE: u16 = 1 << 6;
const GRANT: u16 = 1 << 7;
const TABLE: u16 = 1 << 8;
const MERGE: u16 = 1 << 9;
/// What stands before a statement in the same list of them: it starts none, but belongs to the one that follows.
const LEADS: u16 = 1 << 10;
/// The statements that need no second word; only at the start of a text, because their first words are everyday ones.
const CALLS: u16 = 1 << 11;
/// A word that is a statement wherever it stands.
const ALONE: u16 = 1 << 12;
/// Everyday words in pairs that prose has too: they count in capitals only.
const CAPITALS: u16 = GRANT | TABLE | MERGE;
const BITS: usize = 13;

/// What is quoted next is a value.
pub(super) const VALUE: u8 = 1;
/// A number next is one too.
pub(super) const NUMBER: u8 = 1 << 1;
/// What is quoted is a value until a word with [`ENDS`].
pub(super) const LIST: u8 = 1 << 2;
pub(super) const ENDS: u8 = 1 << 3;
/// A table is next, whose name may start with `#`.
pub(super) const OF_TABLE: u8 = 1 << 4;
/// In brackets that follow are names, not the values of a call; with [`OF_TABLE`], in those that follow the table.
pub(super) const COLUMNS: u8 = 1 << 5;
/// The lines that follow are data.
pub(super) const DATA: u8 = 1 << 6;

/// A word of statements, with those that it may start, and those that it goes on: a statement is known by its first word together
/// with one that must follow somewhere.
pub(super) struct Word {
    spelled: &'static [u8],
    pub(super) starts: u16,
    goes_on: u16,
    /// What it says of what comes next.
    pub(super) next: u8,
}

impl Word {
    /// Whether it goes on a statement that changes or reads rows.
    pub(super) const fn goes_on(&self) -> bool {
        self.goes_on & (SELECT | INTO | UPDATE | DELETE) != 0
    }
}

const fn word(spelled: &'static [u8], starts: u16, goes_on: u16, next: u8) -> Word {
    Word { spelled, starts, goes_on, next }
}

/// No more than bits in one of [`HEADS`].
static WORDS: [Word; 63] = [
    word(b"select", SELECT, NESTED, ENDS),
    word(b"insert", INTO, NESTED, 0),
    word(b"merge", MERGE | RARE, 0, 0),
    word(b"replace", INTO, 0, 0),
    word(b"upsert", INTO, 0, 0),
    word(b"update", UPDATE, NESTED, OF_TABLE),
    word(b"delete", DELETE, NESTED, 0),
    word(b"with", NESTED, 0, 0),
    word(b"explain", NESTED, 0, 0),
    word(b"alter", USER | TABLE | LEADS, 0, 0),
    word(b"create", USER | TABLE | LEADS, 0, 0),
    word(b"grant", GRANT | RARE | LEADS, 0, 0),
    word(b"load", RARE, 0, 0),
    word(b"copy", RARE, 0, 0),
    word(b"declare", LEADS, 0, 0),
    word(b"print", LEADS, 0, 0),
    word(b"if", LEADS, 0, 0),
    word(b"begin", LEADS, 0, 0),
    word(b"prepare", LEADS, 0, 0),
    word(b"parameters", LEADS, 0, 0),
    word(b"call", CALLS, 0, LIST),
    word(b"exec", CALLS, 0, LIST),
    word(b"execute", CALLS, 0, LIST),
    word(b"sp_executesql", ALONE, 0, LIST),
    word(b"from", 0, SELECT | DELETE, OF_TABLE),
    word(b"where", 0, SELECT, ENDS),
    word(b"into", 0, INTO, OF_TABLE | COLUMNS),
    word(b"values", 0, INTO, LIST | NUMBER),
    word(b"set", LEADS, UPDATE, 0),
    word(b"user", 0, USER, 0),
    word(b"role", 0, USER, 0),
    word(b"login", 0, USER, 0),
    word(b"identified", 0, USER | RARE, LIST),
    word(b"matched", 0, RARE, 0),
    word(b"infile", 0, RARE, VALUE),
    word(b"to", 0, GRANT, 0),
    word(b"table", 0, TABLE, OF_TABLE | COLUMNS),
    word(b"using", 0, MERGE, COLUMNS),
    word(b"password", 0, 0, VALUE),
    word(b"in", 0, 0, LIST | NUMBER),
    word(b"on", 0, 0, ENDS | OF_TABLE),
    word(b"references", 0, 0, OF_TABLE | COLUMNS),
    word(b"exists", 0, 0, OF_TABLE | COLUMNS),
    word(b"join", 0, 0, OF_TABLE),
    word(b"key", 0, 0, COLUMNS),
    word(b"count", 0, 0, COLUMNS),
    word(b"min", 0, 0, COLUMNS),
    word(b"max", 0, 0, COLUMNS),
    word(b"sum", 0, 0, COLUMNS),
    word(b"avg", 0, 0, COLUMNS),
    word(b"distinct", 0, 0, COLUMNS),
    word(b"default", 0, 0, VALUE | NUMBER),
    word(b"stdin", 0, RARE, DATA),
    word(b"returning", 0, 0, ENDS),
    word(b"like", 0, 0, VALUE | NUMBER),
    word(b"ilike", 0, 0, VALUE),
    word(b"between", 0, 0, VALUE | NUMBER),
    word(b"then", 0, 0, VALUE | NUMBER),
    word(b"else", 0, 0, VALUE | NUMBER),
    word(b"limit", 0, 0, NUMBER),
    word(b"offset", 0, 0, NUMBER),
    word(b"and", 0, 0, NUMBER | COLUMNS),
    word(b"top", 0, 0, NUMBER),
];

/// For each byte, in any case, the words that have it first, and those that have it second: a bit of each.
static HEADS: [[u64; 256]; 2] = {
    let mut heads = [[0; 256]; 2];
    let mut at = 0;
    while at < 2 * WORDS.len() {
        let (word, place) = (at / 2, at % 2);
        let byte = WORDS[word].spelled[place];
        heads[place][byte as usize] |= 1 << word;
        heads[place][byte.to_ascii_uppercase() as usize] |= 1 << word;
        at += 1;
    }
    heads
};

/// The words that may start as `text` does: a bit of each.
fn heads(text: &[u8]) -> u64 {
    match *text {
        [first, second, ..] => HEADS[0][usize::from(first)] & HEADS[1][usize::from(second)],
        _ => 0,
    }
}

/// The word that `text` is, in any case.
pub(super) fn word_of(text: &[u8]) -> Option<&'static Word> {
    let mut left = heads(text);
    while left != 0 {
        let word = &WORDS[left.trailing_zeros() as usize];
        if text.eq_ignore_ascii_case(word.spelled) {
            return Some(word);
        }
        left &= left - 1;
    }
    None
}

/// Where the next of the words that start at `starts` starts a statement: the first word of one with a word that must follow it.
pub(super) fn next_statement(
    text: &[u8],
    signals: &Signals,
    starts: &mut impl Iterator<Item = usize>,
    from: usize,
) -> Option<usize> {
    let mut waiting = [None; BITS];
    let mut leads: Option<usize> = None;
    let mut is_next_first = true;
    for start in starts {
        if start < from {
            continue;
        }
        let is_first = std::mem::take(&mut is_next_first);
        let start = start + usize::from(is_escape(text, start));
        // Most words are none of these, which their first two bytes say.
        if heads(&text[start..]) == 0 {
            continue;
        }
        let end = signals.end(start, Block::names);
        let spelled = &text[start..end];
        let Some(word) = word_of(spelled) else { continue };
        let in_capitals = spelled.iter().all(|byte| !byte.is_ascii_lowercase());
        let counts = |bit: &usize| in_capitals || CAPITALS >> bit & 1 == 0;
        let after = text[end..].trim_ascii_start();
        if word.goes_on & UPDATE == 0 || is_assignment(after) {
            let started = bits(word.goes_on).filter(counts).filter_map(|bit| waiting[bit]).min();
            if let Some(start) = started {
                return Some(leads.map_or(start, |leads| leads.min(start)));
            }
        }
        if word.starts & ALONE != 0
            || word.starts & CALLS != 0 && is_first
            || word.starts & SELECT != 0 && dollar_tag(after).is_some()
        {
            return Some(leads.unwrap_or(start));
        }
        if word.starts & LEADS != 0 && (in_capitals || matches!(after.first(), Some(b'@' | b'=' | b':'))) {
            leads = leads.or(Some(start));
        }
        for bit in bits(word.starts).filter(counts) {
            waiting[bit] = waiting[bit].or(Some(start));
        }
    }
    None
}

fn bits(mut set: u16) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = (set != 0).then(|| set.trailing_zeros() as usize)?;
        set &= set - 1;
        Some(bit)
    })
}

/// Whether the first letter of the word that starts at `start` is that of an escape such as `\n`.
pub(super) fn is_escape(text: &[u8], start: usize) -> bool {
    start.checked_sub(1).is_some_and(|at| text[at] == b'\\') && matches!(text[start], b'n' | b'r' | b't')
}

/// Whether `text` starts with what a SET sets: a name or names in brackets, and what is assigned.
pub(super) fn is_assignment(text: &[u8]) -> bool {
    const TARGET_BYTES_MAX: usize = 256;
    if matches!(text.first(), Some(b'(' | b'"' | b'`' | b'[')) {
        return true;
    }
    let is_target = |byte: u8| is_name(byte) || b"@.$\"`[]\\".contains(&byte);
    let end = text.iter().take(TARGET_BYTES_MAX).position(|&byte| !is_target(byte)).unwrap_or(text.len());
    let after = text[end..].trim_ascii_start();
    end > 0 && matches!(after, [b'=', ..] | [b':' | b'+' | b'-' | b'*' | b'|', b'=', ..])
}
