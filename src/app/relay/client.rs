//! One client's relay: what waits to go over it, and whose it is.

use crate::directory::Identity;
use crate::ground::net::input::Unfinished;
use crate::ground::tasks::Bell;
use crate::socket::Args;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

/// An Engine.IO message with a Socket.IO packet, and its attachments.
pub struct Outgoing {
    pub text: String,
    pub attachments: Vec<Vec<u8>>,
    /// While it waits to be sent it counts as input that is not handled.
    pub held: Option<Unfinished>,
}

impl Outgoing {
    /// An event; with an id when its ack is wanted, the client's own: a relay has one client.
    pub fn event(name: &str, args: &Args<'_>, id: Option<u64>) -> Self {
        let name = serde_json::to_string(name).unwrap_or_default();
        let comma = if args.json().is_empty() { "" } else { "," };
        Self::packet(["2", "5"], id, &[&name, comma, args.json()], args)
    }

    /// An ack.
    pub fn ack(id: u64, args: &Args<'_>) -> Self {
        Self::packet(["3", "6"], Some(id), &[args.json()], args)
    }

    fn packet([plain, binary]: [&str; 2], id: Option<u64>, data: &[&str], args: &Args<'_>) -> Self {
        let attachments = args.attachments().to_vec();
        let kind = match attachments.len() {
            0 => plain.to_owned(),
            count => format!("{binary}{count}-"),
        };
        let id = id.map_or_else(String::new, |id| id.to_string());
        let text = ["4", &kind, &id, "[", &data.concat(), "]"].concat();
        Self {
            text,
            attachments,
            held: None,
        }
    }

    fn bytes(&self) -> usize {
        self.text.len() + self.attachments.iter().map(Vec::len).sum::<usize>()
    }
}

/// A client's relay.
pub struct Client {
    who: RefCell<Rc<Identity>>,
    queue: RefCell<VecDeque<Outgoing>>,
    /// Bytes in the queue, and in those of all.
    bytes: Cell<usize>,
    all_bytes: Rc<Cell<usize>>,
    ended: Cell<bool>,
    used: Cell<Instant>,
    /// Rung when there is something to send, or no more to be done.
    changed: Bell,
}

impl Client {
    pub fn new(who: Rc<Identity>, all_bytes: Rc<Cell<usize>>) -> Rc<Self> {
        Rc::new(Self {
            who: RefCell::new(who),
            queue: RefCell::default(),
            bytes: Cell::default(),
            all_bytes,
            ended: Cell::default(),
            used: Cell::new(Instant::now()),
            changed: Bell::default(),
        })
    }

    /// Its user, with the token that was shown last.
    pub fn who(&self) -> Rc<Identity> {
        self.who.borrow().clone()
    }

    pub fn is_of(&self, user_id: &str) -> bool {
        self.who.borrow().user.id == user_id
    }

    pub fn is_now(&self, who: &Rc<Identity>) {
        if !Rc::ptr_eq(&self.who.borrow(), who) {
            self.who.replace(who.clone());
        }
    }

    /// Bytes that wait.
    pub fn waiting(&self) -> usize {
        self.bytes.get()
    }

    /// When something went over it last.
    pub fn used(&self) -> Instant {
        self.used.get()
    }

    pub fn is_used(&self) {
        self.used.set(Instant::now());
    }

    pub fn put(&self, mut outgoing: Outgoing) {
        if self.ended.get() {
            return;
        }
        self.is_used();
        let bytes = outgoing.bytes();
        self.count(bytes, 0);
        outgoing.held = Unfinished::hand_over(None, bytes);
        self.queue.borrow_mut().push_back(outgoing);
        self.changed.ring();
    }

    /// What is to be sent next.
    pub fn take(&self) -> Option<Outgoing> {
        let outgoing = self.queue.borrow_mut().pop_front()?;
        self.count(0, outgoing.bytes());
        Some(outgoing)
    }

    /// Waits until there is something to be sent.
    pub fn filled(&self) -> impl Future<Output = ()> {
        let some = || (!self.queue.borrow().is_empty()).then_some(());
        self.changed.until(some)
    }

    pub fn has_ended(&self) -> bool {
        self.ended.get()
    }

    /// No more goes over it; what waits is dropped.
    pub fn end(&self) {
        self.ended.set(true);
        let dropped = self.queue.take();
        self.count(0, dropped.iter().map(Outgoing::bytes).sum());
        self.changed.ring();
    }

    /// Waits until no more goes over it.
    pub fn ended(&self) -> impl Future<Output = ()> {
        self.changed.until(|| self.ended.get().then_some(()))
    }

    fn count(&self, more: usize, less: usize) {
        for bytes in [&self.bytes, &*self.all_bytes] {
            bytes.set(bytes.get() + more - less);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::User;
    use crate::ground::net::input::InputBudget;
    use crate::token::Claims;

    #[test]
    fn what_waits_to_be_sent_counts_as_input() {
        let before = InputBudget::used();
        let text = || "a".to_owned();
        let user = User {
            id: text(),
            name: text(),
            role: text(),
            record: "{}".into(),
        };
        let who = Identity {
            user,
            token: "a".into(),
            claims: Claims::default(),
            as_of: Cell::default(),
        };
        let client = Client::new(Rc::new(who), Rc::default());
        let large = Args::from_json(format!("\"{}\"", "x".repeat(300_000)));
        for args in [&Args::none(), &large, &large] {
            client.put(Outgoing::event("x", args, None));
        }
        assert!(InputBudget::used() > before + 600_000);
        let taken: Vec<_> = (0..2).map(|_| client.take()).collect();
        assert!(
            InputBudget::used() > before + 600_000,
            "sent is what counts"
        );
        drop(taken);
        assert!((300_000..310_000).contains(&(InputBudget::used() - before)));
        client.end();
        assert_eq!((InputBudget::used(), client.waiting()), (before, 0));
    }

    #[test]
    fn packets_are_written_as_a_client_writes_them() {
        let text = |outgoing: Outgoing| outgoing.text;
        let args = Args::from_json("1,{}");
        assert_eq!(
            text(Outgoing::event("a\"b", &args, None)),
            r#"42["a\"b",1,{}]"#
        );
        let none = Args::none();
        assert_eq!(text(Outgoing::event("x", &none, Some(7))), r#"427["x"]"#);
        assert_eq!(text(Outgoing::ack(8, &none)), "438[]");
        let json = r#"{"_placeholder":true,"num":0}"#;
        let blob = Args::from_json(json).with_attachments(vec![vec![1, 2]]);
        let outgoing = Outgoing::event("x", &blob, Some(7));
        assert_eq!(outgoing.text, format!(r#"451-7["x",{json}]"#));
        assert_eq!(outgoing.attachments, [vec![1, 2]]);
        assert_eq!(text(Outgoing::ack(8, &blob)), format!("461-8[{json}]"));
    }
}
