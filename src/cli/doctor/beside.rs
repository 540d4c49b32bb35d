//! What stands beside siskin: Open WebUI, with the same secret, and Redis, with the same keys.

use super::Report;
use super::wire::{Answer, Place, told};
use crate::config::{Config, DirectoryKind, HttpUrl};
use crate::directory::open_webui;
use crate::ground::clock;
use crate::peers::look::{Seen, look as look_at_redis};
use crate::token;
use serde_json::json;
use std::io;

/// How far clocks may be apart: what tokens are given.
const APART: i64 = 60;

pub fn look(report: &mut Report, config: &Config) {
    if let DirectoryKind::OpenWebui(url) = &config.directory {
        webui(report, config, url);
    }
    redis(report, config);
}

/// How far the server's clock is from ours, if it tells the time.
pub fn skew(answer: &Answer) -> Option<i64> {
    let told = httpdate::parse_http_date(answer.header("date")).ok()?;
    let told = told.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(told.as_secs().cast_signed() - clock::now())
}

/// Compares a clock with this machine's.
pub fn compare(report: &mut Report, whose: &str, skew: i64) {
    let way = if skew < 0 { "behind" } else { "ahead of" };
    let says = match skew {
        -1..=1 => format!("{whose} and this machine agree"),
        _ => format!("the clock of {whose} is {} s {way} this one's", skew.abs()),
    };
    match skew.abs() > APART {
        true => {
            let fix = "set the wrong one: timedatectl set-ntp true";
            report.bad(
                "clock",
                &format!("{says}: tokens expire too early or too late, or are not valid yet"),
                fix,
            );
        }
        false => report.ok("clock", &says),
    }
}

fn webui(report: &mut Report, config: &Config, url: &HttpUrl) {
    let fix =
        format!("start it, or SISKIN_DIRECTORY=http://where-it-listens:8080 (it is {url} now)");
    let place = match Place::of(url) {
        Ok(place) => place,
        Err(error) => return report.bad("open webui", &told(&error), &fix),
    };
    let answer = match place.get("/api/version", "") {
        Ok(answer) => answer,
        Err(error) => return report.bad("open webui", &format!("{url}: {}", told(&error)), &fix),
    };
    let version = answer.text("version");
    if answer.status != 200 || version.is_empty() {
        let says = format!(
            "{url} answers /api/version with {} and no version: it is no Open WebUI",
            answer.status
        );
        return report.bad("open webui", &says, &fix);
    }
    let odd = open_webui::limits_of(&version).map_or(String::new(), |odd| format!(", but: {odd}"));
    report.ok("open webui", &format!("{url} is version {version}{odd}"));
    let skew = skew(&answer).unwrap_or(0);
    compare(report, "Open WebUI", skew);
    secret(report, config, &place, skew);
    let path = place.socket("websocket");
    match place.websocket(&path) {
        Ok(Ok(_)) => report.ok(
            "its socket",
            "it takes websockets: what siskin does not know can be handed to it",
        ),
        Ok(Err(answer)) => {
            let says = format!(
                "it answers a websocket with {}: encrypted chats and read receipts can't be handed to it",
                answer.status
            );
            report.bad(
                "its socket",
                &says,
                "for Open WebUI: ENABLE_WEBSOCKET_SUPPORT=true",
            );
        }
        Err(error) => report.bad("its socket", &told(&error), &fix),
    }
}

/// Both have the same secret when Open WebUI tells a token of ours for nobody from one that nobody signed.
fn secret(report: &mut Report, config: &Config, place: &Place, skew: i64) {
    let claims = json!({"id": "siskin-doctor", "exp": clock::now() + skew + 120});
    let ours = token::mint(&claims, config.secret_key.expose());
    let nobodys = token::mint(&claims, "nobody's");
    let judged = [ours, nobodys].map(|token| judged(place, &token.unwrap_or_default()));
    match judged {
        [Ok(ours), Ok(nobodys)] if ours != nobodys => {
            report.ok("secret", "Open WebUI has the same WEBUI_SECRET_KEY");
        }
        [Ok(_), Ok(_)] => {
            let fix = "give both the same: WEBUI_SECRET_KEY=... (Open WebUI without one makes its own, in .webui_secret_key beside its start.sh)";
            report.bad(
                "secret",
                "Open WebUI has another WEBUI_SECRET_KEY: nobody can sign in",
                fix,
            );
        }
        [Err(error), _] | [_, Err(error)] => report.skip("secret", &told(&error)),
    }
}

