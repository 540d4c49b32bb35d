//! Who bears a token, and the channels that they are in.

use super::client::UpstreamRequest;
use super::rest::{Outcome, is_uuid};
use super::watch::WHO_AM_I;
use super::webui::{ATTEMPTS, CHANGING, OpenWebui, channels_key};
use crate::directory::types::{ChannelIds, Identity, Refusal, User};
use crate::token::Claims;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long an accepted token is accepted without a request (contract, Identity).
const ACCEPTED: Duration = Duration::from_secs(30);
/// The same for the check of those who are here already, who are checked every 30 s.
const CHECKED: Duration = Duration::from_secs(5);
/// How old `last_active_at` may become while its user is here.
const SEEN: Duration = Duration::from_secs(60);

const CHANNELS: &str = "/api/v1/channels/";

/// Fields of the answer that a session entry holds. It has others that nobody else may see, the token among them.
const PUBLIC: [&str; 7] = [
    "id",
    "email",
    "name",
    "role",
    "status_emoji",
    "status_message",
    "status_expires_at",
];

#[derive(Deserialize)]
struct Channel {
    id: String,
}

impl OpenWebui {
    pub(in crate::directory) async fn identify(
        &self,
        token: &str,
        claims: &Claims,
    ) -> Result<Identity, Refusal> {
        let user = match self.users.get(token, ACCEPTED, Instant::now()) {
            Some(user) => user,
            None => self.who_is(token, claims).await?,
        };
        Ok(Identity {
            user,
            token: token.into(),
            claims: claims.clone(),
            as_of: Default::default(),
        })
    }

    pub(in crate::directory) async fn recheck(&self, who: &Identity) -> Result<(), Refusal> {
        let user = match self.users.get(&who.token, CHECKED, Instant::now()) {
            Some(user) => user,
            None => self.who_is(&who.token, &who.claims).await?,
        };
        match user.role == who.user.role {
            true => Ok(()),
            false => Err(Refusal::Denied("the user's role has changed")),
        }
    }

    /// Every request makes its user active; so there is something to do only for who caused none lately.
    pub(in crate::directory) fn seen(self: &Rc<Self>, who: &Identity) {
        let now = Instant::now();
        if self.rest.watch.is_away() || self.users.get(&who.token, SEEN, now).is_some() {
            return;
        }
        let (webui, who) = (self.clone(), who.clone());
        let report = async move {
            if let Err(refusal) = webui.who_is(&who.token, &who.claims).await {
                log::debug!("{} is not reported active: {refusal}", who.user.id);
            }
        };
        self.tasks.spawn("reports a user active", report);
    }

    /// Requested each time: clients do so just when a channel was made.
    pub(in crate::directory) async fn channels(
        &self,
        who: &Identity,
    ) -> Result<ChannelIds, Refusal> {
        let key = channels_key(&who.user.id);
        for _ in 0..ATTEMPTS {
            let asked = Instant::now();
            let told = self.ask_channels(who).await?;
            if !self.changes.since(&key, asked) {
                if let ChannelIds::Now(ids) = &told {
                    let user_id = who.user.id.as_str().into();
                    self.channels.put(user_id, ids.clone(), Instant::now());
                }
                return Ok(told);
            }
        }
        Err(CHANGING)
    }

    async fn ask_channels(&self, who: &Identity) -> Result<ChannelIds, Refusal> {
        match self
            .rest
            .send(UpstreamRequest::get(CHANNELS, &who.token))
            .await
        {
            Ok(Outcome::Success(body)) => {
                let channels: Vec<Channel> = self.rest.parse(CHANNELS, &body)?;
                let ids = channels.into_iter().map(|channel| channel.id);
                Ok(ChannelIds::Now(ids.collect()))
            }
            // Channels are off, or not for this user.
            Ok(Outcome::Refused(_)) => Ok(ChannelIds::Now(Vec::new())),
            Ok(Outcome::TooLarge) => Err(self.rest.too_large(CHANNELS)),
            Err(refusal) => self
                .channels
                .last(&who.user.id, Instant::now())
                .map(ChannelIds::Before)
                .ok_or(refusal),
        }
    }

