//! The other instances of one that was built without Redis: there are none, and none is ever made.

use super::Outgoing;
use crate::socket::{Args, CallError, Target};
use serde_json::value::RawValue;
use std::time::Duration;

/// What `Shared` is with Redis.
pub enum Nobody {}

impl Nobody {
    pub fn degraded(&self) -> Option<String> {
        match *self {}
    }

    pub fn occupied(&self, _nsp: &str, _room: &str, _occupied: bool) {
        match *self {}
    }

    pub async fn settled(&self) {
        match *self {}
    }

    pub async fn told(&self) {
        match *self {}
    }

    pub fn emit(&self, _target: &Target<'_>, _event: &str, _args: &Args<'_>) {
        match *self {}
    }

    pub fn outgoing(&self, _target: &Target<'_>, _event: &str, _args: &Args<'_>) -> Outgoing {
        match *self {}
    }

    pub async fn call(
        &self,
        _sid: &str,
        _event: &str,
        _args: &Args<'_>,
        _timeout: Duration,
    ) -> Result<Args<'static>, CallError> {
        match *self {}
    }

    pub fn disconnect(&self, _sid: &str) {
        match *self {}
    }

    pub fn enter(&self, _sid: &str, _room: &str) {
        match *self {}
    }

    pub fn leave(&self, _sid: &str, _room: &str) {
        match *self {}
    }

    pub fn close_room(&self, _room: &str) {
        match *self {}
    }

    pub fn stream(&self, _name: &str, _data: &RawValue) {
        match *self {}
    }

    pub fn on_stream(&self, _take: impl Fn(&str, &RawValue) + 'static) {
        match *self {}
    }
}
