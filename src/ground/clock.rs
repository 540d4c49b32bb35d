//! What time it is, for what others read: tokens, records, pools.

use std::time::{SystemTime, UNIX_EPOCH};

/// Epoch seconds.
pub fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs().cast_signed())
}
