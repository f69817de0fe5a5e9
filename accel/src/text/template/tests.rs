use serde_json::json;

use super::super::{Chat, Message};
use super::Template;
use crate::error::{Error, Result};

fn render(source: &str, chat: &Chat) -> Result<String> {
    Template::new(source, "<s>", "</s>")?.render(chat)
}

fn chat(messages: &[(&str, &str)]) -> Chat {
    let messages = messages.iter().map(|(role, content)| Message::new(role, content)).collect();
    Chat { messages, add_generation_prompt: true, ..Chat::default() }
}

#[test]
fn the_stand_in_is_chat_ml() {
    let prompt = render(super::CHAT_ML, &chat(&[("system", "Be kind."), ("user", "Hi\n")]));
    assert_eq!(
        prompt.as_deref(),
        Ok(
            "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi\n<|im_end|>\n<|im_start|>assistant\n"
        )
    );
}

#[test]
fn a_template_may_refuse() {
    let source = "{{ raise_exception('Roles must alternate, ' + messages[0].role) }}";
    let Err(Error::BadRequest(reason)) = render(source, &chat(&[("user", "Hi")])) else {
        panic!("it was taken")
    };
    assert!(reason.contains("Roles must alternate, user"), "{reason}");
    let undefined = render("{{ messages[0].content.a.b }}", &chat(&[("user", "Hi")]));
    assert!(matches!(undefined, Err(Error::BadRequest(_))));
}

#[test]
fn what_can_not_be_done_is_not_supported() {
    for source in [
        "{% for %}",
        "{{ 1 | of_tomorrow }}",
        "{{ of_tomorrow() }}",
        "{% include '/etc/passwd' %}",
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
        "{% set ns = namespace(s='a') %}{% for i in range(1000) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
        "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
    ] {
        let refused = render(source, &chat(&[]));
        assert!(
            matches!(refused, Err(Error::Unsupported(_) | Error::BadRequest(_))),
            "{source}: {refused:?}"
        );
    }
    assert!(matches!(Template::new(&" ".repeat(2 << 20), "", ""), Err(Error::Unsupported(_))));
}

#[test]
fn json_is_as_python_writes_it() {
    let mut asked = chat(&[]);
    asked.tools =
        vec![json!({"b": [1, 2.0, 1e16, 1e-7, true, null], "a": {"é<'>\u{7f}": "\"\\\n\u{1}👍"}, "c": []})];
    assert_eq!(
        render("{{ tools[0] | tojson }}", &asked).as_deref(),
        Ok(
            "{\"b\": [1, 2.0, 1e+16, 1e-07, true, null], \"a\": {\"é<'>\u{7f}\": \"\\\"\\\\\\n\\u0001👍\"}, \"c\": []}"
        )
    );
    assert_eq!(
        render("{{ tools[0] | tojson(ensure_ascii=True, separators=(',', ':'), sort_keys=True) }}", &asked)
            .as_deref(),
        Ok(
            r#"{"a":{"\u00e9<'>\u007f":"\"\\\n\u0001\ud83d\udc4d"},"b":[1,2.0,1e+16,1e-07,true,null],"c":[]}"#
        )
    );
    asked.tools = vec![json!({"a": [1, {}], "b": []})];
    assert_eq!(
        render("{{ tools[0] | tojson(indent=2) }}", &asked).as_deref(),
        Ok("{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": []\n}")
    );
}

#[test]
fn arguments_of_calls_are_json_to_the_template() {
    let mut asked = chat(&[("user", "Hi")]);
    asked.messages[0].tool_calls = vec![
        json!({"type": "function", "function": {"name": "f", "arguments": "{\"b\": 1, \"a\": 2}"}}),
        json!({"name": "g", "arguments": "no JSON"}),
    ];
    let source = "{% for call in messages[0].tool_calls %}{{ (call.function or call).arguments | tojson }};{% endfor %}";
    assert_eq!(render(source, &asked).as_deref(), Ok("{\"b\": 1, \"a\": 2};\"no JSON\";"));
}

#[test]
fn what_is_absent_is_not_defined() {
    let source = "{{ messages[0].tool_calls is defined }} {{ messages[0].content is defined }} {{ tools is none }} \
                  {{ enable_thinking is defined }}";
    let mut asked =
        Chat { messages: vec![Message { role: "user".into(), ..Message::default() }], ..Chat::default() };
    assert_eq!(render(source, &asked).as_deref(), Ok("False False True False"));
    asked.options.insert("enable_thinking".into(), json!(true));
    asked.tools = vec![json!({})];
    assert_eq!(render(source, &asked).as_deref(), Ok("False False False True"));
}

#[test]
fn generation_blocks_write_what_is_in_them() {
    let source = "a\n  {%- generation -%}\n  b\n{% endgeneration %}\nc {% if tools %}{% endif %}";
    assert_eq!(render(source, &chat(&[])).as_deref(), Ok("ab\nc "));
}

#[test]
fn white_space_is_what_python_takes_for_it() {
    let asked = chat(&[("user", "\u{1f}\u{a0} a \u{200b}b\u{1c}\n")]);
    for source in ["{{ messages[0].content | trim }}", "{{ messages[0].content.strip() }}"] {
        assert_eq!(render(source, &asked).as_deref(), Ok("a \u{200b}b"));
    }
    assert_eq!(
        render("{{ 'xay'.rstrip('y').lstrip('x') }}{{ 'xax' | trim('x') }}", &asked).as_deref(),
        Ok("aa")
    );
}

#[test]
fn today_is_known() {
    let year = render("{{ strftime_now('%Y') }}", &chat(&[])).expect("a year");
    assert!(year.parse::<u32>().is_ok_and(|year| year > 2024), "{year}");
    assert!(matches!(render("{{ strftime_now('%!') }}", &chat(&[])), Err(Error::BadRequest(_))));
}
