//! Tokens that Open WebUI has revoked: one by one, or all of a user up to a second.

use super::SharedPools;
use crate::directory::Identity;
use crate::redis::CommandError;
use redis::{Value, from_redis_value};

impl SharedPools {
    /// Which of these tokens were revoked since they were made; two keys each, all in one pipeline. While Redis can't tell,
    /// none are (contract, Identity), and the log says so once.
    pub async fn revoked(&self, all: &[&Identity]) -> Vec<bool> {
        self.locks.started().await;
        match self.read_revoked(all).await {
            Ok(revoked) => {
                self.blind.set(false);
                revoked
            }
            Err(fault) => {
                if !self.blind.replace(true) {
                    log::warn!("revoked tokens can't be looked up, all count as valid: {fault}");
                }
                vec![false; all.len()]
            }
        }
    }

    async fn read_revoked(&self, all: &[&Identity]) -> Result<Vec<bool>, CommandError> {
        let get = |key: String| {
            let mut get = redis::cmd("GET");
            get.arg(self.redis.key(&key));
            get
        };
        let keys = all.iter().flat_map(|who| {
            let claims = &who.claims;
            // A token without an id can't be revoked by it: nobody writes this key.
            let jti = claims.jti.as_deref().unwrap_or_default();
            [
                get(format!("auth:token:{jti}:revoked")),
                get(format!("auth:user:{}:revoked_at", claims.id)),
            ]
        });
        let answers = self.redis.pipeline(keys.collect()).await?;
        super::first_refusal(answers.clone())?;
        let judge = |(who, pair): (&&Identity, &[Value])| {
            let text =
                |value: Option<&Value>| from_redis_value::<Option<String>>(value?.clone()).ok()?;
            let token = text(pair.first()).filter(|_| who.claims.jti.is_some());
            judge(
                token.as_deref(),
                text(pair.get(1)).as_deref(),
                who.claims.iat,
            )
        };
        Ok(all.iter().zip(answers.chunks(2)).map(judge).collect())
    }
}

/// What the two keys say about a token made at `iat`.
fn judge(token: Option<&str>, user: Option<&str>, iat: Option<i64>) -> bool {
    let since = user.and_then(|at| at.trim().parse::<i64>().ok());
    token.is_some_and(|text| !text.is_empty())
        || since.is_some_and(|at| iat.is_none_or(|iat| iat <= at))
}

#[cfg(test)]
mod tests {
    use super::judge;

    #[test]
    fn a_token_is_revoked_by_itself_or_with_all_of_its_user() {
        for (token, user, iat, revoked) in [
            (None, None, None, false),
            (Some("1"), None, Some(5), true),
            (Some(""), None, Some(5), false),
            (None, Some("10"), Some(9), true),
            (None, Some("10"), Some(10), true),
            (None, Some("10"), Some(11), false),
            (None, Some("10"), None, true),
            (None, Some("soon"), None, false),
        ] {
            assert_eq!(
                judge(token, user, iat),
                revoked,
                "{token:?} {user:?} {iat:?}"
            );
        }
    }
}
