//! The build script: makes the API's description, and packs it and the console's files, each into `OUT_DIR/NAME.gz`.

mod gzip;
mod openapi;
#[path = "../api/routes/route.rs"]
mod route;
mod words;

/// Of each row the description takes the route and the words.
macro_rules! routes {
    ($($when:ident $function:path => $route:expr, $words:expr;)*) => {
        use super::words::*;

        /// Every route, and what there is to say about it.
        pub const ROUTES: &[(super::route::Route, Words)] = &[$(($route, $words),)*];
    };
}

#[path = "../api/routes/table.rs"]
mod table;

use std::path::Path;
use std::{env, fs};

const FOLDERS: [&str; 3] = [
    "src/console/page",
    "src/console/client",
    "src/console/vendor",
];

fn main() {
    // What this script is made of is looked at anyway; the schemas and the table are part of it.
    println!("cargo::rerun-if-changed=src/build");
    let document = openapi::document().expect("schemas.json is JSON");
    pack("openapi.json", document.to_string().as_bytes());
    if env::var_os("CARGO_FEATURE_CONSOLE").is_some() {
        console();
    }
}

fn console() {
    for folder in FOLDERS {
        println!("cargo::rerun-if-changed={folder}");
        for entry in fs::read_dir(folder).expect("the console's folders are there") {
            let path = entry.expect("a folder can be read").path();
            if path.is_file() {
                let name = path.file_name().expect("a file has a name");
                let plain = fs::read(&path).expect("a file can be read");
                pack(&name.to_string_lossy(), &plain);
            }
        }
    }
}

fn pack(name: &str, plain: &[u8]) {
    let out = env::var("OUT_DIR").expect("cargo gives a build script its folder");
    let packed = Path::new(&out).join(format!("{name}.gz"));
    fs::write(packed, gzip::gzip(plain)).expect("OUT_DIR can be written");
}
