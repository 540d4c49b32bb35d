//! How both sides come to a secret: X25519 (RFC 7748), or ECDH on P-256 or P-384.

use p256::elliptic_curve::ecdh::EphemeralSecret;
use p256::elliptic_curve::sec1::{FromSec1Point, ModulusSize, ToSec1Point};
use p256::elliptic_curve::{CurveArithmetic, Generate as _, PublicKey};
use rustls::crypto::{ActiveKeyExchange, GetRandomFailed, SharedSecret, SupportedKxGroup};
use rustls::{Error, NamedGroup, PeerMisbehaved};
use std::marker::PhantomData;
use x25519_dalek::{X25519_BASEPOINT_BYTES, x25519};

/// In the order we prefer them. With TLS 1.2 they also say on which curves a certificate's key may be.
pub static GROUPS: &[&dyn SupportedKxGroup] = &[
    &X25519,
    &Nist::<p256::NistP256>::new(NamedGroup::secp256r1),
    &Nist::<p384::NistP384>::new(NamedGroup::secp384r1),
];

#[derive(Debug)]
struct X25519;

/// ECDH on a curve of NIST's.
#[derive(Debug)]
struct Nist<C> {
    group: NamedGroup,
    curve: PhantomData<fn() -> C>,
}

impl<C> Nist<C> {
    const fn new(group: NamedGroup) -> Self {
        Self {
            group,
            curve: PhantomData,
        }
    }
}

/// What such a curve is, in the words of its crates.
trait Curve:
    CurveArithmetic<
        AffinePoint: FromSec1Point<Self> + ToSec1Point<Self>,
        FieldBytesSize: ModulusSize,
    > + std::fmt::Debug
{
}

impl Curve for p256::NistP256 {}
impl Curve for p384::NistP384 {}

impl SupportedKxGroup for X25519 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|_| GetRandomFailed)?;
        let public = x25519(secret, X25519_BASEPOINT_BYTES);
        Ok(Box::new(OnX25519 { secret, public }))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

struct OnX25519 {
    secret: [u8; 32],
    public: [u8; 32],
}

impl ActiveKeyExchange for OnX25519 {
    fn complete(self: Box<Self>, theirs: &[u8]) -> Result<SharedSecret, Error> {
        let theirs = theirs
            .try_into()
            .map_err(|_| PeerMisbehaved::InvalidKeyShare)?;
        let shared = x25519(self.secret, theirs);
        // A point of small order: the secret would be known to everybody (RFC 8446, 7.4.2).
        if shared == [0; 32] {
            return Err(PeerMisbehaved::InvalidKeyShare.into());
        }
        Ok(SharedSecret::from(&shared[..]))
    }

    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

impl<C: Curve> SupportedKxGroup for Nist<C> {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let secret = EphemeralSecret::<C>::try_generate_from_rng(&mut getrandom::SysRng)
            .map_err(|_| GetRandomFailed)?;
        let public = secret.public_key().to_sec1_point(false).as_bytes().into();
        let group = self.group;
        Ok(Box::new(OnNist {
            group,
            secret,
            public,
        }))
    }

    fn name(&self) -> NamedGroup {
        self.group
    }
}

struct OnNist<C: CurveArithmetic> {
    group: NamedGroup,
    secret: EphemeralSecret<C>,
    public: Box<[u8]>,
}

impl<C: Curve> ActiveKeyExchange for OnNist<C> {
    fn complete(self: Box<Self>, theirs: &[u8]) -> Result<SharedSecret, Error> {
        // Uncompressed alone is allowed (RFC 8446, 4.2.8.2).
        let theirs = Some(theirs)
            .filter(|bytes| bytes.first() == Some(&4))
            .and_then(|bytes| PublicKey::<C>::from_sec1_bytes(bytes).ok())
            .ok_or(PeerMisbehaved::InvalidKeyShare)?;
        let shared = self.secret.diffie_hellman(&theirs);
        Ok(SharedSecret::from(&shared.raw_secret_bytes()[..]))
    }

    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn group(&self) -> NamedGroup {
        self.group
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_come_to_the_same_secret() {
        for group in GROUPS {
            let (ours, theirs) = (group.start().unwrap(), group.start().unwrap());
            let (our_key, their_key) = (ours.pub_key().to_vec(), theirs.pub_key().to_vec());
            assert_ne!(our_key, their_key);
            let secret = ours.complete(&their_key).unwrap();
            assert_eq!(
                secret.secret_bytes(),
                theirs.complete(&our_key).unwrap().secret_bytes()
            );
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for group in GROUPS {
            let key = group.start().unwrap().pub_key().to_vec();
            let mut compressed = key.clone();
            compressed[0] = 2;
            let mut elsewhere = key.clone();
            *elsewhere.last_mut().unwrap() ^= 1;
            let mut wrong = vec![Vec::new(), key[1..].to_vec(), vec![0; key.len()]];
            if group.name() != NamedGroup::X25519 {
                wrong.extend([compressed, elsewhere]);
            }
            for bytes in wrong {
                assert!(
                    group.start().unwrap().complete(&bytes).is_err(),
                    "{bytes:?}"
                );
            }
        }
    }
}
