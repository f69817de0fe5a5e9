//! The `tojson` of transformers: Python's `json.dumps` with `ensure_ascii=False`, character for character, since models
//! were trained on it. Minijinja's own escapes HTML and writes no spaces.

use std::fmt::Write;

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, Value};

struct Style {
    indent: Option<String>,
    between_items: String,
    after_key: String,
    sorts_keys: bool,
    is_ascii: bool,
}

/// `value | tojson(ensure_ascii=False, indent=None, separators=None, sort_keys=False)`.
#[allow(clippy::needless_pass_by_value)] // The signature that Minijinja asks for.
pub fn filter(value: &Value, options: Kwargs) -> Result<String, Error> {
    let indent = match options.get::<Option<Value>>("indent")? {
        Some(indent) if !indent.is_none() => Some(match indent.as_usize() {
            Some(width) => " ".repeat(width.min(64)),
            None => indent.to_string(),
        }),
        _ => None,
    };
    let separators = options.get::<Option<Vec<String>>>("separators")?;
    let [between_items, after_key] = match separators.as_deref() {
        Some([between_items, after_key]) => [between_items.clone(), after_key.clone()],
        Some(_) => return Err(Error::new(ErrorKind::InvalidOperation, "separators are two")),
        None => [if indent.is_some() { "," } else { ", " }.to_owned(), ": ".to_owned()],
    };
    let style = Style {
        indent,
        between_items,
        after_key,
        sorts_keys: options.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
        is_ascii: options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
    };
    options.assert_all_used()?;
    let mut text = String::new();
    style.write(value, 0, &mut text)?;
    Ok(text)
}

impl Style {
    fn write(&self, value: &Value, depth: usize, text: &mut String) -> Result<(), Error> {
        match value.kind() {
            ValueKind::None => text.push_str("null"),
            ValueKind::Bool => text.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => text.push_str(&number(value)),
            ValueKind::String => self.write_string(value.as_str().unwrap_or_default(), text),
            ValueKind::Seq | ValueKind::Iterable => {
                let items = value.try_iter()?.collect::<Vec<_>>();
                self.write_all("[]", &items, depth, text, |item, text| self.write(item, depth + 1, text))?;
            }
            ValueKind::Map => self.write_map(value, depth, text)?,
            kind => {
                return Err(Error::new(
                    ErrorKind::BadSerialization,
                    format!("{kind} can't be written as JSON"),
                ));
            }
        }
        Ok(())
    }

    fn write_map(&self, map: &Value, depth: usize, text: &mut String) -> Result<(), Error> {
        let mut pairs = Vec::new();
        for key in map.try_iter()? {
            let item = map.get_item(&key)?;
            let mut name = String::new();
            match key.as_str() {
                Some(key) => name.push_str(key),
                None => self.write(&key, 0, &mut name)?,
            }
            pairs.push((name, item));
        }
        if self.sorts_keys {
            pairs.sort_by(|left, right| left.0.cmp(&right.0));
        }
        self.write_all("{}", &pairs, depth, text, |(name, item), text| {
            self.write_string(name, text);
            text.push_str(&self.after_key);
            self.write(item, depth + 1, text)
        })
    }

    fn write_all<T>(
        &self,
        brackets: &str,
        items: &[T],
        depth: usize,
        text: &mut String,
        mut write: impl FnMut(&T, &mut String) -> Result<(), Error>,
    ) -> Result<(), Error> {
        text.push_str(&brackets[..1]);
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                text.push_str(&self.between_items);
            }
            self.begin_line(depth + 1, text);
            write(item, text)?;
        }
        if !items.is_empty() {
            self.begin_line(depth, text);
        }
        text.push_str(&brackets[1..]);
        Ok(())
    }

    fn begin_line(&self, depth: usize, text: &mut String) {
        if let Some(indent) = &self.indent {
            text.push('\n');
            text.extend(std::iter::repeat_n(indent.as_str(), depth));
        }
    }

    fn write_string(&self, string: &str, text: &mut String) {
        text.push('"');
        for character in string.chars() {
            match character {
                '"' => text.push_str("\\\""),
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                '\u{8}' => text.push_str("\\b"),
                '\u{c}' => text.push_str("\\f"),
                ' '..='~' => text.push(character),
                _ if !self.is_ascii && character >= ' ' => text.push(character),
                _ => {
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        // Writing to a string can't fail.
                        let _ = write!(text, "\\u{unit:04x}");
                    }
                }
            }
        }
        text.push('"');
    }
}

/// Python's `repr` of an integer or float.
fn number(value: &Value) -> String {
    if value.is_integer() {
        return value.to_string();
    }
    match f64::try_from(value.clone()) {
        Ok(number) if number.is_nan() => "NaN".into(),
        Ok(number) if number.is_infinite() => if number > 0.0 { "Infinity" } else { "-Infinity" }.into(),
        // Rust changes to exponents where Python does, but writes them without sign and padding.
        Ok(number) => match format!("{number:?}").split_once('e') {
            None => format!("{number:?}"),
            Some((digits, exponent)) => {
                format!("{digits}e{:+03}", exponent.parse::<i32>().unwrap_or_default())
            }
        },
        Err(_) => value.to_string(),
    }
}
