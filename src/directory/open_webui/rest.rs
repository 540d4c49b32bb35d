//! Requests to Open WebUI's REST, and what they came to.
//!
//! Its 401 and 403 to anything but "who am I" mean no access to that thing, its 404 no such thing.

use super::client::{Client, DEADLINE, UpstreamError, UpstreamRequest, UpstreamResponse};
use super::watch::{AWAY, Watch, unexpected};
use crate::directory::types::Refusal;
use futures_lite::FutureExt as _;
use hyper::body::Bytes;
use hyper::{Method, StatusCode};
use serde::de::DeserializeOwned;
use std::rc::Rc;
use std::time::Duration;

/// How long an answer is waited for the second time.
const PATIENCE: Duration = Duration::from_secs(20);

/// The REST of one Open WebUI.
pub struct Rest {
    pub client: Rc<Client>,
    pub watch: Rc<Watch>,
}

/// What Open WebUI makes of a request that it understood.
pub enum Outcome {
    Success(Bytes),
    /// Success, with a body larger than the bound.
    TooLarge,
    Refused(StatusCode),
}

impl Rest {
    /// Sends a request, unless Open WebUI is known to be away.
    pub async fn send(&self, request: UpstreamRequest<'_>) -> Result<Outcome, Refusal> {
        match self.watch.is_away() {
            true => Err(AWAY),
            false => self.send_anyway(request).await,
        }
    }

    /// Sends a request even then.
    pub async fn send_anyway(&self, request: UpstreamRequest<'_>) -> Result<Outcome, Refusal> {
        let path = request.path;
        // Boxed: all that may ask Open WebUI would be as large.
        let response = match Box::pin(self.exchange(&request)).await {
            Ok(response) => response,
            Err(error) => return Err(self.failed(UpstreamError(format!("{path}: {error}")))),
        };
        match (response.status, response.body) {
            (status, Some(body)) if status.is_success() => Ok(Outcome::Success(body)),
            (status, None) if status.is_success() => Ok(Outcome::TooLarge),
            (
                status @ (StatusCode::UNAUTHORIZED
                | StatusCode::FORBIDDEN
                | StatusCode::NOT_FOUND
                | StatusCode::PAYLOAD_TOO_LARGE
                | StatusCode::UNPROCESSABLE_ENTITY),
                _,
            ) => Ok(Outcome::Refused(status)),
            (status, _) => Err(self.failed(unexpected(path, status))),
        }
    }

    /// What is only read is asked for twice: Open WebUI may be slow, or one request may have got lost.
    async fn exchange(
        &self,
        request: &UpstreamRequest<'_>,
    ) -> Result<UpstreamResponse, UpstreamError> {
        let first = self.client.send(request, DEADLINE).await;
        match first {
            Err(error) if request.method == Method::GET && !self.watch.is_away() => {
                let path = request.path;
                self.watch
                    .check(Some(UpstreamError(format!("{path}: {error}"))));
                let gone = async {
                    self.watch.gone().await;
                    Err(error)
                };
                gone.or(self.client.send(request, PATIENCE)).await
            }
            first => first,
        }
    }

    /// Parses the body of a response.
    pub fn parse<T: DeserializeOwned>(&self, path: &str, body: &[u8]) -> Result<T, Refusal> {
        crate::ground::json::read(body).map_err(|_| {
            let what = format!("{path} is answered with something else than was asked for");
            self.failed(UpstreamError(what))
        })
    }

    /// The refusal for a body that is larger than the bound.
    pub fn too_large(&self, path: &str) -> Refusal {
        self.failed(UpstreamError(format!("{path} is answered without an end")))
    }

    fn failed(&self, error: UpstreamError) -> Refusal {
        self.watch.check(Some(error));
        AWAY
    }
}

/// Is it a UUID, as all of Open WebUI's ids are? Nothing else is put into a path: it would name nothing, and `a/chat` or
/// `all` are paths of other things.
pub fn is_uuid(id: &str) -> bool {
    let hex = |c: u8| c.is_ascii_hexdigit();
    let fits = |(at, c): (usize, u8)| match at {
        8 | 13 | 18 | 23 => c == b'-',
        _ => hex(c),
    };
    id.len() == 36 && id.bytes().enumerate().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_uuids_become_part_of_a_path() {
        assert!(is_uuid("0cfb530d-4f0e-4226-a020-88ae45f5f7e3"));
        assert!(is_uuid("0CFB530D-4F0E-4226-A020-88AE45F5F7E3"));
        for id in [
            "",
            ".",
            "..",
            "all",
            "a/chat",
            "a%2Fchat",
            "0cfb530d-4f0e-4226-a020-88ae45f5f7e3/chat",
            "0cfb530d-4f0e-4226-a020-88ae45f5f7e",
            "0cfb530d-4f0e-4226-a020-88ae45f5f7e\n",
            "0cfb530d/4f0e-4226-a020-88ae45f5f7e3",
            "0cfb530d-4f0e-4226-a020-88ae45f5f7é",
            "0cfb530dx4f0e-4226-a020-88ae45f5f7e3",
            &"a".repeat(10_000),
        ] {
            assert!(!is_uuid(id), "{id}");
        }
    }
}
