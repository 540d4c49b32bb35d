//! The build script: packs the console's files with gzip (RFC 1952), each into `OUT_DIR/NAME.gz`.

fn main() {
    #[cfg(feature = "console")]
    pack::all();
}

#[cfg(feature = "console")]
mod pack {
    use std::path::Path;
    use std::{env, fs};

    const FOLDERS: [&str; 3] = [
        "src/console/page",
        "src/console/client",
        "src/console/vendor",
    ];

    pub fn all() {
        let out = env::var("OUT_DIR").expect("cargo gives a build script its folder");
        for folder in FOLDERS {
            println!("cargo::rerun-if-changed={folder}");
            for entry in fs::read_dir(folder).expect("the console's folders are there") {
                let path = entry.expect("a folder can be read").path();
                if path.is_file() {
                    let name = path.file_name().expect("a file has a name");
                    let packed = Path::new(&out).join(format!("{}.gz", name.to_string_lossy()));
                    let plain = fs::read(&path).expect("a file can be read");
                    fs::write(packed, gzip(&plain)).expect("OUT_DIR can be written");
                }
            }
        }
    }

    /// A member without name and time: the same file gives the same bytes.
    fn gzip(plain: &[u8]) -> Vec<u8> {
        let size = u32::try_from(plain.len()).expect("a file of the console is small");
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
}
