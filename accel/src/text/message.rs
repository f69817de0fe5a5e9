//! What a prompt is made of, in the words of OpenAI's chat API.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One message of a chat.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Message {
    pub role: String,
    /// Text, or parts such as `{"type": "text", "text": …}`; none in a message that only calls tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whatever else a template may look for, as `reasoning_content`.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl Message {
    /// A message of plain text.
    #[must_use]
    pub fn new(role: &str, content: &str) -> Self {
        Self { role: role.to_owned(), content: Some(content.into()), ..Self::default() }
    }

    /// The message as templates expect it: OpenAI's API has the arguments of a call as a string of JSON, templates
    /// have them as JSON.
    pub(super) fn for_template(&self) -> serde_json::Result<Value> {
        let mut message = serde_json::to_value(self)?;
        let calls = message.get_mut("tool_calls").and_then(Value::as_array_mut);
        for call in calls.into_iter().flatten() {
            let function = if call.get("function").is_some() { &mut call["function"] } else { call };
            if let Some(Value::String(text)) = function.get("arguments")
                && let Ok(arguments @ Value::Object(_)) = serde_json::from_str(text)
            {
                function["arguments"] = arguments;
            }
        }
        Ok(message)
    }
}

/// What a template makes a prompt of.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Chat {
    pub messages: Vec<Message>,
    /// The tools that the model may call, as JSON schemas.
    pub tools: Vec<Value>,
    /// Whether the prompt ends where the model's answer begins.
    pub add_generation_prompt: bool,
    /// More names for the template, as `enable_thinking`.
    pub options: Map<String, Value>,
}
