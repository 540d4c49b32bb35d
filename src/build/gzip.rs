//! A gzip member (RFC 1952).

/// A member without name and time: the same file gives the same bytes.
pub fn gzip(plain: &[u8]) -> Vec<u8> {
    let size = u32::try_from(plain.len()).expect("what is embedded is small");
    let mut member = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255];
    member.extend(miniz_oxide::deflate::compress_to_vec(plain, 10));
    member.extend(crc32(plain).to_le_bytes());
    member.extend(size.to_le_bytes());
    member
}

fn crc32(bytes: &[u8]) -> u32 {
    let shift = |crc: u32, _| (crc >> 1) ^ (0xedb8_8320 * (crc & 1));
    let take = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), shift);
    !bytes.iter().fold(!0, take)
}