    /// Whether the user is in the channel, and has not hidden it.
    pub(in crate::directory) async fn is_in_channel(
        &self,
        who: &Identity,
        channel_id: &str,
    ) -> Result<bool, Refusal> {
        if !is_uuid(channel_id) {
            return Ok(false);
        }
        let path = format!("{CHANNELS}{channel_id}");
        let request = UpstreamRequest::get(&path, &who.token);
        match self.rest.send(request).await? {
            Outcome::Success(body) => {
                let channel: Option<Channel> = self.rest.parse(&path, &body)?;
                Ok(channel.is_some_and(|channel| channel.id == channel_id))
            }
            Outcome::TooLarge => Err(self.rest.too_large(&path)),
            Outcome::Refused(_) => Ok(false),
        }
    }

    async fn who_is(&self, token: &str, claims: &Claims) -> Result<User, Refusal> {
        let asked = Instant::now();
        let known = match self
            .rest
            .send(UpstreamRequest::get(WHO_AM_I, token))
            .await?
        {
            Outcome::Success(body) => user(self.rest.parse(WHO_AM_I, &body)?, claims),
            Outcome::TooLarge => return Err(self.rest.too_large(WHO_AM_I)),
            Outcome::Refused(_) => Err(Refusal::Denied("Open WebUI refuses the token")),
        };
        match &known {
            // Who uses it looks for changes, too; it is not remembered.
            _ if self.changes.since(&claims.id, asked) => {}
            Ok(user) => self.users.put(token.into(), user.clone(), asked),
            Err(_) => self.users.forget(token),
        }
        known
    }
}

/// The user as a session entry shows them.
fn user(mut answer: Map<String, Value>, claims: &Claims) -> Result<User, Refusal> {
    let text = |field| answer.get(field).and_then(Value::as_str).map(str::to_owned);
    let (id, name, role) = (text("id"), text("name"), text("role"));
    if id.as_ref() != Some(&claims.id) {
        return Err(Refusal::Denied("Open WebUI knows the token as another's"));
    }
    let role = role.unwrap_or_else(|| "pending".into());
    if !matches!(&*role, "user" | "admin") {
        return Err(Refusal::Denied("the user is not let in yet"));
    }
    answer.retain(|field, _| PUBLIC.contains(&field.as_str()));
    Ok(User {
        id: claims.id.clone(),
        name: name.unwrap_or_else(|| claims.id.clone()),
        role,
        record: Value::Object(answer).to_string().into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(answer: Value) -> Result<User, Refusal> {
        let claims = Claims {
            id: "u".into(),
            ..Claims::default()
        };
        user(answer.as_object().unwrap().clone(), &claims)
    }

    #[test]
    fn a_session_entry_holds_no_token() {
        let user = read(json!({
            "id": "u", "name": "Ann", "role": "user", "email": "a@b", "token": "t", "token_type": "Bearer",
            "expires_at": 1, "permissions": {}, "profile_image_url": "x", "bio": "b", "status_emoji": null,
        }));
        let user = user.unwrap();
        assert_eq!((&*user.name, &*user.role), ("Ann", "user"));
        let record: Value = serde_json::from_str(&user.record).unwrap();
        let expected =
            json!({"id": "u", "name": "Ann", "role": "user", "email": "a@b", "status_emoji": null});
        assert_eq!(record, expected);
    }

    #[test]
    fn pending_ones_and_others_are_refused() {
        for answer in [
            json!({"id": "u", "role": "pending"}),
            json!({"id": "u"}),
            json!({"id": "v", "role": "user"}),
            json!({"role": "admin"}),
            json!({"id": "u", "role": "root"}),
        ] {
            assert!(read(answer.clone()).is_err(), "{answer}");
        }
    }
}
