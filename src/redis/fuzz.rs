//! What random bytes must not upset: replies of Redis, and its address.

use super::reader::Reader;
use super::url;

fn replies(bytes: &[u8], size: usize) -> (Vec<Vec<Vec<u8>>>, bool) {
    let (mut reader, mut replies) = (Reader::default(), Vec::new());
    for piece in bytes.chunks(size) {
        let mut rest = piece;
        while !rest.is_empty() {
            let space = reader.space();
            let some = rest.len().min(space.len());
            space[..some].copy_from_slice(&rest[..some]);
            rest = &rest[some..];
            reader.came(some);
            loop {
                match reader.next() {
                    Ok(Some(reply)) => {
                        replies.push((0..16).map(|n| reply.part(n).to_vec()).collect())
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
        assert_eq!(
            replies(bytes, 1 + usize::from(*size)),
            replies(bytes, 1 << 20)
        );
    }
}

/// An address is read or refused.
pub fn address(text: &str) {
    let _ = url::read(text);
}
