//! Chat templates: Jinja programs in model files that write a prompt out of messages.
//!
//! They come with the model, from anywhere, so they run without files or includes, with bounded work and output.
//! Names, filters and white space are those of transformers (`apply_chat_template`,
//! <https://huggingface.co/docs/transformers/chat_templating_writing>).

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, Value, context};

use super::literal::{self, Prompt};
use super::message::{Chat, Message};
use super::python_json;
use super::tokenizer::Tokenizer;
use super::white_space;
use crate::error::{Error, Result};
use crate::gguf::Gguf;

/// Bytes of a template; the longest published ones have a tenth of this.
const LONGEST_TEMPLATE: usize = 1 << 20;
/// Instructions of one rendering, and stretches of 64 bytes of text: a tenth of a second and 64 MB at the most.
const FUEL: u64 = 1_000_000;

const CHAT: &str = "chat";
const CHAT_WITH_TOOLS: &str = "chat with tools";

/// What models without a template are most often trained on. Source: OpenAI's ChatML, as transformers had it.
const CHAT_ML: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] \
    + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// The chat template of a model.
#[derive(Debug)]
pub struct Template {
    environment: Environment<'static>,
    beginning: String,
    end: String,
    is_stand_in: bool,
}

impl Template {
    /// Takes the template of a model file, and ChatML when it has none: see `is_stand_in`.
    ///
    /// # Errors
    /// `Unsupported` when the template can't be parsed.
    pub fn from_gguf(gguf: &Gguf, tokenizer: &Tokenizer) -> Result<Self> {
        let given = gguf.get::<&str>("tokenizer.chat_template")?;
        let with_tools = gguf.get::<&str>("tokenizer.chat_template.tool_use")?;
        let text = |token: Option<u32>| {
            token
                .map(|token| String::from_utf8_lossy(tokenizer.token_bytes(token)).into_owned())
                .unwrap_or_default()
        };
        let mut template =
            Self::new(given.unwrap_or(CHAT_ML), &text(tokenizer.beginning()), &text(tokenizer.end()))?;
        template.is_stand_in = given.is_none();
        if let Some(source) = with_tools {
            template.add(CHAT_WITH_TOOLS, source)?;
        }
        Ok(template)
    }

    /// Takes a template as it is written; `beginning` and `end` are its `bos_token` and `eos_token`.
    ///
    /// # Errors
    /// `Unsupported` when it can't be parsed.
    pub fn new(source: &str, beginning: &str, end: &str) -> Result<Self> {
        let mut template = Self {
            environment: environment()?,
            beginning: beginning.to_owned(),
            end: end.to_owned(),
            is_stand_in: false,
        };
        template.add(CHAT, source)?;
        Ok(template)
    }

    /// Whether the file has no template, so that prompts are written in ChatML: the user should know.
    #[must_use]
    pub fn is_stand_in(&self) -> bool {
        self.is_stand_in
    }

    /// Writes the prompt. Messages are as OpenAI's API has them; content that is null is absent.
    ///
    /// # Errors
    /// `BadRequest` when the template refuses the messages, `Unsupported` when it asks for what this engine does not
    /// have or goes on for too long.
    pub fn render(&self, chat: &Chat) -> Result<String> {
        self.write(&messages(chat)?, &chat.tools, chat)
    }

    /// Writes the prompt for a tokenizer, which reads control tokens in the template's own words alone: see `literal`.
    ///
    /// # Errors
    /// As `render`.
    pub fn prompt(&self, chat: &Chat, tokenizer: &Tokenizer) -> Result<Prompt> {
        let mut values = messages(chat)?;
        let count = values.len();
        values.extend(chat.tools.iter().cloned());
        let mark = literal::mark(&mut values, tokenizer.special())?;
        let tools = values.split_off(count);
        Ok(literal::unmark(self.write(&values, &tools, chat)?, mark))
    }

