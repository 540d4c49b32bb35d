//! Records sealed and opened: AES-GCM and ChaCha20-Poly1305 in the forms of TLS 1.3 (RFC 8446, 5.2) and TLS 1.2
//! (RFC 5288, RFC 7905).

use aes_gcm::aead::array::Array;
use aes_gcm::aead::consts::{U12, U16};
use aes_gcm::aead::{AeadCore, AeadInOut, KeyInit};
use aes_gcm::{Aes128Gcm, Aes256Gcm};
use chacha20poly1305::ChaCha20Poly1305;
use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, InboundPlainMessage, Iv, KeyBlockShape, MessageDecrypter,
    MessageEncrypter, NONCE_LEN, Nonce, OutboundOpaqueMessage, OutboundPlainMessage,
    PrefixedPayload, Tls12AeadAlgorithm, Tls13AeadAlgorithm, UnsupportedOperationError,
    make_tls12_aad, make_tls13_aad,
};
use rustls::{ConnectionTrafficSecrets, ContentType, Error, ProtocolVersion};
use std::marker::PhantomData;

pub static AES_128_GCM: Cipher<Aes128Gcm> = Cipher::new(Form::Explicit);
pub static AES_256_GCM: Cipher<Aes256Gcm> = Cipher::new(Form::Explicit);
pub static CHACHA20_POLY1305: Cipher<ChaCha20Poly1305> = Cipher::new(Form::Implicit);

/// Of a record's authentication.
const TAG: usize = 16;
/// Of the nonce's part that a record of TLS 1.2 begins with.
const EXPLICIT: usize = 8;
/// Plain bytes in a record at most.
const MOST: usize = 1 << 14;

/// How a record is laid out.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// TLS 1.3: the type is sealed along.
    Tls13,
    /// TLS 1.2 with GCM: half of the nonce stands before the record.
    Explicit,
    /// TLS 1.2 with ChaCha20-Poly1305: the nonce is what both sides count.
    Implicit,
}

impl Form {
    /// What stands before the sealed bytes.
    fn head(self) -> usize {
        match self {
            Self::Explicit => EXPLICIT,
            Self::Tls13 | Self::Implicit => 0,
        }
    }

    /// What is sealed beside the bytes.
    fn tail(self) -> usize {
        usize::from(self == Self::Tls13)
    }
}

/// A cipher, and its form in TLS 1.2.
pub struct Cipher<A> {
    form: Form,
    cipher: PhantomData<fn() -> A>,
}

/// A cipher under one key, for one direction.
struct Keyed<A> {
    cipher: A,
    iv: Iv,
    form: Form,
}

/// What such a cipher is: 12 bytes of nonce, 16 of tag.
pub trait Aead:
    AeadInOut + AeadCore<NonceSize = U12, TagSize = U16> + KeyInit + Send + Sync + 'static
{
}

impl<A> Aead for A where
    A: AeadInOut + AeadCore<NonceSize = U12, TagSize = U16> + KeyInit + Send + Sync + 'static
{
}

impl<A: Aead> Cipher<A> {
    const fn new(form: Form) -> Self {
        Self {
            form,
            cipher: PhantomData,
        }
    }

    fn keyed(&self, key: &AeadKey, iv: Iv, form: Form) -> Box<Keyed<A>> {
        let cipher = A::new_from_slice(key.as_ref()).expect("rustls gives a key of this length");
        Box::new(Keyed { cipher, iv, form })
    }

    /// The nonce before the record's number is mixed in.
    fn iv(&self, fixed: &[u8], explicit: &[u8]) -> Iv {
        let mut iv = [0; NONCE_LEN];
        let given = fixed.iter().chain(explicit);
        iv.iter_mut().zip(given).for_each(|(to, from)| *to = *from);
        Iv::new(iv)
    }
}

