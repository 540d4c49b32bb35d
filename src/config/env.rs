//! The environment: which value a setting was given and where, and which names nobody knows.

use super::table::{Row, SETTINGS};
use super::{Mistake, Source};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The environment: names and values.
pub type Env = BTreeMap<String, String>;

/// What stands in a value where it is not UTF-8.
pub const NOT_UTF8: char = char::REPLACEMENT_CHARACTER;

/// More than any secret needs; a file that is larger is the wrong file.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// This process's environment. What is not UTF-8 keeps a mark that no value may have.
pub fn of_process() -> Env {
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    std::env::vars_os()
        .map(|(name, value)| (text(name), text(value)))
        .collect()
}

/// A setting's value as it is written, and its source. An empty value counts as none.
pub fn find(env: &Env, row: &Row) -> Result<Option<(String, Source)>, Mistake> {
    let names = std::iter::once(row.name).chain(row.also.iter().copied());
    for name in names {
        if let Some(value) = given(env, name) {
            if value.contains(NOT_UTF8) {
                let fix = "write it in UTF-8";
                return Err(Mistake::new(name, "it is not UTF-8", fix));
            }
            return Ok(Some((value.to_owned(), Source::Environment(name))));
        }
        if !row.secret {
            continue;
        }
        let file_name = format!("{name}_FILE");
        if let Some(path) = given(env, &file_name) {
            let value = read(Path::new(path), &file_name)?;
            return Ok(Some((value, Source::File(path.into()))));
        }
        if let Some(folder) = given(env, "CREDENTIALS_DIRECTORY") {
            let path = Path::new(folder).join(name);
            if path.exists() {
                return Ok(Some((read(&path, name)?, Source::File(path))));
            }
        }
    }
    Ok(None)
}

/// A variable's value without the spaces around it, if anything is left.
pub fn given<'a>(env: &'a Env, name: &str) -> Option<&'a str> {
    let value = env.get(name)?.trim();
    (!value.is_empty()).then_some(value)
}

/// Whether a variable is there and says nothing.
pub fn is_empty(env: &Env, name: &str) -> bool {
    env.get(name).is_some_and(|value| value.trim().is_empty())
}

fn read(path: &Path, name: &str) -> Result<String, Mistake> {
    let mistake = |what: String| {
        let fix = "name a readable file that holds the value alone";
        Mistake::new(name, format!("{}: {what}", path.display()), fix)
    };
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text))
        .map_err(|error| mistake(error.to_string()))?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(mistake("the file is larger than 64 KiB".into()));
    }
    let value = text.trim();
    if value.is_empty() {
        return Err(mistake("the file is empty".into()));
    }
    Ok(value.to_owned())
}

/// A warning for each name that begins as ours do and that nobody reads.
pub fn unknown(env: &Env) -> Vec<String> {
    let ours = |name: &&String| name.starts_with("SISKIN_") || name.starts_with("WEBSOCKET_");
    let names = env.keys().filter(ours);
    names
        .filter(|name| !is_known(name))
        .map(|name| match nearest(name) {
            Some(near) => format!("{name} is no setting of siskin; did you mean {near}?"),
            None => format!("{name} is no setting of siskin"),
        })
        .collect()
}

fn is_known(name: &str) -> bool {
    let file_of = name.strip_suffix("_FILE");
    let reads = |row: &&Row| {
        row.is_called(name) || row.secret && file_of.is_some_and(|name| row.is_called(name))
    };
    SETTINGS.iter().any(reads)
}

/// The known name that takes the fewest changes of a character, if they are few.
fn nearest(name: &str) -> Option<&'static str> {
    let rated = SETTINGS
        .iter()
        .map(|row| (distance(name, row.name), row.name));
    let (changes, near) = rated.min()?;
    (changes <= name.len() / 4).then_some(near)
}

/// Levenshtein's distance, in bytes.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let best = (diagonal + usize::from(x != y))
                .min(left + 1)
                .min(*cell + 1);
            diagonal = *cell;
            *cell = best;
            left = best;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, changes) in [
            ("", "", 0),
            ("a", "", 1),
            ("", "ab", 2),
            ("kitten", "sitting", 3),
            ("abc", "abc", 0),
        ] {
            assert_eq!(distance(a, b), changes, "{a} {b}");
        }
    }

    #[test]
    fn unknown_names_are_told_with_the_nearest_known_one() {
        let names = [
            "SISKIN_LISTN",
            "WEBSOCKET_REDIS_URLS",
            "SISKIN_ZZZZZZZZZZZZZZZZZZZZ",
            "SISKIN_API_KEY_FILE",
            "SISKIN_LOG_FILE",
            "WEBSOCKET_SERVER_LOGGING",
            "PATH",
            "REDIS_URL",
        ];
        let env = names.map(|name| (name.to_owned(), "x".to_owned())).into();
        assert_eq!(
            unknown(&env),
            [
                "SISKIN_LISTN is no setting of siskin; did you mean SISKIN_LISTEN?",
                "SISKIN_LOG_FILE is no setting of siskin",
                "SISKIN_ZZZZZZZZZZZZZZZZZZZZ is no setting of siskin",
                "WEBSOCKET_REDIS_URLS is no setting of siskin; did you mean WEBSOCKET_REDIS_URL?",
            ]
        );
    }
}
