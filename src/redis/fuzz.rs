//! What random bytes must not upset: replies of Redis, and its address.

use super::reader::Reader;
use super::url;

/// The replies in bytes that come in pieces of this size, and whether they end with what is none.
pub(super) fn fed(reader: &mut Reader, bytes: &[u8], size: usize) -> (Vec<Vec<Vec<u8>>>, bool) {
    let mut replies = Vec::new();
    for mut rest in bytes.chunks(size) {
        while !rest.is_empty() {
            let space = reader.space();
            let some = rest.len().min(space.len());
            space[..some].copy_from_slice(&rest[..some]);
            rest = &rest[some..];
            reader.came(some);
            loop {
                match reader.next() {
                    Ok(Some(reply)) => {
                        assert!(reply.part(reply.len()).is_empty());
                        replies.push((0..reply.len()).map(|n| reply.part(n).to_vec()).collect());
                    }
                    Ok(None) => break,
                    Err(_) => return (replies, true),
                }
            }
        }
    }
    (replies, false)
}

/// Replies are the same however they are cut. The first byte is the size of the pieces.
pub fn stream(data: &[u8]) {
    if let [size, bytes @ ..] = data {
        let replies = |size| fed(&mut Reader::default(), bytes, size);
        assert_eq!(replies(1 + usize::from(*size)), replies(1 << 20));
    }
}

/// An address is read or refused.
pub fn address(text: &str) {
    let _ = url::read(text);
}