impl<A: Aead> Tls13AeadAlgorithm for Cipher<A> {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        self.keyed(&key, iv, Form::Tls13)
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        self.keyed(&key, iv, Form::Tls13)
    }

    fn key_len(&self) -> usize {
        A::key_size()
    }

    fn extract_keys(
        &self,
        _: AeadKey,
        _: Iv,
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        Err(UnsupportedOperationError)
    }
}

impl<A: Aead> Tls12AeadAlgorithm for Cipher<A> {
    fn encrypter(&self, key: AeadKey, iv: &[u8], explicit: &[u8]) -> Box<dyn MessageEncrypter> {
        self.keyed(&key, self.iv(iv, explicit), self.form)
    }

    fn decrypter(&self, key: AeadKey, iv: &[u8]) -> Box<dyn MessageDecrypter> {
        self.keyed(&key, self.iv(iv, &[]), self.form)
    }

    fn key_block_shape(&self) -> KeyBlockShape {
        let explicit = self.form.head();
        KeyBlockShape {
            enc_key_len: A::key_size(),
            fixed_iv_len: NONCE_LEN - explicit,
            explicit_nonce_len: explicit,
        }
    }

    fn extract_keys(
        &self,
        _: AeadKey,
        _: &[u8],
        _: &[u8],
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        Err(UnsupportedOperationError)
    }
}

impl<A: Aead> MessageEncrypter for Keyed<A> {
    fn encrypt(
        &mut self,
        message: OutboundPlainMessage<'_>,
        number: u64,
    ) -> Result<OutboundOpaqueMessage, Error> {
        let (plain, sealed) = (
            message.payload.len(),
            self.encrypted_payload_len(message.payload.len()),
        );
        let nonce = Nonce::new(&self.iv, number).0;
        let mut payload = PrefixedPayload::with_capacity(sealed);
        payload.extend_from_slice(&nonce[NONCE_LEN - self.form.head()..]);
        payload.extend_from_chunks(&message.payload);
        let (kind, version) = match self.form {
            Form::Tls13 => (ContentType::ApplicationData, ProtocolVersion::TLSv1_2),
            Form::Explicit | Form::Implicit => (message.typ, message.version),
        };
        let bytes = |payload: &mut PrefixedPayload, head: usize, aad: &[u8]| {
            let bytes = &mut payload.as_mut()[head..];
            self.cipher
                .encrypt_inout_detached(&Array(nonce), aad, bytes.into())
                .map_err(|_| Error::EncryptError)
        };
        let tag = match self.form {
            Form::Tls13 => {
                payload.extend_from_slice(&[message.typ.into()]);
                bytes(&mut payload, 0, &make_tls13_aad(sealed))?
            }
            Form::Explicit | Form::Implicit => {
                let aad = make_tls12_aad(number, kind, version, plain);
                bytes(&mut payload, self.form.head(), &aad)?
            }
        };
        payload.extend_from_slice(&tag);
        Ok(OutboundOpaqueMessage::new(kind, version, payload))
    }

    fn encrypted_payload_len(&self, plain: usize) -> usize {
        self.form.head() + plain + self.form.tail() + TAG
    }
}

