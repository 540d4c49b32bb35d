//! `GET /api/v1/backup`: a consistent copy of the store.

use super::ApiResult;
use super::input::ApiRequest;
use super::reply::{Problem, Reply};
use crate::ground::random::uuid;
use crate::store::passing_name;
use hyper::StatusCode;
use std::path::PathBuf;

/// The copy passes through memory on its way, so there is a limit.
const MAX_BYTES: u64 = 256 << 20;

/// A file that is removed when the request is over, however it ends.
struct Passing(PathBuf);

impl Drop for Passing {
    fn drop(&mut self) {
        // It may never have been written.
        let _ = std::fs::remove_file(&self.0);
    }
}

pub async fn backup(request: ApiRequest) -> ApiResult {
    let local = request.local()?;
    let name = passing_name(&uuid());
    let copy = Passing(request.house.core.config.data_dir.join(name));
    let bytes = local.backup(&copy.0).await?;
    if bytes > MAX_BYTES {
        let detail = "The store is larger than 256 MiB: stop siskin and copy its file.";
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }
    match smol::fs::read(&copy.0).await {
        Ok(bytes) => Ok(Reply::file(bytes)),
        Err(error) => {
            log::error!("a backup can't be read back: {error}");
            Err(Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "The copy can't be read; the log says why.",
            ))
        }
    }
}
