//! What a backend may ask over HTTP, one file a resource.

use crate::house::House;
use crate::http::Answer;
use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use std::rc::Rc;

/// Answers a request under `/api/v1`.
pub async fn handle(_house: &Rc<House>, _request: Request<Incoming>) -> Answer {
    let mut answer = Answer::default();
    *answer.status_mut() = StatusCode::NOT_FOUND;
    answer
}