impl<A: Aead> MessageDecrypter for Keyed<A> {
    fn decrypt<'a>(
        &mut self,
        mut message: InboundOpaqueMessage<'a>,
        number: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let head = self.form.head();
        let sealed = message.payload.len();
        let plain = sealed.checked_sub(head + TAG).ok_or(Error::DecryptError)?;
        let mut nonce = Nonce::new(&self.iv, number).0;
        nonce[NONCE_LEN - head..].copy_from_slice(&message.payload[..head]);
        let (bytes, tag) = message.payload[head..].split_at_mut(plain);
        let tag = <&Array<u8, U16>>::try_from(&*tag).map_err(|_| Error::DecryptError)?;
        let mut open = |aad: &[u8]| {
            self.cipher
                .decrypt_inout_detached(&Array(nonce), aad, bytes.into(), tag)
                .map_err(|_| Error::DecryptError)
        };
        if self.form == Form::Tls13 {
            open(&make_tls13_aad(sealed))?;
            message.payload.truncate(plain);
            return message.into_tls13_unpadded_message();
        }
        open(&make_tls12_aad(number, message.typ, message.version, plain))?;
        if plain > MOST {
            return Err(Error::PeerSentOversizedRecord);
        }
        Ok(message.into_plain_message_range(head..head + plain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::crypto::cipher::OutboundChunks;

    const HEAD: usize = 5;

    fn key() -> AeadKey {
        AeadKey::from([7; 32])
    }

    type Pair = (Box<dyn MessageEncrypter>, Box<dyn MessageDecrypter>);

    /// Of each cipher with a key of 32 bytes, in each of its forms.
    fn pairs() -> Vec<Pair> {
        let (fixed, explicit) = (&[1; 12][..], &[2; 8][..]);
        vec![
            (
                Tls13AeadAlgorithm::encrypter(&AES_256_GCM, key(), Iv::new([1; 12])),
                Tls13AeadAlgorithm::decrypter(&AES_256_GCM, key(), Iv::new([1; 12])),
            ),
            (
                Tls13AeadAlgorithm::encrypter(&CHACHA20_POLY1305, key(), Iv::new([1; 12])),
                Tls13AeadAlgorithm::decrypter(&CHACHA20_POLY1305, key(), Iv::new([1; 12])),
            ),
            (
                Tls12AeadAlgorithm::encrypter(&AES_256_GCM, key(), &fixed[..4], explicit),
                Tls12AeadAlgorithm::decrypter(&AES_256_GCM, key(), &fixed[..4]),
            ),
            (
                Tls12AeadAlgorithm::encrypter(&CHACHA20_POLY1305, key(), fixed, &[]),
                Tls12AeadAlgorithm::decrypter(&CHACHA20_POLY1305, key(), fixed),
            ),
        ]
    }

    fn seal(encrypter: &mut dyn MessageEncrypter, plain: &[u8], number: u64) -> Vec<u8> {
        let chunks = [plain];
        let message = OutboundPlainMessage {
            typ: ContentType::ApplicationData,
            version: ProtocolVersion::TLSv1_2,
            payload: OutboundChunks::new(&chunks),
        };
        let sealed = encrypter.encrypt(message, number).unwrap().encode();
        assert_eq!(
            sealed.len() - HEAD,
            encrypter.encrypted_payload_len(plain.len())
        );
        sealed[HEAD..].to_vec()
    }

    fn open(
        decrypter: &mut dyn MessageDecrypter,
        mut sealed: Vec<u8>,
        number: u64,
    ) -> Option<Vec<u8>> {
        let (kind, version) = (ContentType::ApplicationData, ProtocolVersion::TLSv1_2);
        let message = InboundOpaqueMessage::new(kind, version, &mut sealed);
        let plain = decrypter.decrypt(message, number).ok()?;
        Some(plain.payload.to_vec())
    }

    #[test]
    fn what_is_sealed_opens_once_and_unchanged() {
        for (mut encrypter, mut decrypter) in pairs() {
            for (number, plain) in [&b""[..], b"PING", &[9; MOST]].into_iter().enumerate() {
                let number = number as u64;
                let sealed = seal(&mut *encrypter, plain, number);
                assert!(!sealed.windows(4).any(|part| part == b"PING"));
                assert_eq!(
                    open(&mut *decrypter, sealed.clone(), number).unwrap(),
                    plain
                );
                assert_eq!(open(&mut *decrypter, sealed, number + 1), None);
            }
        }
    }

    #[test]
    fn what_was_changed_or_cut_off_is_refused() {
        for (mut encrypter, mut decrypter) in pairs() {
            let sealed = seal(&mut *encrypter, b"PING", 3);
            for at in 0..sealed.len() {
                let mut changed = sealed.clone();
                changed[at] ^= 1;
                assert_eq!(open(&mut *decrypter, changed, 3), None, "byte {at}");
                assert_eq!(
                    open(&mut *decrypter, sealed[..at].to_vec(), 3),
                    None,
                    "{at} bytes"
                );
            }
        }
    }
}
