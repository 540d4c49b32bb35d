//! Lua that Redis runs as one step, sent once a server and named by its hash from then on.

use data_encoding::HEXLOWER;
use sha1::{Digest as _, Sha1};
use std::sync::OnceLock;

/// A script. Made as a `static`, so that it is hashed once.
pub struct Script {
    source: &'static str,
    hash: OnceLock<String>,
}

impl Script {
    pub const fn new(source: &'static str) -> Self {
        Self {
            source,
            hash: OnceLock::new(),
        }
    }

    /// EVALSHA: by name.
    pub(super) fn by_hash(&self, keys: &[&str], args: &[&[u8]]) -> redis::Cmd {
        let hash = self
            .hash
            .get_or_init(|| HEXLOWER.encode(&Sha1::digest(self.source)));
        call("EVALSHA", hash, keys, args)
    }

    /// EVAL: the whole text, for a server that does not know it yet.
    pub(super) fn in_full(&self, keys: &[&str], args: &[&[u8]]) -> redis::Cmd {
        call("EVAL", self.source, keys, args)
    }
}

fn call(name: &str, script: &str, keys: &[&str], args: &[&[u8]]) -> redis::Cmd {
    let mut command = redis::cmd(name);
    command.arg(script).arg(keys.len());
    for key in keys {
        command.arg(*key);
    }
    for arg in args {
        command.arg(*arg);
    }
    command
}
