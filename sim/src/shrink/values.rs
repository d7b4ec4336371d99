//! Smaller values of anything that is JSON: what is added to a plan later is
//! made smaller without a word here.

use std::collections::VecDeque;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Numbers that are names: another one would be another thing.
const NAMES: [&str; 8] = [
    "id",
    "code",
    "client",
    "server",
    "version",
    "features",
    "cancel_call",
    "drop_call",
];

/// The sizes in a call's message: they tell the calls of a plan from each other.
const TOLD_APART: [&str; 6] = ["echo", "digest", "first", "nothing", "bytes", "rest"];

/// Takes what a value says, if it is one of this type.
pub(super) fn keep<T: DeserializeOwned>(place: &mut T, value: &Value) {
    if let Ok(kept) = T::deserialize(value) {
        *place = kept;
    }
}

/// The value with one of its fields as in `plain`, for each that differs.
pub(super) fn plainer<T: Serialize>(value: &T, plain: &T) -> Vec<Value> {
    let (Ok(Value::Object(value)), Ok(Value::Object(plain))) =
        (serde_json::to_value(value), serde_json::to_value(plain))
    else {
        return Vec::new();
    };
    let names = value
        .keys()
        .filter(|name| value.get(*name) != plain.get(*name));
    let with_plain = |name: &String| {
        let mut value = value.clone();
        match plain.get(name) {
            Some(plain) => value.insert(name.clone(), plain.clone()),
            None => value.remove(name),
        };
        Value::Object(value)
    };
    names.map(with_plain).collect()
}

/// Values that differ from this one in one place, where they are smaller: fewer
/// items first, then 0, then half.
pub(super) fn smaller<T: Serialize>(value: &T) -> VecDeque<Value> {
    let Ok(value) = serde_json::to_value(value) else {
        return VecDeque::new();
    };
    let is_call = value.get("call").is_some();
    let mut found = Vec::new();
    collect(&value, "", is_call, &mut |smaller| found.push(smaller));
    found.sort_by_key(|(rank, _)| *rank);
    found.into_iter().map(|(_, value)| value).collect()
}

/// What is tried first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Fewer,
    Zero,
    Half,
}

fn collect(value: &Value, name: &str, is_call: bool, found: &mut dyn FnMut((Rank, Value))) {
    let is_name = NAMES.contains(&name) || (is_call && TOLD_APART.contains(&name));
    match value {
        Value::Number(number) if !is_name => {
            let number = number.as_u64().unwrap_or(0);
            if number > 0 {
                found((Rank::Zero, Value::from(0)));
            }
            if number > 1 {
                found((Rank::Half, Value::from(number / 2)));
            }
        }
        // Bytes in hexadecimal digits.
        Value::String(text) if name == "bytes" && text.len() >= 4 => {
            let half = &text[..text.len() / 4 * 2];
            found((Rank::Fewer, Value::from(half)));
        }
        Value::Array(items) => {
            for number in 0..items.len() {
                let mut fewer = items.clone();
                fewer.remove(number);
                found((Rank::Fewer, Value::Array(fewer)));
                collect(&items[number], name, is_call, &mut |(rank, item)| {
                    let mut items = items.clone();
                    items[number] = item;
                    found((rank, Value::Array(items)));
                });
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                let with = |field: Value| {
                    let mut fields = fields.clone();
                    fields.insert(name.clone(), field);
                    Value::Object(fields)
                };
                match (name.as_str(), field) {
                    ("blocks", Value::Object(_)) => found((Rank::Fewer, with("full".into()))),
                    ("timeout_ms", Value::Number(_)) => found((Rank::Fewer, with(Value::Null))),
                    _ => {}
                }
                collect(field, name, is_call, &mut |(rank, field)| {
                    found((rank, with(field)))
                });
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use crate::Action;

    use super::*;

    fn actions(json: &str) -> Vec<String> {
        let action: Action = serde_json::from_str(json).unwrap();
        let smaller = smaller(&action).into_iter().map(|value| {
            let mut smaller = action.clone();
            keep(&mut smaller, &value);
            assert_ne!(smaller, action, "{value}");
            value.to_string()
        });
        smaller.collect()
    }

    #[test]
    fn a_request_becomes_smaller_and_keeps_its_id() {
        let smaller = actions(
            r#"{"wire": {"op": "send", "request": {"id": 3, "ask": {"echo": 9}}, "pieces": [{"bytes": 4, "then_ms": 0}]}}"#,
        );
        assert!(smaller[0].contains(r#""pieces":[]"#), "{smaller:?}");
        assert!(
            smaller.iter().any(|s| s.contains(r#""echo":0"#)),
            "{smaller:?}"
        );
        assert!(
            smaller.iter().all(|s| s.contains(r#""id":3"#)),
            "{smaller:?}"
        );
    }

    #[test]
    fn the_message_of_a_call_stays_its_own() {
        let smaller = actions(
            r#"{"call": {"ask": {"sleep": {"ms": 8, "rest": 77}}, "idempotent": false, "timeout_ms": 5}}"#,
        );
        assert!(
            smaller.iter().all(|s| s.contains(r#""rest":77"#)),
            "{smaller:?}"
        );
        assert!(smaller[0].contains(r#""timeout_ms":null"#), "{smaller:?}");
        assert_eq!(actions(r#"{"cancel_call": 12}"#), Vec::<String>::new());
    }

    #[test]
    fn settings_become_plain_one_by_one() {
        let plain = oracle::Timeouts::default();
        let mut set = plain;
        (set.read_ms, set.grace_ms) = (7, 8);
        assert_eq!(plainer(&set, &plain).len(), 2);
        assert_eq!(plainer(&plain, &plain), Vec::<Value>::new());
    }
}