fn judged(place: &Place, token: &str) -> io::Result<(u16, String)> {
    let answer = place.get(WHO_AM_I, &bearer(token))?;
    Ok((answer.status, answer.text("detail")))
}

const WHO_AM_I: &str = "/api/v1/auths/";

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

/// Whether Open WebUI takes a token; `None`: there is none, or it can't be asked.
pub fn takes(config: &Config, token: &str) -> Option<(u16, String)> {
    let DirectoryKind::OpenWebui(url) = &config.directory else {
        return None;
    };
    let answer = Place::of(url).ok()?.get(WHO_AM_I, &bearer(token)).ok()?;
    Some((answer.status, answer.text("role")))
}

fn redis(report: &mut Report, config: &Config) {
    let Some(looked) = look_at_redis(config) else {
        return match config.directory {
            DirectoryKind::Local => report.skip("redis", "none is used: this siskin is alone"),
            DirectoryKind::OpenWebui(_) => report.bad(
                "redis",
                "none is used: what Open WebUI emits reaches nobody here",
                "WEBSOCKET_MANAGER=redis and WEBSOCKET_REDIS_URL=redis://127.0.0.1:6379/0, the same as Open WebUI's",
            ),
        };
    };
    let seen = match looked {
        Ok(seen) => seen,
        Err(why) => {
            let fix = "systemctl start redis-server, or WEBSOCKET_REDIS_URL=redis://user:password@host:6379/0";
            return report.bad("redis", &why, fix);
        }
    };
    if !seen.heard {
        let fix = "allow it in Redis: ACL SETUSER name +@pubsub allchannels";
        return report.bad("redis", "what is published there is not heard", fix);
    }
    report.ok("redis", "it is reached, and what is published is heard");
    if let Some(at) = seen.clock {
        compare(report, "Redis", at - clock::now());
    }
    keys(report, config, &seen);
    others(report, config, &seen);
}

/// Whether others keep their keys where we do.
fn keys(report: &mut Report, config: &Config, seen: &Seen) {
    let prefix = config.redis.as_ref().map_or("", |redis| &redis.key_prefix);
    match (&seen.prefixes[..], &seen.databases[..]) {
        _ if seen.by_another => report.ok("keys", &format!("{prefix}:* is shared with Open WebUI")),
        ([other, ..], _) => {
            let says = format!("a process here has the keys {other}:*, siskin {prefix}:*");
            report.bad(
                "keys",
                &says,
                &format!("REDIS_KEY_PREFIX={other}, the same for both"),
            );
        }
        (_, [other, ..]) => {
            let says = format!(
                "a process has its keys in database {other}, siskin in {}",
                seen.database
            );
            let fix = format!("let WEBSOCKET_REDIS_URL end in /{other}, the same for both");
            report.bad("keys", &says, &fix);
        }
        _ => report.ok(
            "keys",
            &format!(
                "{prefix}:* in database {}; nobody has others",
                seen.database
            ),
        ),
    }
}

/// Who hears what we publish.
fn others(report: &mut Report, config: &Config, seen: &Seen) {
    let Seen {
        processes, siskins, ..
    } = *seen;
    let beside = processes.saturating_sub(siskins);
    let says = format!("{siskins} of siskin and {beside} others hear each other");
    match config.directory {
        DirectoryKind::OpenWebui(_) if beside == 0 => report.bad(
            "peers",
            "Open WebUI does not listen to this Redis",
            "for Open WebUI: WEBSOCKET_MANAGER=redis and the same WEBSOCKET_REDIS_URL as here",
        ),
        _ if siskins == 0 => report.bad(
            "peers",
            "no running siskin listens to this Redis",
            "siskin runs with other settings, or not at all: systemctl restart siskin",
        ),
        _ => report.ok("peers", &says),
    }
}
