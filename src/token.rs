//! JSON Web Tokens, HS256 only (RFC 7519, RFC 7515).

use crate::ground::names::is_id;
use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Map, Value};
use sha2::Sha256;
use std::fmt;

/// The longest token that is looked at, in bytes. Groups and permissions of a company's sign-in go into thousands.
pub const MAX_TOKEN_BYTES: usize = 60 << 10;

/// Seconds that the clocks of two machines may differ.
const LEEWAY: i64 = 60;

/// What a verified token says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Claims {
    /// The user's id. Never empty.
    pub id: String,
    pub name: Option<String>,
    pub role: Option<String>,
    /// Not valid from this second on (epoch seconds).
    pub exp: Option<i64>,
    /// Not valid before this second.
    pub nbf: Option<i64>,
    /// Made at this second.
    pub iat: Option<i64>,
    /// The token's own id, by which it can be revoked.
    pub jti: Option<String>,
}

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// Longer than [`MAX_TOKEN_BYTES`].
    TooLong,
    /// Not three parts of base64url, or not JSON objects in them, or a claim of the wrong type.
    Malformed,
    /// Signed in another way than HS256, or not at all, or with an extension that must be understood.
    Algorithm,
    /// The signature is not this secret's. Also when there is no secret.
    Signature,
    /// `exp` has passed.
    Expired,
    /// `nbf` has not come, or `iat`.
    NotYetValid,
    /// No `id`.
    NoId,
    /// `id` or `jti` is what no id can be: too long, or with control characters.
    BadId,
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => return write!(f, "the token is longer than {MAX_TOKEN_BYTES} bytes"),
            Self::Malformed => "the token is not a JSON Web Token",
            Self::Algorithm => "the token is not signed with HS256",
            Self::Signature => "the token's signature is wrong",
            Self::Expired => "the token has expired",
            Self::NotYetValid => "the token is not valid yet: is this machine's clock right?",
            Self::NoId => "the token names no user",
            Self::BadId => "an id in the token is too long or has control characters",
        })
    }
}

impl std::error::Error for TokenError {}

impl Claims {
    /// Whether they hold at `now` (epoch seconds). What was made a moment ago on a machine whose clock is ahead does.
    ///
    /// # Errors
    /// It is too late, or too early.
    pub fn check(&self, now: i64) -> Result<(), TokenError> {
        if self.exp.is_some_and(|exp| exp <= now) {
            return Err(TokenError::Expired);
        }
        let soon = now.saturating_add(LEEWAY);
        if self.nbf.max(self.iat).is_some_and(|from| from > soon) {
            return Err(TokenError::NotYetValid);
        }
        Ok(())
    }
}

/// What tokens are verified with: HMAC that has taken in its secret. Without a secret nobody can sign.
pub struct Key(Option<Hmac<Sha256>>);

impl Key {
    pub fn new(secret: &str) -> Self {
        Self(keyed(secret))
    }

    /// The claims of a token that this key signed and that is valid at `now` (epoch seconds).
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn verify(&self, token: &str, now: i64) -> Result<Claims, TokenError> {
        verify(token, self.0.as_ref(), now)
    }

    /// A signature of anything else, which nobody can make without the secret.
    pub fn sign(&self, bytes: &[u8]) -> Option<[u8; SIGNATURE]> {
        let mac = self.0.as_ref()?.clone();
        Some(mac.chain_update(bytes).finalize().into_bytes().into())
    }

    /// Whether it is this key's.
    pub fn signed(&self, bytes: &[u8], signature: &[u8]) -> bool {
        let mac = self.0.clone();
        mac.is_some_and(|mac| mac.chain_update(bytes).verify_slice(signature).is_ok())
    }
}

/// Bytes of a signature.
pub const SIGNATURE: usize = 32;

