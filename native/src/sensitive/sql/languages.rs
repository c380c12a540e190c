//! Queries that are no SQL, where the key says that a text is a statement: JSON and the commands of key-value stores.

use super::super::scan::Scan;
use super::super::signals::Block;
use super::words::{Word, is_assignment, next_statement, word_of};
use super::{LITERAL, is_name, number_end, push};

/// How the literals of a statement are told from the rest.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Language {
    Sql,
    /// Strings and numbers; also calls with JSON in them, and requests with a body of it.
    Json,
    /// A command, and arguments without quotes.
    Command,
}

/// Commands whose lines are told from lines of data, and which no SQL begins with, but for SET.
const COMMANDS: [&str; 57] = [
    "get",
    "gets",
    "set",
    "add",
    "cas",
    "prepend",
    "touch",
    "setex",
    "psetex",
    "setnx",
    "getset",
    "getdel",
    "getex",
    "mget",
    "mset",
    "msetnx",
    "append",
    "del",
    "unlink",
    "exists",
    "expire",
    "auth",
    "hello",
    "config",
    "multi",
    "watch",
    "hset",
    "hget",
    "hmset",
    "hmget",
    "hdel",
    "hgetall",
    "hincrby",
    "lpush",
    "rpush",
    "lpop",
    "rpop",
    "lrange",
    "sadd",
    "srem",
    "sismember",
    "smembers",
    "zadd",
    "zrem",
    "zrange",
    "zscore",
    "geoadd",
    "publish",
    "eval",
    "evalsha",
    "xadd",
    "incr",
    "incrby",
    "decr",
    "decrby",
    "ping",
    "scan",
];

/// First words of statements in SQL, Cypher, SPARQL or AQL, beside those that have a meaning of their own in [`word_of`].
const VERBS: [&str; 56] = [
    "analyze",
    "apply",
    "ask",
    "attach",
    "bulk",
    "cache",
    "checkpoint",
    "close",
    "cluster",
    "comment",
    "commit",
    "construct",
    "dbcc",
    "deallocate",
    "deny",
    "desc",
    "describe",
    "detach",
    "do",
    "drop",
    "end",
    "fetch",
    "flush",
    "for",
    "foreach",
    "from",
    "go",
    "kill",
    "let",
    "listen",
    "lock",
    "match",
    "notify",
    "open",
    "optimize",
    "optional",
    "pragma",
    "prefix",
    "raiserror",
    "refresh",
    "reindex",
    "release",
    "rename",
    "reset",
    "return",
    "revoke",
    "rollback",
    "savepoint",
    "show",
    "start",
    "table",
    "truncate",
    "unwind",
    "use",
    "vacuum",
    "values",
];

fn is_one_of(word: &[u8], words: &[&str]) -> bool {
    words.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes()))
}

/// The language of a text that the key calls a statement. What is none of SQL is taken for a command, of which less stays.
pub(super) fn language(scan: &Scan<'_>) -> Language {
    let text = scan.text.trim_ascii_start();
    let (word, after) = first_word(text);
    let rest = after.trim_ascii_start();
    match text.first() {
        Some(b'{') => return Language::Json,
        // A name in brackets is SQL.
        Some(b'[') if !text[1..].trim_ascii_start().first().is_some_and(u8::is_ascii_alphabetic) => {
            return Language::Json;
        }
        Some(byte) if is_name(*byte) => {}
        _ => return Language::Sql,
    }
    if after.first() == Some(&b'.') && word.eq_ignore_ascii_case(b"db") || is_request(word, rest) {
        return Language::Json;
    }
    let is_sql = if word.eq_ignore_ascii_case(b"set") {
        is_setting(rest)
    } else if is_one_of(word, &["delete", "replace"]) {
        // Memcached has these too.
        scan.signals.runs(Block::names).any(|run| word_of(&scan.text[run]).is_some_and(Word::goes_on))
    } else if is_one_of(word, &COMMANDS) {
        false
    } else {
        word_of(word).is_some_and(|word| word.starts != 0)
            || is_one_of(word, &VERBS)
            || next_statement(scan.text, scan.signals, &mut scan.signals.starts(Block::names), 0).is_some()
    };
    // Commands have arguments; one with dots in its name is of a module.
    let is_command = after.iter().find(|&&byte| !is_name(byte) && byte != b'.').is_none_or(u8::is_ascii_whitespace);
    if is_sql || !is_command { Language::Sql } else { Language::Command }
}

