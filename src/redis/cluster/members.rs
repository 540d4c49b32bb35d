//! The nodes of a Cluster that something was for: connected to when first needed, and looked after from then on.

use crate::Executor;
use crate::redis::Bell;
use crate::redis::address::{Address, Target};
use crate::redis::node::Node;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// The nodes by where they are.
pub struct Members {
    executor: Executor,
    target: Target,
    all: RefCell<BTreeMap<Address, Member>>,
    /// Rung when one of them comes or goes.
    pub changed: Bell,
}

enum Member {
    /// Is being connected to; with a reason: again.
    Opening(Option<String>),
    Open(Rc<Node>),
    /// Is not reached, and why.
    Lost(String),
}

impl Members {
    pub fn new(executor: Executor, target: &Target) -> Rc<Self> {
        Rc::new(Self {
            executor,
            target: target.clone(),
            all: RefCell::default(),
            changed: Bell::default(),
        })
    }

    /// A node as it is; one that nothing was for yet is connected to.
    ///
    /// # Errors
    /// Why it is lost.
    pub async fn get(self: &Rc<Self>, address: &Address) -> Result<Rc<Node>, String> {
        if !self.all.borrow().contains_key(address) {
            self.connect(address);
        }
        let look = || {
            self.lost(address)
                .map(Err)
                .or_else(|| self.settled(address))
        };
        self.changed.until(look).await
    }

    /// A node; a lost one is connected to again.
    ///
    /// # Errors
    /// Why it is still lost.
    pub async fn reach(self: &Rc<Self>, address: &Address) -> Result<Rc<Node>, String> {
        let there = |member: &Member| matches!(member, Member::Open(_) | Member::Opening(_));
        if !self.all.borrow().get(address).is_some_and(there) {
            self.connect(address);
        }
        self.changed.until(|| self.settled(address)).await
    }

    /// Why it is lost; also while it is being connected to again.
    pub fn lost(&self, address: &Address) -> Option<String> {
        match self.all.borrow().get(address)? {
            Member::Opening(why) => why.clone(),
            Member::Open(_) => None,
            Member::Lost(why) => Some(why.clone()),
        }
    }

    /// Those that were needed, connected ones first.
    pub fn known(&self) -> Vec<Address> {
        let all = self.all.borrow();
        let open = |member: &Member| matches!(member, Member::Open(_));
        let (mut first, then): (Vec<_>, Vec<_>) = all.iter().partition(|(_, member)| open(member));
        first.extend(then);
        first
            .into_iter()
            .map(|(address, _)| address.clone())
            .collect()
    }

    /// Lets go of all but these.
    pub fn keep(&self, wanted: impl Fn(&Address) -> bool) {
        self.all.borrow_mut().retain(|address, member| {
            let stays = wanted(address) || matches!(member, Member::Opening(_));
            if let (false, Member::Open(node)) = (stays, member) {
                node.give_up("it is not needed any more");
            }
            stays
        });
    }

    fn settled(&self, address: &Address) -> Option<Result<Rc<Node>, String>> {
        match self.all.borrow().get(address) {
            Some(Member::Opening(_)) => None,
            Some(Member::Open(node)) if node.lives() => Some(Ok(node.clone())),
            Some(Member::Open(_)) => Some(Err("the connection was closed".into())),
            Some(Member::Lost(why)) => Some(Err(why.clone())),
            None => Some(Err("it is not needed any more".into())),
        }
    }

    fn connect(self: &Rc<Self>, address: &Address) {
        let opening = Member::Opening(self.lost(address));
        self.set(address, opening);
        let attend = self.clone().attend(address.clone());
        self.executor.spawn(attend).detach();
    }

    /// Connects to a node and waits for its end.
    async fn attend(self: Rc<Self>, address: Address) {
        let node = match Node::open(self.executor, &self.target, &address).await {
            Ok(node) => Rc::new(node),
            Err(why) => return self.set(&address, Member::Lost(why)),
        };
        self.set(&address, Member::Open(node.clone()));
        let members = Rc::downgrade(&self);
        drop(self);
        let why = node.ended().await;
        if let Some(members) = members.upgrade()
            && members.is(&address, &node)
        {
            members.set(&address, Member::Lost(why));
        }
    }

    fn is(&self, address: &Address, node: &Rc<Node>) -> bool {
        match self.all.borrow().get(address) {
            Some(Member::Open(open)) => Rc::ptr_eq(open, node),
            _ => false,
        }
    }

    fn set(&self, address: &Address, member: Member) {
        self.all.borrow_mut().insert(address.clone(), member);
        self.changed.ring();
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        self.keep(|_| false);
    }
}
