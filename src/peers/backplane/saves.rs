//! Saves of notes, told to the other instances so that their echoes reach nobody there either.

use super::Backplane;
use super::echoes::{End, Verdict};
use super::wire::{Emit, Notice};
use crate::directory::Echo;
use crate::ground::rooms;
use crate::socket::{Args, Target};
use std::borrow::Cow;
use std::rc::Rc;
use std::time::Instant;

impl Backplane {
    /// A save of the note is about to go out: events about it are held, here and, once this returns, by all the others.
    pub async fn begin_save(self: &Rc<Self>, note_id: &str) -> u64 {
        let id = self.saves.get() + 1;
        self.saves.set(id);
        let save = (self.redis.host_id().into(), id);
        self.echoes.begin(note_id, save, Instant::now());
        let note = note_id.into();
        self.notify(&Notice::Saving { note, id });
        self.published().await;
        id
    }

    /// It has ended.
    pub fn end_save(self: &Rc<Self>, note_id: &str, id: u64, echo: Echo, fields: &str) {
        let end = End::of(echo, fields);
        self.notify(&Notice::Saved {
            note: note_id.into(),
            id,
            at: match end {
                End::At(updated_at) => Some(updated_at),
                _ => None,
            },
            print: match end {
                End::Unanswered(print) => Some(print),
                _ => None,
            },
        });
        self.ended(self.redis.host_id(), note_id, id, end);
    }

    /// Another of ours says something.
    pub(super) fn noticed(self: &Rc<Self>, host: &str, notice: &Notice<'_>) {
        match notice {
            Notice::Changed { user } => self.users.add(user),
            Notice::Answered { answer } => self.answered.add(answer),
            Notice::Removed { note, epoch } => self.removed.add(&format!("{epoch}\n{note}")),
            Notice::Saving { note, id } => {
                self.echoes.begin(note, (host.into(), *id), Instant::now());
                self.keep_forgetting();
            }
            Notice::Saved {
                note,
                id,
                at,
                print,
            } => {
                let print = print.map_or(End::Silent, End::Unanswered);
                self.ended(host, note, *id, at.map_or(print, End::At));
            }
        }
    }

    fn ended(self: &Rc<Self>, host: &str, note_id: &str, id: u64, end: End) {
        let now = Instant::now();
        let free = self.echoes.end(note_id, &(host.into(), id), end, now);
        for args in free {
            self.let_go(note_id, &args);
        }
        self.keep_forgetting();
    }

    /// An event came from outside. `None`: it is about a note, and is let go later or never.
    pub(super) fn without_echoes<'a>(self: &Rc<Self>, mut emit: Emit<'a>) -> Option<Emit<'a>> {
        let event = rooms::note_event(&emit.event).filter(|_| emit.reply.is_none());
        let note_id = match emit.rooms.as_deref() {
            Some([room]) => rooms::note(room),
            _ => None,
        };
        let (Some(event), Some(note_id)) = (event, note_id) else {
            return Some(emit);
        };
        self.note_event.set(event);
        match self.echoes.judge(note_id, emit.args, Instant::now()) {
            Verdict::Pass(args) => {
                let told = self.tell_editors(note_id, event, &args);
                emit.except.extend(told.map(Cow::Owned));
                emit.args = args;
                Some(emit)
            }
            Verdict::Taken => None,
        }
    }

    fn let_go(self: &Rc<Self>, note_id: &str, args: &Args<'_>) {
        let room = rooms::of_note(note_id);
        let event = self.note_event.get();
        let told = self.tell_editors(note_id, event, args);
        let except = told.as_slice().iter().map(String::as_str);
        let except: Vec<&str> = except.collect();
        self.hub
            .emit(&Target::room(&room).but(&except), event, args);
    }

    /// Forgets what is old, until there is nothing: whoever died in a save never ends it.
    fn keep_forgetting(self: &Rc<Self>) {
        let this = self.clone();
        let forget = || async move {
            while let Some(next) = this.echoes.next_expiry() {
                smol::Timer::at(next).await;
                for (note_id, args) in this.echoes.expired(Instant::now()) {
                    this.let_go(&note_id, &args);
                }
            }
        };
        self.forgetting.start(&self.tasks, "forgets echoes", forget);
    }
}
