//! What random text must not upset: messages of other instances.

use super::wire::decode;

/// A message is read or refused.
pub fn message(data: &[u8]) {
    let _ = decode(data, "me");
}
