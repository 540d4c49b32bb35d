//! SHA-2 and HMAC, as rustls asks for them.

use hmac::{Hmac, KeyInit, Mac};
use rustls::crypto::{hash, hmac as tag};
use sha2::digest::OutputSizeUser;
use sha2::{Digest, Sha256, Sha384};
use std::marker::PhantomData;

pub static SHA_256: Hash<Sha256> = Hash(PhantomData);
pub static SHA_384: Hash<Sha384> = Hash(PhantomData);
pub static HMAC_SHA_256: Keyed<Hmac<Sha256>> = Keyed(PhantomData);
pub static HMAC_SHA_384: Keyed<Hmac<Sha384>> = Keyed(PhantomData);

/// A hash function.
pub struct Hash<D>(PhantomData<fn() -> D>);

impl<D: Digest + Clone + Send + Sync + 'static> hash::Hash for Hash<D> {
    fn start(&self) -> Box<dyn hash::Context> {
        Box::new(Running(D::new()))
    }

    fn hash(&self, data: &[u8]) -> hash::Output {
        hash::Output::new(&D::digest(data))
    }

    fn output_len(&self) -> usize {
        <D as Digest>::output_size()
    }

    fn algorithm(&self) -> hash::HashAlgorithm {
        match self.output_len() {
            32 => hash::HashAlgorithm::SHA256,
            _ => hash::HashAlgorithm::SHA384,
        }
    }
}

/// What has been hashed so far.
struct Running<D>(D);

impl<D: Digest + Clone + Send + Sync + 'static> hash::Context for Running<D> {
    fn fork_finish(&self) -> hash::Output {
        hash::Output::new(&self.0.clone().finalize())
    }

    fn fork(&self) -> Box<dyn hash::Context> {
        Box::new(Self(self.0.clone()))
    }

    fn finish(self: Box<Self>) -> hash::Output {
        hash::Output::new(&self.0.finalize())
    }

    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }
}

/// A keyed hash function.
pub struct Keyed<M>(PhantomData<fn() -> M>);

impl<M: Mac + KeyInit + Clone + Send + Sync + 'static> tag::Hmac for Keyed<M> {
    fn with_key(&self, key: &[u8]) -> Box<dyn tag::Key> {
        let keyed = <M as KeyInit>::new_from_slice(key).expect("HMAC takes a key of any length");
        Box::new(Key(keyed))
    }

    fn hash_output_len(&self) -> usize {
        <M as OutputSizeUser>::output_size()
    }
}

/// A keyed hash function with its key.
struct Key<M>(M);

impl<M: Mac + Clone + Send + Sync> tag::Key for Key<M> {
    fn sign_concat(&self, first: &[u8], middle: &[&[u8]], last: &[u8]) -> tag::Tag {
        let mut mac = self.0.clone();
        mac.update(first);
        middle.iter().for_each(|part| mac.update(part));
        mac.update(last);
        tag::Tag::new(&mac.finalize().into_bytes())
    }

    fn tag_len(&self) -> usize {
        <M as OutputSizeUser>::output_size()
    }
}
