//! The cipher suites of TLS 1.3 and 1.2 that both authenticate and keep past traffic secret, put together with the rest
//! of the cryptography into what rustls works with.

use super::{client_key, exchange, hash, record, signature};
use rustls::crypto::cipher::{Tls12AeadAlgorithm, Tls13AeadAlgorithm};
use rustls::crypto::hash::Hash;
use rustls::crypto::tls12::PrfUsingHmac;
use rustls::crypto::tls13::HkdfUsingHmac;
use rustls::crypto::{
    CipherSuiteCommon, CryptoProvider, GetRandomFailed, KeyExchangeAlgorithm, SecureRandom,
};
use rustls::{
    CipherSuite, SignatureScheme, SupportedCipherSuite, Tls12CipherSuite, Tls13CipherSuite,
};

/// Everything that rustls needs of cryptography.
pub fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: suites(),
        kx_groups: exchange::GROUPS.to_vec(),
        signature_verification_algorithms: signature::ALGORITHMS,
        secure_random: &System,
        key_provider: &client_key::Keys,
    }
}

/// In the order we prefer them.
fn suites() -> Vec<SupportedCipherSuite> {
    let tls13 = TLS13.iter().map(SupportedCipherSuite::Tls13);
    let tls12 = TLS12.iter().map(SupportedCipherSuite::Tls12);
    let mut suites: Vec<_> = tls13.chain(tls12).collect();
    if cfg!(not(target_arch = "x86_64")) {
        // Most ARM boards have no instructions for AES.
        suites.sort_by_key(|suite| !CHACHA.contains(&suite.suite()));
    }
    suites
}

const CHACHA: [CipherSuite; 3] = [
    CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

#[derive(Debug)]
struct System;

impl SecureRandom for System {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        getrandom::fill(bytes).map_err(|_| GetRandomFailed)
    }
}

/// Records that one key may seal (RFC 8446, 5.5); then rustls takes a new one, or ends a connection of TLS 1.2.
const WITH_GCM: u64 = 1 << 24;
const WITH_CHACHA: u64 = u64::MAX;

const ECDSA: &[SignatureScheme] = &[
    SignatureScheme::ED25519,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ECDSA_NISTP256_SHA256,
];
const RSA: &[SignatureScheme] = &[
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PKCS1_SHA512,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA256,
];

static HKDF_SHA_256: HkdfUsingHmac<'_> = HkdfUsingHmac(&hash::HMAC_SHA_256);
static HKDF_SHA_384: HkdfUsingHmac<'_> = HkdfUsingHmac(&hash::HMAC_SHA_384);
static PRF_SHA_256: PrfUsingHmac<'_> = PrfUsingHmac(&hash::HMAC_SHA_256);
static PRF_SHA_384: PrfUsingHmac<'_> = PrfUsingHmac(&hash::HMAC_SHA_384);

static TLS13: [Tls13CipherSuite; 3] = [
    tls13(
        common(
            CipherSuite::TLS13_AES_128_GCM_SHA256,
            &hash::SHA_256,
            WITH_GCM,
        ),
        &HKDF_SHA_256,
        &record::AES_128_GCM,
    ),
    tls13(
        common(
            CipherSuite::TLS13_AES_256_GCM_SHA384,
            &hash::SHA_384,
            WITH_GCM,
        ),
        &HKDF_SHA_384,
        &record::AES_256_GCM,
    ),
    tls13(
        common(
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
            &hash::SHA_256,
            WITH_CHACHA,
        ),
        &HKDF_SHA_256,
        &record::CHACHA20_POLY1305,
    ),
];

static TLS12: [Tls12CipherSuite; 6] = [
    aes_128(CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, ECDSA),
    aes_128(CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, RSA),
    aes_256(CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, ECDSA),
    aes_256(CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, RSA),
    chacha(
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        ECDSA,
    ),
    chacha(
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        RSA,
    ),
];

const fn common(suite: CipherSuite, hash: &'static dyn Hash, records: u64) -> CipherSuiteCommon {
    CipherSuiteCommon {
        suite,
        hash_provider: hash,
        confidentiality_limit: records,
    }
}

const fn tls13(
    common: CipherSuiteCommon,
    hkdf: &'static HkdfUsingHmac<'static>,
    cipher: &'static dyn Tls13AeadAlgorithm,
) -> Tls13CipherSuite {
    Tls13CipherSuite {
        common,
        hkdf_provider: hkdf,
        aead_alg: cipher,
        quic: None,
    }
}

const fn tls12(
    common: CipherSuiteCommon,
    prf: &'static PrfUsingHmac<'static>,
    cipher: &'static dyn Tls12AeadAlgorithm,
    sign: &'static [SignatureScheme],
) -> Tls12CipherSuite {
    Tls12CipherSuite {
        common,
        prf_provider: prf,
        kx: KeyExchangeAlgorithm::ECDHE,
        sign,
        aead_alg: cipher,
    }
}

const fn aes_128(suite: CipherSuite, sign: &'static [SignatureScheme]) -> Tls12CipherSuite {
    let common = common(suite, &hash::SHA_256, WITH_GCM);
    tls12(common, &PRF_SHA_256, &record::AES_128_GCM, sign)
}

const fn aes_256(suite: CipherSuite, sign: &'static [SignatureScheme]) -> Tls12CipherSuite {
    let common = common(suite, &hash::SHA_384, WITH_GCM);
    tls12(common, &PRF_SHA_384, &record::AES_256_GCM, sign)
}

const fn chacha(suite: CipherSuite, sign: &'static [SignatureScheme]) -> Tls12CipherSuite {
    let common = common(suite, &hash::SHA_256, WITH_CHACHA);
    tls12(common, &PRF_SHA_256, &record::CHACHA20_POLY1305, sign)
}
