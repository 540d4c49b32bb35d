//! `siskin token`: mints a token for a user.

use super::{Failure, Outcome};
use crate::ground::clock;
use crate::ground::names::is_id;
use argh::{ArgsInfo, FromArgs};

/// print a token (HS256) with which a client connects as this user
#[derive(FromArgs, ArgsInfo)]
#[argh(
    subcommand,
    name = "token",
    example = "{command_name} --id ann --name Ann --role admin --ttl 12h",
    note = "WEBUI_SECRET_KEY signs it. A user that the directory doesn't know is refused, unless SISKIN_TRUST_TOKEN_CLAIMS is true."
)]
pub struct Token {
    /// the user's id
    #[argh(option, from_str_fn(id))]
    id: String,
    /// the user's name; else the id
    #[argh(option)]
    name: Option<String>,
    /// user or admin; else user
    #[argh(option, default = "String::from(\"user\")", from_str_fn(role))]
    role: String,
    /// how long it is valid: 30d, 12h, 15m, 90s or never; else 30d
    #[argh(option, default = "Some(30 * 86400)", from_str_fn(ttl))]
    ttl: Option<i64>,
}

pub fn run(token: &Token) -> Outcome {
    let config = super::settings()?;
    match mint(token, config.secret_key.expose(), clock::now()) {
        Some(text) => super::say(&format!("{text}\n")),
        None => return Err(Failure::Failed("the system has no random source".into())),
    }
    Ok(())
}

/// `None` only without a random source or a secret.
fn mint(token: &Token, secret: &str, now: i64) -> Option<String> {
    let mut random = [0u8; 16];
    getrandom::fill(&mut random).ok()?;
    let mut claims = serde_json::json!({
        "id": token.id,
        "name": token.name.as_ref().unwrap_or(&token.id),
        "role": token.role,
        "iat": now,
        // By this id the token can be revoked.
        "jti": data_encoding::HEXLOWER.encode(&random),
    });
    if let (Some(ttl), Some(claims)) = (token.ttl, claims.as_object_mut()) {
        claims.insert("exp".into(), now.saturating_add(ttl).into());
    }
    crate::token::mint(&claims, secret)
}

fn id(text: &str) -> Result<String, String> {
    match is_id(text) {
        true => Ok(text.into()),
        false => Err("write 1 to 256 characters, none of them a control character".into()),
    }
}

fn role(text: &str) -> Result<String, String> {
    match text {
        "user" | "admin" => Ok(text.into()),
        _ => Err("write user or admin".into()),
    }
}

/// Seconds; `None` is for ever.
fn ttl(text: &str) -> Result<Option<i64>, String> {
    if text == "never" {
        return Ok(None);
    }
    let wrong = || "write 30d, 12h, 15m, 90s or never".to_owned();
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        _ => return Err(wrong()),
    };
    let seconds = number
        .parse::<i64>()
        .ok()
        .and_then(|number| number.checked_mul(unit));
    seconds
        .filter(|seconds| *seconds > 0)
        .map(Some)
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_verifies() {
        let token = Token::from_args(&["token"], &["--id", "ann", "--ttl", "2m"])
            .ok()
            .unwrap();
        let text = mint(&token, "secret", 1000).unwrap();
        let claims = crate::token::Key::new("secret")
            .verify(&text, 1119)
            .unwrap();
        assert_eq!(
            (claims.name.as_deref(), claims.role.as_deref()),
            (Some("ann"), Some("user"))
        );
        assert!(claims.jti.is_some_and(|jti| jti.len() == 32));
        assert!(
            crate::token::Key::new("secret")
                .verify(&text, 1120)
                .is_err()
        );
    }

    #[test]
    fn times_to_live() {
        assert_eq!(ttl("30d"), Ok(Some(2_592_000)));
        assert_eq!(ttl("90"), Ok(Some(90)));
        assert_eq!(ttl("never"), Ok(None));
        for wrong in ["", "0", "-1h", "h", "1w", "999999999999999999d"] {
            assert!(ttl(wrong).is_err(), "{wrong}");
        }
        assert!(role("pending").is_err());
    }
}
