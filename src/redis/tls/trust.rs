//! Whose certificate a server may show.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};

/// Checks a server's certificate, and that the server has the certificate's key.
#[derive(Debug)]
pub struct Verifier {
    pub trust: Trust,
    /// The signatures that the provider can verify.
    pub algorithms: WebPkiSupportedAlgorithms,
}

/// What is asked of a server's certificate.
#[derive(Debug)]
pub enum Trust {
    /// That the server has its key; nothing else.
    Any,
    /// That one of these vouches for it.
    Known {
        roots: RootCertStore,
        /// Those of the roots that somebody named: a server may also show one of them itself.
        named: Vec<CertificateDer<'static>>,
        /// And that it is made out to the server's name or address.
        name: bool,
    },
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Trust::Known { roots, named, name } = &self.trust else {
            return Ok(ServerCertVerified::assertion());
        };
        let parsed = ParsedCertificate::try_from(certificate)?;
        let chain = verify_server_cert_signed_by_trust_anchor(
            &parsed,
            roots,
            intermediates,
            now,
            self.algorithms.all,
        );
        match chain {
            // A self-signed certificate, as `openssl req -x509` makes them, is its own authority. Its dates were looked at before.
            Err(Error::InvalidCertificate(CertificateError::Other(OtherError(why))))
                if is_own_authority(&*why) && named.contains(certificate) => {}
            other => other?,
        }
        if *name {
            verify_server_name(&parsed, server)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn is_own_authority(why: &(dyn std::error::Error + 'static)) -> bool {
    // rustls passes on webpki's error, which is not one of its own types.
    why.to_string() == "CaUsedAsEndEntity"
}
