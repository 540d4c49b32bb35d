//! Who may read and write what somebody shared.
//!
//! A record's `access_grants` is a list of `{principal_type: "user", principal_id, permission}`; a principal_id of `*`
//! means every user, permission is `read` or `write`. Entries of other types (groups) are retained but open nothing.

use super::records::{Record, RecordError};
use crate::directory::types::Access;
use serde_json::Value;

/// The most grants of one record.
const MAX_GRANTS: usize = 1000;

/// What the grants of `record` let the user do.
pub(super) fn granted(record: &Record, user_id: &str) -> Access {
    let grants = record.get("access_grants").and_then(Value::as_array);
    let mine = grants.into_iter().flatten().filter(|grant| {
        let principal = text(grant, "principal_id");
        text(grant, "principal_type") == Some("user")
            && (principal == Some("*") || principal == Some(user_id))
    });
    mine.map(|grant| match text(grant, "permission") {
        Some("write") => Access::Write,
        Some("read") => Access::Read,
        _ => Access::None,
    })
    .max()
    .unwrap_or(Access::None)
}

fn text<'a>(grant: &'a Value, field: &str) -> Option<&'a str> {
    grant.get(field).and_then(Value::as_str)
}

/// Is `access_grants`, if there, a list of grants?
pub(super) fn check(record: &Record) -> Result<(), RecordError> {
    let grants = match record.get("access_grants") {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::Array(grants)) if grants.len() <= MAX_GRANTS => grants,
        Some(_) => {
            let why = format!("access_grants is a list of at most {MAX_GRANTS} grants");
            return Err(RecordError::Invalid(why));
        }
    };
    let whole = |grant: &Value| {
        text(grant, "principal_type").is_some()
            && text(grant, "principal_id").is_some()
            && matches!(text(grant, "permission"), Some("read" | "write"))
    };
    if grants.iter().all(whole) {
        return Ok(());
    }
    let why = "a grant is {principal_type, principal_id, permission: read or write}".to_owned();
    Err(RecordError::Invalid(why))
}
