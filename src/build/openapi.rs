//! The OpenAPI 3.1 document, made of the API's table and `schemas.json`.

use crate::route::{Body, Param, Route, parameter};
use crate::table::ROUTES;
use crate::words::{EVENTS, FILE, Words};
use serde_json::{Map, Value, json};

/// The schemas that the table names.
const SCHEMAS: &str = include_str!("../api/schemas.json");

const ABOUT: &str = "What the backend of a chat application asks of siskin: events to browsers, answers from them, rooms, sessions. \
    Counts are of the instance that is asked; events and disconnections reach all instances.";

/// The document.
///
/// # Errors
/// The schemas are not JSON.
pub fn document() -> serde_json::Result<Value> {
    let schemas: Value = serde_json::from_str(SCHEMAS)?;
    let mut paths = Map::new();
    for (route, words) in ROUTES {
        let item = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Some(item) = item.as_object_mut() {
            item.insert(route.method.to_ascii_lowercase(), operation(route, words));
        }
    }
    Ok(json!({
        "openapi": "3.1.0",
        "info": {"title": "siskin", "version": env!("CARGO_PKG_VERSION"), "description": ABOUT, "license": {"name": "MIT", "identifier": "MIT"}},
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "SISKIN_API_KEY"},
                "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "A user's token."},
            },
        },
    }))
}

fn operation(route: &Route, words: &Words) -> Value {
    let mut operation = json!({
        "operationId": words.name,
        "tags": [words.tag],
        "summary": words.about,
        "parameters": parameters(route),
        "responses": responses(route, words),
    });
    if let Some(fields) = operation.as_object_mut() {
        if !words.more.is_empty() {
            fields.insert("description".into(), words.more.into());
        }
        if let Some(body) = body(route.body) {
            fields.insert("requestBody".into(), body);
        }
        if route.open {
            fields.insert("security".into(), json!([]));
        }
        if route.users {
            fields.insert("security".into(), json!([{"key": []}, {"token": []}]));
        }
    }
    operation
}

fn schema(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn parameters(route: &Route) -> Vec<Value> {
    let in_path = route.path.split('/').filter_map(parameter).map(|name| {
        let kind = match name {
            "sid" => "Sid",
            "stream" => "Stream",
            _ => "Id",
        };
        json!({"name": name, "in": "path", "required": true, "schema": schema(kind)})
    });
    let in_query = route.query.iter().map(|param: &Param| {
        json!({"name": param.name, "in": "query", "required": param.required, "description": param.about, "schema": schema(param.schema)})
    });
    in_path.chain(in_query).collect()
}

fn body(body: Body) -> Option<Value> {
    match body {
        Body::None => None,
        Body::Json(name) => Some(json!({
            "required": true,
            "content": {"application/json": {"schema": schema(name)}},
        })),
        // OpenAPI 3.1 has no word for lines, and the schema is that of the whole body: any text is fine.
        // No line at all is fine: then the body may be absent.
        Body::Lines(name) => Some(json!({
            "required": false,
            "description": format!("JSON objects as schema {name} describes, one a line."),
            "content": {"application/x-ndjson": {"schema": {}, "example": "{\"type\":\"message\",\"data\":{\"content\":\"Hel\"}}\n{\"type\":\"message\",\"data\":{\"content\":\"lo\"}}\n"}},
        })),
    }
}

fn responses(route: &Route, words: &Words) -> Map<String, Value> {
    let mut responses = Map::new();
    let done = |content: Value| json!({"description": "Done.", "content": content});
    let mut add = |status: &str, response| responses.insert(status.to_owned(), response);
    match words.answer {
        None => add("204", json!({"description": "Done."})),
        Some(FILE) => add("200", done(json!({"application/octet-stream": {}}))),
        Some(EVENTS) => {
            add(
                "204",
                json!({"description": "It is done, and nothing was missed."}),
            );
            add("200", done(json!({EVENTS: {"schema": {"type": "string"}}})))
        }
        Some(name) => add(
            "200",
            done(json!({"application/json": {"schema": schema(name)}})),
        ),
    };
    if let (true, Some(name)) = (words.makes, words.answer) {
        let content = json!({"application/json": {"schema": schema(name)}});
        add("201", json!({"description": "Made.", "content": content}));
    }
    for status in problems(route, words) {
        let content = json!({"application/problem+json": {"schema": schema("Problem")}});
        responses.insert(
            status.to_string(),
            json!({"description": meaning(status), "content": content}),
        );
    }
    responses
}

/// Every problem that a route can answer with, in order.
fn problems(route: &Route, words: &Words) -> Vec<u16> {
    let mut all = words.problems.to_vec();
    if !route.open {
        all.extend([401, 403]);
    }
    if route.body != Body::None {
        all.extend([400, 408, 413, 415]);
    }
    // A query that nobody described is refused, so every route has it.
    all.push(422);
    all.sort_unstable();
    all.dedup();
    all
}

fn meaning(status: u16) -> &'static str {
    match status {
        400 => "The body is not JSON, or ended in the middle.",
        401 => "The key is missing or wrong.",
        403 => "The API is off, since it has no key; or the session is another user's.",
        404 => "There is no such thing.",
        408 => "The body took too long.",
        409 => "It can't be done to this one.",
        410 => "What was asked for is gone: the session, or part of the stream.",
        413 => "The body is too large.",
        415 => "The body is of another kind.",
        422 => "A parameter or the body is not as described here.",
        429 => "Too many at a time.",
        507 => "The disk is full: nothing is saved until there is space.",
        503 => "Not now; it can be tried again later.",
        504 => "The browser did not answer in time.",
        _ => panic!("say what {status} means"),
    }
}
