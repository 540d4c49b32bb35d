//! Questions of other instances to the sockets here.

use super::Backplane;
use super::wire::{self, Emit, ReplyTo};
use crate::socket::{Args, Done, Sid, Target, To};
use std::rc::Rc;
use std::time::Duration;

/// How long the ack of a call of another instance is waited for; it has given up by then.
const PATIENCE: Duration = Duration::from_secs(3600);

impl Backplane {
    /// Asks the sockets here on behalf of another instance.
    pub(super) fn ask_here(
        self: &Rc<Self>,
        target: &Target<'_>,
        emit: &Emit<'_>,
        reply: &ReplyTo<'_>,
    ) {
        let left_out = self.left_out(target, &emit.event, &emit.args);
        let mut sids = self.hub.select(target);
        if let To::Room(room) = target.to
            && sids.is_empty()
            && self.hub.is_awaited(room)
            && !self.moves.is_asked_elsewhere(room)
        {
            // Whoever asks could not tell: its channel is listened to on.
            sids.extend(Sid::parse(room));
        }
        for sid in sids.into_iter().filter(|sid| !left_out.contains(sid)) {
            let done = self.replies_to(reply.clone().into_owned());
            let (event, args, waits) = (&emit.event, &emit.args, reply.waits);
            let Some(ack) = self.hub.emit_with_ack(sid, event, args, waits, done) else {
                self.publish(wire::gone_message(reply));
                continue;
            };
            self.publish(wire::here_message(reply, self.redis.host_id()));
            let hub = self.hub.clone();
            let forget = async move {
                smol::Timer::after(PATIENCE).await;
                hub.forget(sid, ack);
            };
            self.tasks.spawn("forgets an ack", forget);
        }
    }

    /// Tells the answer, or that there is none.
    pub(super) fn replies_to(self: &Rc<Self>, to: ReplyTo<'static>) -> Done {
        let this = self.clone();
        Box::new(move |args: Option<Args<'static>>| {
            this.publish(match args {
                Some(args) => wire::callback_message(&to, &args),
                None => wire::gone_message(&to),
            });
        })
    }
}
