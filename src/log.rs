//! One log line a thing worth knowing, on stderr.
//!
//! Under journald a line begins with its priority (`<4>`), which journald cuts off; elsewhere with time and level.
//! What could forge a line or hide one (control characters, changes of the writing direction) is escaped.
//! The last [`TAIL_LINES`] lines stay in memory, at most about 100 KB, for the console.

use crate::ground::clock::since_epoch;
use log::{Level, LevelFilter, Log, Metadata, Record};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::OnceLock;
use std::time::Duration;

/// Lines that [`tail`] remembers.
pub const TAIL_LINES: usize = 200;
/// Bytes of a line; the rest is cut.
const MAX_LINE: usize = 4096;
/// Bytes of a remembered line.
const MAX_TAIL_LINE: usize = 512;

/// A line that was logged.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Line {
    /// Counts lines from 1, so that a reader can ask for what is new.
    pub number: u64,
    /// Epoch seconds.
    pub at: f64,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: &'static str,
    pub text: String,
}

#[derive(Default)]
struct Tail {
    lines: VecDeque<Line>,
    last: u64,
}

thread_local! {
    // Ours is one thread; what a helper thread logs reaches stderr only.
    static TAIL: RefCell<Tail> = RefCell::default();
}

/// What the lines about packets are about: they have settings of their own, whatever the level is.
pub const SOCKETIO: &str = "siskin::socketio";
pub const ENGINEIO: &str = "siskin::engineio";

/// Which packets are logged.
#[derive(Clone, Copy, Debug, Default)]
pub struct Packets {
    pub socketio: bool,
    pub engineio: bool,
}

struct Stderr {
    journald: bool,
    level: LevelFilter,
    packets: Packets,
}

// The log crate wants its writer for the whole life of the process.
static STDERR: OnceLock<Stderr> = OnceLock::new();

/// Starts logging, and logs a panic as one line. Called once.
pub fn start(level: LevelFilter, packets: Packets) {
    let stderr = STDERR.get_or_init(|| Stderr {
        journald: stderr_is_journald(),
        level,
        packets,
    });
    if log::set_logger(stderr).is_ok() {
        std::panic::set_hook(Box::new(|panic| log::error!("panic: {panic}")));
    }
    log::set_max_level(match packets.socketio || packets.engineio {
        true => level.max(LevelFilter::Debug),
        false => level,
    });
}

/// The remembered lines with a number above `after`, oldest first.
pub fn tail(after: u64) -> Vec<Line> {
    let newer = |line: &&Line| line.number > after;
    TAIL.with_borrow(|tail| tail.lines.iter().filter(newer).cloned().collect())
}

/// A time as a line shows it: seconds with one decimal. What prints floats would be 8 KB in a binary that needs them nowhere else.
pub fn tenths(time: Duration) -> String {
    format!("{}.{}", time.as_secs(), time.subsec_millis() / 100)
}

impl Log for Stderr {
    /// Libraries say a lot that is worth nothing to the reader of this log: of them only warnings.
    fn enabled(&self, metadata: &Metadata) -> bool {
        match metadata.target() {
            SOCKETIO => self.packets.socketio,
            ENGINEIO => self.packets.engineio,
            target => {
                let ours = target.split("::").next() == Some("siskin");
                metadata.level() <= self.level && (ours || metadata.level() <= Level::Warn)
            }
        }
    }

    fn log(&self, record: &Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let now = since_epoch();
        let text = escape(&record.args().to_string(), MAX_LINE);
        let line = match self.journald {
            true => format!("<{}>{text}\n", priority(record.level())),
            false => format!("{} {:<5} {text}\n", utc(now.as_secs()), record.level()),
        };
        // One write a line, so that lines of several threads don't mix. Nobody is left to tell if it fails.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
        remember(record.level(), now.as_secs_f64(), &text);
    }

    fn flush(&self) {}
}

fn remember(level: Level, at: f64, text: &str) {
    TAIL.with_borrow_mut(|tail| {
        tail.last += 1;
        if tail.lines.len() == TAIL_LINES {
            tail.lines.pop_front();
        }
        let level = match level {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace",
        };
        tail.lines.push_back(Line {
            number: tail.last,
            at,
            level,
            text: cut(text, MAX_TAIL_LINE).to_owned(),
        });
    });
}

/// syslog's numbers, as sd-daemon(3) has them.
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// The text on one line of at most `max` bytes, with nothing in it that a terminal obeys.
fn escape(text: &str, max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(max));
    for c in cut(text, max).chars() {
        let harmful = matches!(c, '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}');
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            _ if c.is_control() || harmful => {
                let _ = write!(out, "{}", c.escape_unicode());
            }
            _ => out.push(c),
        }
    }
    if text.len() > max {
        out.push('…');
    }
    out
}

/// The first `max` bytes, or a few less where that would split a character.
fn cut(text: &str, max: usize) -> &str {
    let mut ends = (0..=max.min(text.len())).rev();
    ends.find_map(|end| text.get(..end)).unwrap_or_default()
}

/// Does stderr lead to journald? It says so with the device and inode of the socket it gave (systemd.exec(5)).
fn stderr_is_journald() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    rustix::fs::fstat(std::io::stderr())
        .is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// `2026-11-24T08:46:02Z` of epoch seconds.
pub fn utc(seconds: u64) -> String {
    let (days, second) = (seconds / 86400, seconds % 86400);
    // Howard Hinnant's days_from_civil, turned round: years begin in March, so a leap day is the last of its year.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_input_forges_a_line() {
        let evil = "a\nb\r\u{1b}[31mc\0\u{85}\u{2028}\u{202e}d\tß🦜";
        let escaped = escape(evil, 1000);
        assert_eq!(
            escaped,
            r"a\nb\u{d}\u{1b}[31mc\u{0}\u{85}\u{2028}\u{202e}d\tß🦜"
        );
        assert_eq!(escape("🦜🦜", 5), "🦜…");
        assert_eq!(escape("ab", 2), "ab");
    }

    #[test]
    fn times_are_utc() {
        // As `date -u -d @N +%FT%TZ` says.
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(seconds), text);
        }
    }

    #[test]
    fn times_have_one_decimal() {
        for (millis, text) in [(0, "0.0"), (99, "0.0"), (250, "0.2"), (61_999, "61.9")] {
            assert_eq!(tenths(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn the_tail_is_bounded() {
        for number in 0..TAIL_LINES + 5 {
            remember(
                Level::Info,
                1.0,
                &format!("{number} {}", "x".repeat(MAX_TAIL_LINE)),
            );
        }
        let lines = tail(0);
        assert_eq!(lines.len(), TAIL_LINES);
        assert_eq!((lines[0].number, lines[0].text.len()), (6, MAX_TAIL_LINE));
        let last = TAIL_LINES as u64 + 5;
        assert_eq!(tail(last - 1).len(), 1);
        assert!(tail(last).is_empty());
    }
}