fn verify(token: &str, key: Option<&Hmac<Sha256>>, now: i64) -> Result<Claims, TokenError> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(TokenError::TooLong);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
    let (header, payload) = signed.split_once('.').ok_or(TokenError::Malformed)?;
    let header = part(header)?;
    // `crit` names extensions that a reader must understand (RFC 7515, 4.1.11); we know none.
    if text(&header, "alg")?.as_deref() != Some("HS256") || header.contains_key("crit") {
        return Err(TokenError::Algorithm);
    }
    let signature = decode(signature)?;
    let mac = key.ok_or(TokenError::Signature)?.clone();
    mac.chain_update(signed.as_bytes())
        .verify_slice(&signature)
        .map_err(|_| TokenError::Signature)?;
    let claims = read(part(payload)?)?;
    claims.check(now)?;
    Ok(claims)
}

/// What a token says, whoever signed it.
///
/// # Errors
/// It is none.
pub fn read_unverified(token: &str) -> Result<Claims, TokenError> {
    let payload = token.split('.').nth(1).ok_or(TokenError::Malformed)?;
    read(part(payload)?)
}

/// The user that a token names, whether or not it is good.
pub fn claimed_user(token: &str) -> Option<String> {
    let payload = token.split('.').nth(1)?;
    text(&part(payload).ok()?, "id").ok()?
}

/// A token with these claims (a JSON object), signed with `secret`. `None` when the secret is empty.
pub fn mint(claims: &Value, secret: &str) -> Option<String> {
    let header = BASE64URL_NOPAD.encode(br#"{"alg":"HS256","typ":"JWT"}"#);
    let payload = BASE64URL_NOPAD.encode(claims.to_string().as_bytes());
    let signed = format!("{header}.{payload}");
    let mac = keyed(secret)?.chain_update(signed.as_bytes()).finalize();
    let signature = BASE64URL_NOPAD.encode(mac.as_bytes());
    Some(format!("{signed}.{signature}"))
}

/// Is a token the one that was shown before? Eight bytes at a time: what musl compares with goes byte by byte.
pub fn is_same(token: &str, known: &str) -> bool {
    let (token, token_rest) = token.as_bytes().as_chunks::<8>();
    let (known, known_rest) = known.as_bytes().as_chunks::<8>();
    let same = |(a, b): (&[u8; 8], &[u8; 8])| u64::from_ne_bytes(*a) == u64::from_ne_bytes(*b);
    token.len() == known.len() && token_rest == known_rest && token.iter().zip(known).all(same)
}

/// Are these texts the same? Takes as long for one wrong character as for many.
pub fn same(a: &str, b: &str) -> bool {
    // The keyed hash makes both equally long; comparing hashes is constant in time.
    let hash = |text: &str| keyed("siskin").map(|mac| mac.chain_update(text.as_bytes()));
    match (hash(a), hash(b)) {
        (Some(a), Some(b)) => a.verify_slice(&b.finalize().into_bytes()).is_ok(),
        _ => false,
    }
}

/// HMAC with this secret. An empty one would let anybody sign.
fn keyed(secret: &str) -> Option<Hmac<Sha256>> {
    if secret.is_empty() {
        return None;
    }
    Hmac::new_from_slice(secret.as_bytes()).ok()
}

fn decode(text: &str) -> Result<Vec<u8>, TokenError> {
    BASE64URL_NOPAD
        .decode(text.as_bytes())
        .map_err(|_| TokenError::Malformed)
}

fn part(text: &str) -> Result<Map<String, Value>, TokenError> {
    let json = String::from_utf8(decode(text)?).map_err(|_| TokenError::Malformed)?;
    crate::ground::json::owned(&json).map_err(|_| TokenError::Malformed)
}

fn read(claims: Map<String, Value>) -> Result<Claims, TokenError> {
    let id = text(&claims, "id")?.filter(|id| !id.is_empty());
    let id = id.ok_or(TokenError::NoId)?;
    let jti = text(&claims, "jti")?;
    if !is_id(&id)
        || jti
            .as_ref()
            .is_some_and(|jti| !jti.is_empty() && !is_id(jti))
    {
        return Err(TokenError::BadId);
    }
    Ok(Claims {
        id,
        name: text(&claims, "name")?,
        role: text(&claims, "role")?,
        exp: time(&claims, "exp")?,
        nbf: time(&claims, "nbf")?,
        iat: time(&claims, "iat")?,
        jti,
    })
}

/// A claim that is text when it is there; null counts as absent.
fn text(raw: &Map<String, Value>, name: &str) -> Result<Option<String>, TokenError> {
    match raw.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(TokenError::Malformed),
    }
}

