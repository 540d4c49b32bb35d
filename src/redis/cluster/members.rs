//! The nodes of a Cluster that something was for: connected to when first needed, and looked after from then on.

use crate::ground::tasks::{Bell, Executor, Tasks};
use crate::redis::address::{Address, Endpoint};
use crate::redis::node::Node;
use std::cell::RefCell;
use std::rc::Rc;

/// The nodes by where they are.
pub struct Members {
    executor: Executor,
    tasks: Tasks,
    target: Endpoint,
    all: RefCell<Vec<(Address, Member)>>,
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
    pub fn new(executor: Executor, target: &Endpoint) -> Rc<Self> {
        Rc::new(Self {
            executor,
            tasks: Tasks::new(executor),
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
        if self.with(address, |_| ()).is_none() {
            self.connect(address);
        }
        let look = || {
            self.lost(address)
                .map(Err)
                .or_else(|| self.outcome(address))
        };
        self.changed.until(look).await
    }

    /// A node; a lost one is connected to again.
    ///
    /// # Errors
    /// Why it is still lost.
    pub fn reach(
        self: &Rc<Self>,
        address: &Address,
    ) -> impl Future<Output = Result<Rc<Node>, String>> {
        if !matches!(self.outcome(address), None | Some(Ok(_))) {
            self.connect(address);
        }
        self.changed.until(|| self.outcome(address))
    }

    /// Connects again to those of these nodes that are lost, to all at once.
    pub async fn reopen(self: &Rc<Self>, mut nodes: Vec<Address>) {
        nodes.retain(|address| self.lost(address).is_some());
        for address in &nodes {
            if self.outcome(address).is_some() {
                self.connect(address);
            }
        }
        for address in &nodes {
            let _ = self.changed.until(|| self.outcome(address)).await;
        }
    }

    /// Why it is lost; also while it is being connected to again.
    pub fn lost(&self, address: &Address) -> Option<String> {
        let why = |member: &Member| match member {
            Member::Opening(why) => why.clone(),
            Member::Open(_) => None,
            Member::Lost(why) => Some(why.clone()),
        };
        self.with(address, why)?
    }

    /// Those that are connected.
    pub fn open(&self) -> Vec<Address> {
        let all = self.all.borrow();
        let open = all
            .iter()
            .filter(|(_, member)| matches!(member, Member::Open(_)));
        open.map(|(address, _)| address.clone()).collect()
    }

    /// Lets go of all but these.
    pub fn retain(&self, wanted: impl Fn(&Address) -> bool) {
        self.all.borrow_mut().retain(|(address, member)| {
            let stays = wanted(address) || matches!(member, Member::Opening(_));
            if let (false, Member::Open(node)) = (stays, member) {
                node.give_up("it is not needed any more");
            }
            stays
        });
    }

    /// What has become of it; `None` while it is being connected to.
    fn outcome(&self, address: &Address) -> Option<Result<Rc<Node>, String>> {
        let node = |member: &Member| match member {
            Member::Opening(_) => None,
            Member::Open(node) if node.lives() => Some(Ok(node.clone())),
            Member::Open(_) => Some(Err("the connection was closed".into())),
            Member::Lost(why) => Some(Err(why.clone())),
        };
        let unknown = || Some(Err("it is not needed any more".into()));
        self.with(address, node).unwrap_or_else(unknown)
    }

    fn with<T>(&self, address: &Address, look: impl Fn(&Member) -> T) -> Option<T> {
        let all = self.all.borrow();
        let (_, member) = all.iter().find(|(at, _)| at == address)?;
        Some(look(member))
    }

    fn connect(self: &Rc<Self>, address: &Address) {
        let opening = Member::Opening(self.lost(address));
        self.set(address, opening);
        let attend = self.clone().attend(address.clone());
        self.tasks.spawn("a node of the Cluster", attend);
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
        let same = |member: &Member| matches!(member, Member::Open(open) if Rc::ptr_eq(open, node));
        self.with(address, same) == Some(true)
    }

    fn set(&self, address: &Address, member: Member) {
        let mut all = self.all.borrow_mut();
        match all.iter_mut().find(|(at, _)| at == address) {
            Some((_, old)) => *old = member,
            None => all.push((address.clone(), member)),
        }
        drop(all);
        self.changed.ring();
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        self.retain(|_| false);
    }
}
