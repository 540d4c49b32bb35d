//! What counts as an empty note, and how much is in one.
//!
//! A note's content is `{md, html, json}`, each of which may be missing. It is empty when none of them
//! shows anything. When in doubt it isn't: calling content empty can cost somebody's text.

use serde_json::Value;

/// HTML tags that show nothing by themselves.
const BLANK_TAGS: [&str; 4] = ["p", "br", "div", "span"];
/// Nodes of an editor's document that show nothing by themselves.
const BLANK_NODES: [&str; 3] = ["doc", "paragraph", "hardBreak"];

/// Does the content show nothing?
pub fn is_empty(content: Option<&Value>) -> bool {
    match content {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.trim().is_empty(),
        Some(Value::Object(content)) => content.iter().all(|(field, value)| match field.as_str() {
            "html" => is_blank_html(value.as_str().unwrap_or("")),
            "json" => is_blank_node(value),
            _ => is_blank(value),
        }),
        Some(_) => false,
    }
}

/// Null, "", [] or {}.
fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn is_blank_html(html: &str) -> bool {
    let mut rest = html;
    while let Some((before, tag)) = rest.split_once('<') {
        let Some((tag, after)) = tag.split_once('>') else {
            return false;
        };
        let name = tag.trim_start_matches('/');
        let name = name.split(|c: char| !c.is_ascii_alphanumeric()).next();
        if !is_blank_text(before) || !name.is_some_and(|name| BLANK_TAGS.contains(&name)) {
            return false;
        }
        rest = after;
    }
    is_blank_text(rest)
}

fn is_blank_text(text: &str) -> bool {
    text.replace("&nbsp;", "").trim().is_empty()
}

fn is_blank_node(node: &Value) -> bool {
    let Some(fields) = node.as_object() else {
        return is_blank(node);
    };
    let known = match fields.get("type") {
        None => true,
        Some(kind) => kind
            .as_str()
            .is_some_and(|kind| BLANK_NODES.contains(&kind)),
    };
    let children = match fields.get("content") {
        None => true,
        Some(Value::Array(children)) => children.iter().all(is_blank_node),
        Some(other) => is_blank(other),
    };
    known && children && fields.get("text").is_none_or(is_blank)
}

/// About how much there is, in bytes of text.
pub fn size(content: Option<&Value>) -> usize {
    match content {
        None => 0,
        Some(content) if is_empty(Some(content)) => 0,
        Some(Value::String(text)) => text.len(),
        Some(content) => match content.get("md").and_then(Value::as_str) {
            Some(text) if !text.is_empty() => text.len(),
            _ => content.to_string().len(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_shows_nothing_is_empty() {
        let paragraph = json!({"type": "doc", "content": [{"type": "paragraph"}]});
        for content in [
            json!(null),
            json!(""),
            json!({}),
            json!({"md": " \n", "html": "<p></p>", "json": paragraph}),
            json!({"html": "<p class=\"x\"> <br/></p>&nbsp;", "json": null}),
            json!({"json": {"type": "doc", "content": [{"type": "paragraph", "content": [{"type": "hardBreak"}]}]}}),
        ] {
            assert!(is_empty(Some(&content)), "{content}");
            assert_eq!(size(Some(&content)), 0);
        }
        assert!(is_empty(None));
    }

    #[test]
    fn what_may_show_something_is_not() {
        for content in [
            json!("x"),
            json!(7),
            json!([]),
            json!({"md": "x"}),
            json!({"md": "", "html": "<p>x</p>"}),
            json!({"md": "", "html": "<p><img src=\"a\"></p>"}),
            json!({"md": "", "html": "a < b"}),
            json!({"md": "", "json": {"type": "doc", "content": [{"type": "image"}]}}),
            json!({"md": "", "json": {"type": "doc", "content": [{"type": "paragraph", "content": [{"type": "text", "text": "x"}]}]}}),
            json!({"other": true}),
        ] {
            assert!(!is_empty(Some(&content)), "{content}");
        }
    }
}