    fn write(
        &self,
        messages: &[serde_json::Value],
        tools: &[serde_json::Value],
        chat: &Chat,
    ) -> Result<String> {
        let tools = (!tools.is_empty()).then(|| tools.iter().map(value).collect::<Vec<_>>());
        let name = match &tools {
            Some(_) if self.environment.get_template(CHAT_WITH_TOOLS).is_ok() => CHAT_WITH_TOOLS,
            _ => CHAT,
        };
        let names = context! {
            messages => messages.iter().map(value).collect::<Vec<_>>(),
            tools => tools,
            add_generation_prompt => chat.add_generation_prompt,
            bos_token => &self.beginning,
            eos_token => &self.end,
            ..Value::from_pairs(chat.options.iter().map(|(name, option)| (name.as_str(), value(option))))
        };
        let prompt = self.environment.get_template(name).and_then(|template| template.render(names));
        prompt.map_err(|error| refusal(&error))
    }

    fn add(&mut self, name: &'static str, source: &str) -> Result<()> {
        if source.len() > LONGEST_TEMPLATE {
            return Err(Error::Unsupported(format!("a chat template of {} bytes", source.len())));
        }
        self.environment
            .add_template_owned(name, without_generation_tags(source))
            .map_err(|error| Error::Unsupported(format!("the chat template: {error}")))
    }
}

fn environment() -> Result<Environment<'static>> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.map_err(|error| Error::Failed(error.to_string()))?);
    environment.set_fuel(Some(FUEL));
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_unknown_method_callback(white_space::method);
    environment.add_filter("trim", white_space::trim);
    environment.add_filter("tojson", python_json::filter);
    environment.add_function(
        "raise_exception",
        |message: String| -> std::result::Result<Value, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
        },
    );
    environment.add_function("strftime_now", |format: String| {
        jiff::fmt::strtime::format(&format, &jiff::Zoned::now())
            .map_err(|error| minijinja::Error::new(ErrorKind::InvalidOperation, error.to_string()))
    });
    Ok(environment)
}

/// Takes out transformers' own `{% generation %}` blocks, which mark what a model said and write nothing.
fn without_generation_tags(source: &str) -> String {
    let mut rest = source;
    let mut text = String::with_capacity(source.len());
    while let Some(start) = rest.find("{%") {
        let Some(length) = rest[start..].find("%}") else { break };
        let (before, tag) = rest[..start + length + 2].split_at(start);
        text.push_str(before);
        let name = tag.trim_matches(['{', '%', '}', '-', '+']).trim();
        match name {
            "generation" => text.push_str(&tag.replace(name, "if true")),
            "endgeneration" => text.push_str(&tag.replace(name, "endif")),
            _ => text.push_str(tag),
        }
        rest = &rest[start + length + 2..];
    }
    text.push_str(rest);
    text
}

fn messages(chat: &Chat) -> Result<Vec<serde_json::Value>> {
    let messages = chat.messages.iter().map(Message::for_template).collect::<serde_json::Result<Vec<_>>>();
    messages.map_err(|error| Error::BadRequest(format!("a message is not JSON: {error}")))
}

fn refusal(error: &minijinja::Error) -> Error {
    let reason = error.detail().map_or_else(|| error.kind().to_string(), ToOwned::to_owned);
    let line = error.line().unwrap_or(0);
    match error.kind() {
        ErrorKind::InvalidOperation | ErrorKind::UndefinedError | ErrorKind::BadSerialization => {
            Error::BadRequest(format!(
                "the model's chat template refuses these messages: {reason} (line {line})"
            ))
        }
        _ => Error::Unsupported(format!("the chat template: {}: {reason} (line {line})", error.kind())),
    }
}

fn value(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::from(()),
        serde_json::Value::Bool(truth) => Value::from(*truth),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(number), _, _) => Value::from(number),
            (_, Some(number), _) => Value::from(number),
            (_, _, number) => Value::from(number),
        },
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Array(items) => items.iter().map(value).collect(),
        serde_json::Value::Object(pairs) => {
            Value::from_pairs(pairs.iter().map(|(name, item)| (name.as_str(), value(item))))
        }
    }
}

#[cfg(test)]
mod tests;
