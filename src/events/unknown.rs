//! Events that siskin does not know: those of the next version of Open WebUI, and those that only its own socket takes.

use super::Work;
use crate::app::House;
use crate::socket::Event;

/// Handed to Open WebUI, if that is the directory; its answer goes to the client.
pub fn event(house: &'static House, event: &Event<'_>) -> Work {
    let handed = house.sessions.sender(event.sid).and_then(|from| {
        let relays = house.relays;
        relays.hand_over(&from, &event.name, &event.args, event.ack)
    });
    match handed {
        Ok(wait) => Work::Handed(wait),
        Err(fault) => Work::refuse(fault),
    }
}
