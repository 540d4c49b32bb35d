//! The private key of a client's certificate: ECDSA on P-256 or P-384, Ed25519, RSA.

use ed25519_dalek::Signer as _;
use p256::ecdsa::signature::hazmat::PrehashSigner as _;
use p256::pkcs8::{DecodePrivateKey as _, EncodePublicKey as _};
use rsa::pkcs1::DecodeRsaPrivateKey as _;
use rsa::{Pkcs1v15Sign, PrivateKey, Pss};
use rustls::crypto::KeyProvider;
use rustls::pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer};
use rustls::sign::{Signer, SigningKey};
use rustls::{Error, SignatureAlgorithm, SignatureScheme};
use sha2::{Digest as _, Sha256, Sha384};
use std::sync::Arc;

/// Reads such keys.
#[derive(Debug)]
pub struct Keys;

impl KeyProvider for Keys {
    fn load_private_key(&self, der: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, Error> {
        let kind = read(&der).ok_or(Error::General("it is no ECDSA, Ed25519 or RSA key".into()))?;
        Ok(Arc::new(Key(Arc::new(kind))))
    }
}

fn read(der: &PrivateKeyDer<'_>) -> Option<Kind> {
    let bytes = der.secret_der();
    let p256 = || p256::SecretKey::from_der(bytes).map(|key| Kind::P256(key.into()));
    let p384 = || p384::SecretKey::from_der(bytes).map(|key| Kind::P384(key.into()));
    let ed25519 = || ed25519_dalek::SigningKey::from_pkcs8_der(bytes).map(Kind::Ed25519);
    let pkcs8 = || PrivateKey::from_pkcs8_der(bytes).map(Kind::Rsa);
    let pkcs1 = || PrivateKey::from_pkcs1_der(bytes).map(Kind::Rsa);
    p256()
        .ok()
        .or_else(|| p384().ok())
        .or_else(|| ed25519().ok())
        .or_else(|| pkcs8().ok())
        .or_else(|| pkcs1().ok())
}

enum Kind {
    P256(p256::ecdsa::SigningKey),
    P384(p384::ecdsa::SigningKey),
    Ed25519(ed25519_dalek::SigningKey),
    Rsa(PrivateKey),
}

impl Kind {
    /// In the order we prefer them.
    fn schemes(&self) -> &'static [SignatureScheme] {
        match self {
            Self::P256(_) => &[SignatureScheme::ECDSA_NISTP256_SHA256],
            Self::P384(_) => &[SignatureScheme::ECDSA_NISTP384_SHA384],
            Self::Ed25519(_) => &[SignatureScheme::ED25519],
            Self::Rsa(_) => &[
                SignatureScheme::RSA_PSS_SHA256,
                SignatureScheme::RSA_PKCS1_SHA256,
            ],
        }
    }

    fn public(&self) -> Option<Vec<u8>> {
        let der = match self {
            Self::P256(key) => key.verifying_key().to_public_key_der(),
            Self::P384(key) => key.verifying_key().to_public_key_der(),
            Self::Ed25519(key) => key.verifying_key().to_public_key_der(),
            Self::Rsa(key) => key.to_public_key().to_public_key_der(),
        };
        der.ok().map(|der| der.into_vec())
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::P256(key) => {
                let signature: p256::ecdsa::DerSignature =
                    key.sign_prehash(&Sha256::digest(message)).ok()?;
                Some(signature.as_bytes().to_vec())
            }
            Self::P384(key) => {
                let signature: p384::ecdsa::DerSignature =
                    key.sign_prehash(&Sha384::digest(message)).ok()?;
                Some(signature.as_bytes().to_vec())
            }
            Self::Ed25519(key) => Some(key.sign(message).to_bytes().to_vec()),
            Self::Rsa(key) => {
                let (mut random, hash) = (getrandom::SysRng, Sha256::digest(message));
                match scheme {
                    SignatureScheme::RSA_PSS_SHA256 => key
                        .sign_with_rng(&mut random, Pss::<Sha256>::new(), &hash)
                        .ok(),
                    _ => key
                        .sign_with_rng(&mut random, Pkcs1v15Sign::new::<Sha256>(), &hash)
                        .ok(),
                }
            }
        }
    }
}

/// As rustls sees a key.
struct Key(Arc<Kind>);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

impl SigningKey for Key {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let scheme = self
            .0
            .schemes()
            .iter()
            .find(|scheme| offered.contains(scheme))?;
        Some(Box::new(Signing {
            key: Self(self.0.clone()),
            scheme: *scheme,
        }))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        self.0.public().map(SubjectPublicKeyInfoDer::from)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match *self.0 {
            Kind::P256(_) | Kind::P384(_) => SignatureAlgorithm::ECDSA,
            Kind::Ed25519(_) => SignatureAlgorithm::ED25519,
            Kind::Rsa(_) => SignatureAlgorithm::RSA,
        }
    }
}

/// A key in the way that both sides know.
#[derive(Debug)]
struct Signing {
    key: Key,
    scheme: SignatureScheme,
}

impl Signer for Signing {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let signature = self.key.0.sign(self.scheme, message);
        signature.ok_or_else(|| Error::General("the key signs nothing".into()))
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

#[cfg(test)]
mod tests {
    use super::super::signature::ALGORITHMS;
    use super::*;
    use p256::elliptic_curve::Generate as _;

    #[test]
    fn what_a_key_signs_is_verified_and_nothing_else() {
        let mut random = getrandom::SysRng;
        let p256 = p256::ecdsa::SigningKey::try_generate_from_rng(&mut random).unwrap();
        let p384 = p384::ecdsa::SigningKey::try_generate_from_rng(&mut random).unwrap();
        let ed25519 = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
        let keys = [
            (
                p256.verifying_key().to_sec1_bytes().to_vec(),
                Kind::P256(p256),
            ),
            (
                p384.verifying_key().to_sec1_bytes().to_vec(),
                Kind::P384(p384),
            ),
            (
                ed25519.verifying_key().to_bytes().to_vec(),
                Kind::Ed25519(ed25519),
            ),
        ];
        for (public, kind) in keys {
            let scheme = kind.schemes()[0];
            let (_, algorithms) = ALGORITHMS
                .mapping
                .iter()
                .find(|(known, _)| *known == scheme)
                .unwrap();
            let mut signature = kind.sign(scheme, b"message").unwrap();
            let verify = |message: &[u8], signature: &[u8]| {
                algorithms[0].verify_signature(&public, message, signature)
            };
            assert!(verify(b"message", &signature).is_ok(), "{scheme:?}");
            assert!(verify(b"massage", &signature).is_err() && verify(b"message", b"").is_err());
            *signature.last_mut().unwrap() ^= 1;
            assert!(verify(b"message", &signature).is_err());
            assert!(
                algorithms[0]
                    .verify_signature(b"", b"message", &signature)
                    .is_err()
            );
        }
    }
}
