//! Python's idea of white space for templates: four control characters more than Unicode's (`str.isspace`).

use minijinja::{Error, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

fn is_space(character: char) -> bool {
    character.is_whitespace() || matches!(character, '\u{1c}'..='\u{1f}')
}

/// Jinja's `trim(chars=None)`.
#[allow(clippy::needless_pass_by_value)] // The signature that Minijinja asks for.
pub fn trim(value: &Value, characters: Option<String>) -> String {
    let text = value.to_string();
    match characters {
        None => text.trim_matches(is_space).to_owned(),
        Some(characters) => text.trim_matches(|character| characters.contains(character)).to_owned(),
    }
}

/// Python's methods: `strip`, `lstrip` and `rstrip` of white space here, the rest as Minijinja has them.
pub fn method(state: &mut State, value: &Value, name: &str, arguments: &[Value]) -> Result<Value, Error> {
    match (value.as_str(), name, arguments) {
        (Some(text), "strip", []) => Ok(text.trim_matches(is_space).into()),
        (Some(text), "lstrip", []) => Ok(text.trim_start_matches(is_space).into()),
        (Some(text), "rstrip", []) => Ok(text.trim_end_matches(is_space).into()),
        _ => unknown_method_callback(state, value, name, arguments),
    }
}
