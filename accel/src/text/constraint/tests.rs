use std::sync::Arc;

use serde_json::{Value, json};

use super::super::random::Random;
use super::super::tests::chat_model;
use super::super::{Sampler, Sampling, Tokenizer};
use super::{Constraint, Constraints};
use crate::error::Error;

/// Lets a model that likes every token alike answer under a constraint.
fn answer(tokenizer: &Tokenizer, mut constraint: Constraint, seed: u64) -> Option<String> {
    let mut sampler =
        Sampler::new(Sampling { top_k: 0, top_p: 1.0, min_p: 0.0, seed: Some(seed), ..Sampling::default() })
            .expect("in range");
    let mut noise = Random::new(Some(seed));
    let mut bytes = Vec::new();
    for _ in 0..600 {
        if constraint.is_done() {
            break;
        }
        // What closes strings and containers is liked better, or answers would go on for ever.
        #[allow(clippy::cast_possible_truncation)]
        let mut logits: Vec<f32> = (0..u32::try_from(tokenizer.vocabulary()).expect("a small vocabulary"))
            .map(|token| {
                noise.next() as f32
                    + if b"\"}]".contains(tokenizer.token_bytes(token).first().unwrap_or(&0)) {
                        4.0
                    } else {
                        0.0
                    }
            })
            .collect();
        let token = sampler.sample(&mut logits, Some(&mut constraint)).expect("a token").token;
        if tokenizer.is_end(token) {
            return String::from_utf8(bytes).ok();
        }
        bytes.extend_from_slice(tokenizer.token_bytes(token));
    }
    constraint.is_done().then_some(bytes).and_then(|bytes| String::from_utf8(bytes).ok())
}

fn constraints() -> (Arc<Tokenizer>, Constraints) {
    let tokenizer = Arc::new(chat_model());
    (Arc::clone(&tokenizer), Constraints::new(tokenizer))
}

#[test]
fn answers_keep_to_the_schema() {
    let (tokenizer, constraints) = constraints();
    let schema = json!({
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 8},
            "kind": {"enum": ["é", "b"]},
            "ready": {"type": "boolean"},
            "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}, "maxItems": 3},
        },
        "required": ["name", "kind", "ready"],
        "additionalProperties": false,
        "$defs": {"tag": {"type": "integer", "minimum": 0, "maximum": 99}},
    });
    for seed in 0..20 {
        let text = answer(&tokenizer, constraints.json_schema(&schema).expect("a schema"), seed);
        let value: Value = text.as_deref().and_then(|text| serde_json::from_str(text).ok()).expect("JSON");
        assert!(value["name"].as_str().is_some_and(|name| name.chars().count() <= 8), "{value}");
        assert!(
            ["é", "b"].contains(&value["kind"].as_str().unwrap_or_default()) && value["ready"].is_boolean()
        );
        let tags = value["tags"].as_array().cloned().unwrap_or_default();
        assert!(
            tags.len() <= 3 && tags.iter().all(|tag| tag.as_u64().is_some_and(|tag| tag < 100)),
            "{value}"
        );
    }
}

#[test]
fn any_object_is_an_object() {
    let (tokenizer, constraints) = constraints();
    let texts =
        (0..20).filter_map(|seed| answer(&tokenizer, constraints.json_object().expect("a schema"), seed));
    let objects: Vec<bool> =
        texts.map(|text| serde_json::from_str::<Value>(&text).is_ok_and(|value| value.is_object())).collect();
    assert!(objects.len() > 5 && objects.iter().all(|is_object| *is_object), "{objects:?}");
}

#[test]
fn the_end_comes_only_after_whole_json() {
    let (tokenizer, constraints) = constraints();
    let end = tokenizer.end().expect("an end");
    let mut constraint = constraints.json_schema(&json!({"const": true})).expect("a schema");
    let allowed = |constraint: &mut Constraint| {
        let mut logits = vec![0.0; tokenizer.vocabulary() + 7];
        constraint.mask(&mut logits).expect("a mask");
        let tokens = (0..).zip(logits).filter(|(_, logit)| *logit == 0.0);
        tokens.map(|(token, _)| token).collect::<Vec<u32>>()
    };
    assert!(!allowed(&mut constraint).contains(&end));
    for token in tokenizer.encode("true", false, false) {
        assert!(allowed(&mut constraint).contains(&token));
        constraint.commit(token).expect("allowed");
    }
    assert_eq!(allowed(&mut constraint), [end]);
    constraint.commit(end).expect("allowed");
    assert!(constraint.is_done());
}

#[test]
fn what_was_not_allowed_fails() {
    let (tokenizer, constraints) = constraints();
    let mut constraint = constraints.json_object().expect("a schema");
    let letter = tokenizer.encode("x", false, false)[0];
    assert!(matches!(constraint.commit(letter), Err(Error::Failed(_))));
}

#[test]
fn a_bad_schema_is_refused_in_a_sentence() {
    let (_, constraints) = constraints();
    for schema in [
        json!({"type": "strin"}),
        json!({"type": "string", "pattern": "("}),
        json!({"$ref": "#/nowhere"}),
        json!({"type": "object", "propertys": 1, "properties": {"a": 7}}),
        json!(false),
        json!({"type": 1, "x-guidance": {"lenient": true}}),
    ] {
        let Err(Error::BadRequest(reason)) = constraints.json_schema(&schema) else {
            panic!("{schema} was taken")
        };
        assert!(reason.len() < 300 && !reason.contains('\n'), "{reason}");
    }
}
