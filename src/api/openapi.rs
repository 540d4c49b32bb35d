//! `GET /api/v1/openapi.json`: the description of the API, which the build script makes of the table.

use super::ApiResult;
use super::input::ApiRequest;
use super::reply::Reply;
use crate::ground::embedded::{Embedded, embedded};

static DOCUMENT: Embedded = embedded!("application/json", "openapi.json");

pub fn document(request: ApiRequest) -> ApiResult {
    Ok(Reply::embedded(&DOCUMENT, request.headers()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::routes::table::ROUTES;
    use serde_json::Value;
    use std::collections::BTreeSet;

    fn made() -> Value {
        serde_json::from_slice(&DOCUMENT.plain()).unwrap()
    }

    #[test]
    fn the_document_is_the_golden_one() {
        let path = format!("{}/tests/golden/openapi.json", env!("CARGO_MANIFEST_DIR"));
        let mut made = serde_json::to_string_pretty(&made()).unwrap() + "\n";
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
        let document = made();
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
        let document = made();
        let paths = document["paths"].as_object().unwrap();
        let operations = paths.values().flat_map(|path| path.as_object().unwrap());
        let mut ids = BTreeSet::new();
        for (_, operation) in operations {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id), "{id} is there twice");
            assert!(
                operation["summary"].as_str().unwrap().ends_with('.'),
                "{id}"
            );
        }
        for path in paths.keys() {
            assert!(path.starts_with("/api/v1/"), "{path}");
        }
        assert_eq!(ids.len(), ROUTES.len());
    }
}