fn first_word(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|&byte| !is_name(byte)).unwrap_or(text.len()))
}

/// Whether a text is a request over HTTP. One without a body may be the command of the same name.
fn is_request(method: &[u8], rest: &[u8]) -> bool {
    rest.first() == Some(&b'/')
        && (is_one_of(method, &["post", "put", "patch"])
            || is_one_of(method, &["get", "delete", "head"]) && memchr::memchr(b'{', rest).is_some())
}

/// Whether what follows SET makes it SQL's, and not the command of key-value stores.
fn is_setting(rest: &[u8]) -> bool {
    let (mut word, mut after) = first_word(rest);
    let mut rest = rest;
    if is_one_of(word, &["session", "local", "global"]) {
        rest = after.trim_ascii_start();
        (word, after) = first_word(rest);
    }
    let next = after.trim_ascii_start();
    let (value, _) = first_word(next);
    match () {
        () if is_one_of(word, &["transaction", "characteristics"]) => true,
        () if word.eq_ignore_ascii_case(b"names") => {
            const CHARSETS: [&[u8]; 4] = [b"utf", b"latin", b"default", b"binary"];
            let is_charset =
                |name: &[u8]| value.get(..name.len()).is_some_and(|value| value.eq_ignore_ascii_case(name));
            matches!(next.first(), Some(b'\'' | b'"' | b'?')) || CHARSETS.into_iter().any(is_charset)
        }
        () if is_one_of(word, &["nocount", "xact_abort", "ansi_nulls", "quoted_identifier", "arithabort"]) => {
            is_one_of(value, &["on", "off"])
        }
        () => !word.is_empty() && value.eq_ignore_ascii_case(b"to") || is_assignment(rest),
    }
}

/// Strings that are no names of members, and numbers.
pub(super) fn find_json_literals(scan: &mut Scan<'_>) {
    let text = scan.text;
    let mut at = 0;
    while at < text.len() {
        let from = at;
        match text[at] {
            quote @ (b'"' | b'\'') => {
                let mut end = from + 1;
                while end < text.len() && text[end] != quote {
                    end += if text[end] == b'\\' { 2 } else { 1 };
                }
                at = end.min(text.len()) + 1;
                let is_name = text.get(at..).is_some_and(|rest| rest.trim_ascii_start().first() == Some(&b':'));
                if !is_name {
                    push(scan, from + 1, end.min(text.len()), LITERAL);
                }
            }
            b'0'..=b'9' if !from.checked_sub(1).is_some_and(|before| is_name(text[before])) => {
                at = number_end(text, from);
                push(scan, from, at, LITERAL);
            }
            _ => at += 1,
        }
    }
}

/// All words but the first one, and those at the start of a line that are commands too.
pub(super) fn find_arguments(scan: &mut Scan<'_>) {
    let text = scan.text;
    let mut is_first_line = true;
    let mut start = 0;
    for line in text.split(|&byte| byte == b'\n') {
        let mut at = start;
        start += line.len() + 1;
        let end = at + line.len();
        let mut is_first = true;
        while let Some(from) = (at..end).find(|&at| !text[at].is_ascii_whitespace()) {
            at = (from..end).find(|&at| text[at].is_ascii_whitespace()).unwrap_or(end);
            let stays = is_first && (is_first_line || is_one_of(&text[from..at], &COMMANDS));
            if !stays {
                push(scan, from, at, LITERAL);
            }
            (is_first, is_first_line) = (false, false);
        }
    }
}
