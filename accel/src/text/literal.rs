//! What people wrote is read as text, even where it spells a control token: `<|im_end|>` in a question ends no turn.
//!
//! A template mixes its own words, where such tokens count, with those of people, and may cut and copy them. So each
//! character that could be part of a control token gets a mark before it on its way in, a character that nobody has
//! used, and loses it on the way out, when its place is known. Texts that spell no such token pass as they are, and
//! their prompts stay those of llama.cpp, token for token.

use std::collections::HashSet;
use std::fmt::Write;
use std::ops::{Range, RangeInclusive};

use serde_json::Value;

use super::special::Special;
use crate::error::{Error, Result};

/// Private use, planes 16 and 15: they mean nothing to anybody unless two have agreed upon it.
const MARKS: [RangeInclusive<char>; 2] = ['\u{100000}'..='\u{10FFFD}', '\u{F0000}'..='\u{FFFFD}'];

/// A prompt; what lies in `literal`, ranges of its bytes from left to right, is part of no control token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prompt {
    pub text: String,
    pub literal: Vec<Range<usize>>,
}

/// Marks what people wrote, if any of it needs that; returns the mark.
///
/// # Errors
/// `BadRequest` when every possible mark is in the texts.
pub fn mark(values: &mut [Value], special: &Special) -> Result<Option<char>> {
    let mut needs_marks = false;
    let mut used = HashSet::new();
    for value in values.iter() {
        visit(value, &mut |text| {
            needs_marks |= !special.control_places(text).is_empty();
            used.extend(text.chars().filter(|letter| *letter >= *MARKS[1].start()));
        });
    }
    if !needs_marks {
        return Ok(None);
    }
    let free = MARKS.into_iter().flatten().find(|letter| !used.contains(letter));
    let mark =
        free.ok_or_else(|| Error::BadRequest("the messages use all characters that there are".into()))?;
    for value in values {
        change(value, &|text| marked(text, special, mark));
    }
    Ok(Some(mark))
}

/// Takes the marks out again, also where a template has escaped them for JSON in ASCII.
pub fn unmark(rendered: String, mark: Option<char>) -> Prompt {
    let Some(mark) = mark else { return Prompt { text: rendered, literal: Vec::new() } };
    let escaped = mark.encode_utf16(&mut [0; 2]).iter().fold(String::new(), |mut text, unit| {
        // A String takes all that is written to it.
        let _ = write!(text, "\\u{unit:04x}");
        text
    });
    let mut prompt = Prompt { text: String::with_capacity(rendered.len()), literal: Vec::new() };
    let mut rest = rendered.as_str();
    let mut is_literal = false;
    while let Some(letter) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix(mark).or_else(|| rest.strip_prefix(escaped.as_str())) {
            is_literal = true;
            rest = after;
            continue;
        }
        let start = prompt.text.len();
        prompt.text.push(letter);
        if is_literal {
            match prompt.literal.last_mut() {
                Some(last) if last.end == start => last.end = prompt.text.len(),
                _ => prompt.literal.push(start..prompt.text.len()),
            }
        }
        is_literal = false;
        rest = &rest[letter.len_utf8()..];
    }
    prompt
}

fn marked(text: &str, special: &Special, mark: char) -> Option<String> {
    let places = special.control_places(text);
    if places.is_empty() {
        return None;
    }
    let mut result = String::with_capacity(text.len() * 2);
    for (start, letter) in text.char_indices() {
        if places.iter().any(|place| place.contains(&start)) {
            result.push(mark);
        }
        result.push(letter);
    }
    Some(result)
}

fn visit(value: &Value, see: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => see(text),
        Value::Array(items) => items.iter().for_each(|item| visit(item, see)),
        Value::Object(pairs) => {
            for (name, item) in pairs.iter().filter(|(name, item)| !is_structure(name, item)) {
                see(name);
                visit(item, see);
            }
        }
        _ => {}
    }
}

fn change(value: &mut Value, new: &impl Fn(&str) -> Option<String>) {
    match value {
        Value::String(text) => {
            if let Some(changed) = new(text) {
                *text = changed;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| change(item, new)),
        Value::Object(pairs) => {
            let old = std::mem::take(pairs);
            pairs.extend(old.into_iter().map(|(name, mut item)| {
                if is_structure(&name, &item) {
                    return (name, item);
                }
                change(&mut item, new);
                (new(&name).unwrap_or(name), item)
            }));
        }
        _ => {}
    }
}

/// Whether templates compare this with words of their own, as `message.role == "user"`.
fn is_structure(name: &str, value: &Value) -> bool {
    let is_word = |text: &str| text.chars().all(|letter| letter.is_alphanumeric() || letter == '_');
    matches!(name, "role" | "type") && value.as_str().is_some_and(is_word)
}

#[cfg(test)]
mod tests;