/// A NumericDate (RFC 7519, 2): seconds, maybe with a fraction, which is cut.
fn time(raw: &Map<String, Value>, name: &str) -> Result<Option<i64>, TokenError> {
    match raw.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => match number.as_i64() {
            Some(seconds) => Ok(Some(seconds)),
            // `as` saturates, so no date is out of range.
            None => Ok(number.as_f64().map(|seconds| seconds as i64)),
        },
        Some(_) => Err(TokenError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::random_input::{Random, rounds};
    use serde_json::json;

    const SECRET: &str = "test-secret";

    fn verify(token: &str, secret: &str, now: i64) -> Result<Claims, TokenError> {
        Key::new(secret).verify(token, now)
    }

    fn signed(header: &str, payload: &str) -> String {
        let signed = format!(
            "{}.{}",
            BASE64URL_NOPAD.encode(header.as_bytes()),
            BASE64URL_NOPAD.encode(payload.as_bytes())
        );
        let mac = keyed(SECRET).unwrap().chain_update(signed.as_bytes());
        let signature = BASE64URL_NOPAD.encode(mac.finalize().as_bytes());
        format!("{signed}.{signature}")
    }

    fn refusal(header: &str, payload: &str) -> TokenError {
        verify(&signed(header, payload), SECRET, 1000).unwrap_err()
    }

    const HS256: &str = r#"{"alg":"HS256"}"#;

    #[test]
    fn what_is_minted_verifies() {
        let claims = json!({"id": "u1", "name": "Ann", "role": "user", "exp": 1001, "nbf": 1000, "iat": 999.5, "jti": "j", "x": [1]});
        let token = mint(&claims, SECRET).unwrap();
        let read = verify(&token, SECRET, 1000).unwrap();
        assert_eq!(
            (read.id.as_str(), read.name.as_deref()),
            ("u1", Some("Ann"))
        );
        assert_eq!(
            (read.exp, read.nbf, read.iat),
            (Some(1001), Some(1000), Some(999))
        );
    }

    #[test]
    fn the_signature_is_the_one_that_others_make() {
        // Made with Python's hmac and hashlib.
        let token = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpZCI6InUxIn0.CtKaly0q3exXFInaYZalGFbhKuNW44io8k-ABTEbI-w";
        assert_eq!(mint(&json!({"id": "u1"}), SECRET).unwrap(), token);
        assert_eq!(verify(token, SECRET, 0).unwrap().id, "u1");
    }

    #[test]
    fn other_algorithms_are_refused() {
        for alg in ["none", "None", "HS384", "HS512", "RS256", "hs256", ""] {
            let header = format!(r#"{{"alg":"{alg}"}}"#);
            assert_eq!(
                refusal(&header, r#"{"id":"u"}"#),
                TokenError::Algorithm,
                "{alg}"
            );
        }
        let crit = r#"{"alg":"HS256","crit":["b64"],"b64":false}"#;
        assert_eq!(refusal(crit, r#"{"id":"u"}"#), TokenError::Algorithm);
        let unsigned = format!(
            "{}.{}.",
            BASE64URL_NOPAD.encode(br#"{"alg":"none"}"#),
            BASE64URL_NOPAD.encode(br#"{"id":"u"}"#)
        );
        assert_eq!(verify(&unsigned, SECRET, 0), Err(TokenError::Algorithm));
    }

    #[test]
    fn times_are_honoured_to_the_second() {
        assert_eq!(
            refusal(HS256, r#"{"id":"u","exp":1000}"#),
            TokenError::Expired
        );
        assert_eq!(
            refusal(HS256, r#"{"id":"u","exp":-1e300}"#),
            TokenError::Expired
        );
        assert_eq!(
            refusal(HS256, r#"{"id":"u","nbf":1061}"#),
            TokenError::NotYetValid
        );
        assert_eq!(
            refusal(HS256, r#"{"id":"u","iat":1061}"#),
            TokenError::NotYetValid
        );
        assert_eq!(
            refusal(HS256, r#"{"id":"u","nbf":1e300}"#),
            TokenError::NotYetValid
        );
        assert_eq!(
            refusal(HS256, r#"{"id":"u","exp":"soon"}"#),
            TokenError::Malformed
        );
        let fine = signed(HS256, r#"{"id":"u","exp":1001,"nbf":1060,"iat":1060}"#);
        assert!(verify(&fine, SECRET, 1000).is_ok());
    }

    #[test]
    fn what_is_no_token_is_refused() {
        assert_eq!(refusal(HS256, r#"{"id":""}"#), TokenError::NoId);
        assert_eq!(refusal(HS256, r#"{"sub":"u"}"#), TokenError::NoId);
        assert_eq!(refusal(HS256, r#"{"id":7}"#), TokenError::Malformed);
        assert_eq!(refusal(HS256, "[]"), TokenError::Malformed);
        assert_eq!(refusal("[]", r#"{"id":"u"}"#), TokenError::Malformed);
        for text in ["", ".", "..", "a.b.c", "a.b", "a.b.c.d", "🦜.🦜.🦜"] {
            assert_eq!(
                verify(text, SECRET, 0),
                Err(TokenError::Malformed),
                "{text}"
            );
        }
        let long = "a".repeat(MAX_TOKEN_BYTES + 1);
        assert_eq!(verify(&long, SECRET, 0), Err(TokenError::TooLong));
    }

    #[test]
    fn ids_are_what_ids_can_be() {
        for bad in ["a\nb", "\0", "a\u{85}", &"x".repeat(257), &"🦜".repeat(257)] {
            for name in ["id", "jti"] {
                let mut claims = json!({"id": "u", "jti": "j"});
                claims[name] = bad.into();
                assert_eq!(refusal(HS256, &claims.to_string()), TokenError::BadId);
            }
        }
        let fine = json!({"id": "🦜".repeat(256), "jti": ""}).to_string();
        assert!(verify(&signed(HS256, &fine), SECRET, 0).is_ok());
    }

    #[test]
    fn texts_are_the_same_or_not() {
        assert!(same("key", "key") && same("", ""));
        for (a, b) in [("key", "kex"), ("key", "ke"), ("key", "key\0"), ("", "k")] {
            assert!(!same(a, b) && !same(b, a));
        }
    }

    #[test]
    fn random_tokens_are_refused_or_were_signed() {
        let mut random = Random::new();
        let good = mint(
            &json!({"id": "u1", "exp": 2000, "nbf": 1, "jti": "j"}),
            SECRET,
        )
        .unwrap();
        for _ in 0..rounds() {
            let spoilt = random.spoil(good.as_bytes());
            let (token, ours) = match random.below(3) {
                0 => (random.text(12), false),
                1 => (String::from_utf8_lossy(&spoilt).into_owned(), false),
                _ => {
                    let claim = |random: &mut Random| random.json(2);
                    let claims = json!({"id": claim(&mut random), "exp": claim(&mut random), "jti": claim(&mut random)});
                    let header =
                        *random.pick(&[&HS256, &"{}", &"[]", &r#"{"alg":"HS256","crit":[]}"#]);
                    (signed(header, &claims.to_string()), header == HS256)
                }
            };
            let _ = claimed_user(&token);
            if let Ok(claims) = verify(&token, SECRET, 1000) {
                assert!((ours || token == good) && is_id(&claims.id), "{token}");
            }
        }
    }

    #[test]
    fn a_changed_token_is_refused() {
        let token = mint(&json!({"id": "u1"}), SECRET).unwrap();
        assert_eq!(verify(&token, "other", 0), Err(TokenError::Signature));
        assert_eq!(verify(&token, "", 0), Err(TokenError::Signature));
        assert_eq!(mint(&json!({"id": "u1"}), ""), None);
        // Each change of one character is refused; padding and loose last bits are none either.
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(
                changed == token || verify(&changed, SECRET, 0).is_err(),
                "{at}"
            );
        }
        assert!(verify(&format!("{token}="), SECRET, 0).is_err());
    }
}
