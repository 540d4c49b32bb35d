//! The OpenAPI 3.1 document, made of the route table and `schemas.json`.

use super::Answer;
use super::reply::{Problem, Reply};
use super::routes::{Action, Body, FILE, Param, ROUTES, Route, parameter};
use hyper::StatusCode;
use serde_json::{Map, Value, json};

/// The schemas that the table names.
const SCHEMAS: &str = include_str!("schemas.json");

const ABOUT: &str = "What the backend of a chat application asks of siskin: events to browsers, answers from them, rooms, sessions. \
    Counts are of the instance that is asked; events and disconnections reach all instances.";

pub fn document() -> Answer {
    build()
        .map(|document| Reply::json(&document))
        .map_err(|error| {
            log::error!("the OpenAPI document can't be built: {error}");
            Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "The description can't be built.",
            )
        })
}

fn build() -> serde_json::Result<Value> {
    let schemas: Value = serde_json::from_str(SCHEMAS)?;
    let mut paths = Map::new();
    for route in ROUTES {
        let item = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Some(item) = item.as_object_mut() {
            item.insert(route.method.to_ascii_lowercase(), operation(route));
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
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "SISKIN_API_KEY"}},
        },
    }))
}

fn operation(route: &Route) -> Value {
    let mut operation = json!({
        "operationId": format!("{:?}", route.action),
        "tags": [route.tag],
        "summary": route.about,
        "parameters": parameters(route),
        "responses": responses(route),
    });
    if let Some(fields) = operation.as_object_mut() {
        if !route.more.is_empty() {
            fields.insert("description".into(), route.more.into());
        }
        if let Some(body) = body(route.body) {
            fields.insert("requestBody".into(), body);
        }
        if route.action == Action::OpenApi {
            fields.insert("security".into(), json!([]));
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

fn responses(route: &Route) -> Map<String, Value> {
    let mut responses = Map::new();
    let done = |content: Value| json!({"description": "Done.", "content": content});
    let mut add = |status: &str, response| responses.insert(status.to_owned(), response);
    match route.answer {
        None => add("204", json!({"description": "Done."})),
        Some(FILE) => add("200", done(json!({"application/octet-stream": {}}))),
        Some(name) => add(
            "200",
            done(json!({"application/json": {"schema": schema(name)}})),
        ),
    };
    if let (true, Some(name)) = (route.makes, route.answer) {
        let content = json!({"application/json": {"schema": schema(name)}});
        add("201", json!({"description": "Made.", "content": content}));
    }
    for status in problems(route) {
        let content = json!({"application/problem+json": {"schema": schema("Problem")}});
        responses.insert(
            status.to_string(),
            json!({"description": meaning(status), "content": content}),
        );
    }
    responses
}

/// Every problem that a route can answer with, in order.
fn problems(route: &Route) -> Vec<u16> {
    let mut all = route.problems.to_vec();
    if route.action != Action::OpenApi {
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
        507 => "The disk is full: nothing is saved until there is space.",
        503 => "Not now; it can be tried again later.",
        504 => "The browser did not answer in time.",
        _ => "A problem.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_the_golden_one() {
        let path = format!("{}/tests/golden/openapi.json", env!("CARGO_MANIFEST_DIR"));
        let mut made = serde_json::to_string_pretty(&build().unwrap()).unwrap() + "\n";
        made = made.replace(
            &format!("\"version\": \"{}\"", env!("CARGO_PKG_VERSION")),
            "\"version\": \"VERSION\"",
        );
        if std::env::var_os("SISKIN_BLESS").is_some() {
            std::fs::write(&path, &made).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == made,
            "{path} is not what the routes make; look at the difference after SISKIN_BLESS=1 cargo test"
        );
    }

    #[test]
    fn each_schema_is_there_and_used() {
        let document = build().unwrap();
        let schemas = document["components"]["schemas"].as_object().unwrap();
        let text = document.to_string();
        for name in schemas.keys() {
            assert!(
                text.contains(&format!("#/components/schemas/{name}\""))
                    || text.contains(&format!("schema {name} ")),
                "{name} is not used"
            );
        }
        for part in text.split("#/components/schemas/").skip(1) {
            let name = part.split('"').next().unwrap();
            assert!(schemas.contains_key(name), "{name} is not there");
        }
    }

    #[test]
    fn each_route_has_its_own_words() {
        let mut ids: Vec<String> = ROUTES
            .iter()
            .map(|route| format!("{:?}", route.action))
            .collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), ROUTES.len());
        for route in ROUTES {
            assert!(
                route.path.starts_with(super::super::PREFIX) && route.about.ends_with('.'),
                "{}",
                route.path
            );
            for status in problems(route) {
                assert_ne!(meaning(status), "A problem.", "{status}");
            }
        }
    }
}
