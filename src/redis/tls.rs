//! `rediss://`: a TLS connection over TCP, with certificates as redis-py's `ssl_` options name them.
//!
//! The protocol is rustls's, the cryptography its provider's, `ring`; `trust` says whose certificate a server may show. The files are read for each connection: nothing of them stays in memory, and a renewed one counts from the next on.

mod trust;

use crate::config::RedisTls;
use futures_lite::io::{AsyncRead, AsyncWrite};
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    AlertDescription, CertificateError, CipherSuite, ClientConfig, ClientConnection, Error,
    RootCertStore, StreamOwned,
};
use smol::net::TcpStream;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt as _, TokioAsyncReadCompatExt as _};
use trust::{Trust, Verifier};

/// Where systems keep the certificates of the authorities that they trust.
const SYSTEM: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

const CHACHA: [CipherSuite; 3] = [
    CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// Bytes to and from a server, sealed.
pub struct Stream(Box<Compat<TlsStream<Compat<TcpStream>>>>);

/// Shakes hands. The caller sets the deadline.
pub async fn connect(options: &RedisTls, host: &str, tcp: TcpStream) -> Result<Stream, String> {
    let config = configure(options)?;
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| format!("{host} is no name that a certificate could bear"))?;
    let connector = TlsConnector::from(Arc::new(config));
    match connector.connect(name, tcp.compat()).await {
        Ok(stream) => Ok(Stream(Box::new(stream.compat()))),
        Err(e) => Err(format!("TLS: {}", describe(&e))),
    }
}

/// The same for whoever waits for it, with the system's authorities.
pub fn stream(
    host: &str,
    tcp: std::net::TcpStream,
) -> io::Result<StreamOwned<ClientConnection, std::net::TcpStream>> {
    let config = configure(&RedisTls::default()).map_err(io::Error::other)?;
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, tcp);
    let shaken = stream.conn.complete_io(&mut stream.sock);
    shaken.map_err(|e| io::Error::other(format!("TLS: {}", describe(&e))))?;
    Ok(stream)
}

/// Whether these options can be used: reads the files that they name.
pub fn check(options: &RedisTls) -> Result<(), String> {
    configure(options).map(|_| ())
}

fn configure(options: &RedisTls) -> Result<ClientConfig, String> {
    let provider = provider();
    let verifier = Verifier {
        trust: trust(options)?,
        algorithms: provider.signature_verification_algorithms,
    };
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match &options.certificate {
        None => config.with_no_client_auth(),
        Some(certificate) => {
            // redis-py takes both from one file, too.
            let key_file = options.key.as_ref().unwrap_or(certificate);
            let key = PrivateKeyDer::from_pem_slice(&read(key_file)?).map_err(|_| {
                format!(
                    "{} holds no private key in PEM without a password",
                    key_file.display()
                )
            })?;
            config
                .with_client_auth_cert(certificates(certificate)?, key)
                .map_err(|e| match e {
                    Error::InconsistentKeys(_) => format!(
                        "{} is not the key of {}",
                        key_file.display(),
                        certificate.display()
                    ),
                    other => format!("{}: {other}", key_file.display()),
                })?
        }
    };
    // Connections are few: a ticket would only stay in memory.
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// `ring`, and the order in which we prefer its cipher suites.
fn provider() -> CryptoProvider {
    let mut provider = ring::default_provider();
    if cfg!(not(target_arch = "x86_64")) {
        // Most ARM boards have no instructions for AES.
        provider
            .cipher_suites
            .sort_by_key(|suite| !CHACHA.contains(&suite.suite()));
    }
    provider
}

fn trust(options: &RedisTls) -> Result<Trust, String> {
    if options.any_certificate {
        return Ok(Trust::Any);
    }
    let (file, named) = match &options.authorities {
        Some(file) => (file.clone(), true),
        None => (system_file()?, false),
    };
    let certificates = certificates(&file)?;
    let mut roots = RootCertStore::empty();
    let (taken, _) = roots.add_parsable_certificates(certificates.iter().cloned());
    if taken == 0 {
        return Err(format!(
            "{} holds no certificate that can be used",
            file.display()
        ));
    }
    Ok(Trust::Known {
        roots,
        named: if named { certificates } else { Vec::new() },
        name: !options.any_name,
    })
}

fn system_file() -> Result<PathBuf, String> {
    let chosen = std::env::var_os("SSL_CERT_FILE").filter(|name| !name.is_empty());
    let known = || SYSTEM.iter().map(PathBuf::from).find(|file| file.exists());
    chosen.map(PathBuf::from).or_else(known).ok_or_else(|| {
        "this system has no certificates of authorities: install ca-certificates, or name a file as ssl_ca_certs".into()
    })
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = read(file)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let some = all.ok().filter(|all| !all.is_empty());
    some.ok_or_else(|| format!("{} holds no certificates in PEM", file.display()))
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|e| format!("{} can't be read: {e}", file.display()))
}

/// What is wrong, and what helps.
fn describe(error: &io::Error) -> String {
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>());
    match inner {
        Some(Error::InvalidCertificate(why)) => certificate(why),
        Some(Error::InvalidMessage(_)) => {
            "the server speaks something else; one without TLS is reached as redis://".into()
        }
        Some(Error::AlertReceived(alert)) => refusal(*alert),
        Some(other) => other.to_string(),
        None if closed(error.kind()) => {
            "the server breaks off the handshake: it speaks no TLS, or wants a client's certificate (ssl_certfile, ssl_keyfile)".into()
        }
        None => error.to_string(),
    }
}

fn certificate(why: &CertificateError) -> String {
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the server's certificate has expired: renew it, or set this machine's clock".into()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet: is this machine's clock right?".into()
        }
        CertificateError::UnknownIssuer => {
            "the server's certificate is of an authority that is not trusted: name the authority's file as ssl_ca_certs".into()
        }
        CertificateError::NotValidForNameContext { expected, presented } => format!(
            "the server's certificate is for {}, not for {}: use that name in the URL, or ssl_check_hostname=false",
            list(presented),
            expected.to_str()
        ),
        CertificateError::BadSignature => {
            "the server's certificate is not signed by the authority that it names: that one's file belongs into ssl_ca_certs".into()
        }
        other => format!("the server's certificate is refused: {other}"),
    }
}

/// Names in a certificate; webpki writes them as `DnsName("a.lan")`, `IpAddress(10.0.0.1)`.
fn list(names: &[String]) -> String {
    let plain = |name: &String| {
        let inner = name
            .split_once('(')
            .map_or(&**name, |(_, rest)| rest.trim_end_matches(')'));
        inner.trim_matches('"').to_owned()
    };
    match names {
        [] => "no name".into(),
        names => names
            .iter()
            .take(3)
            .map(plain)
            .collect::<Vec<_>>()
            .join(", "),
    }
}

fn refusal(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::CertificateRequired => {
            "the server wants a client's certificate: name it as ssl_certfile and ssl_keyfile".into()
        }
        AlertDescription::UnknownCA | AlertDescription::BadCertificate | AlertDescription::CertificateUnknown | AlertDescription::CertificateExpired | AlertDescription::DecryptError => {
            format!("the server refuses our certificate, ssl_certfile ({alert:?})")
        }
        AlertDescription::HandshakeFailure => {
            "the server refuses the handshake: it wants a client's certificate (ssl_certfile, ssl_keyfile), or has no cipher in common with us".into()
        }
        AlertDescription::ProtocolVersion => "the server speaks neither TLS 1.3 nor 1.2".into(),
        other => format!("the server refuses the connection ({other:?})"),
    }
}

fn closed(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(kind, BrokenPipe | ConnectionReset | UnexpectedEof)
}

/// The same error for whoever logs it.
fn readable(error: io::Error) -> io::Error {
    match error.get_ref().is_some_and(|inner| inner.is::<Error>()) {
        true => io::Error::new(error.kind(), format!("TLS: {}", describe(&error))),
        false => error,
    }
}

impl Stream {
    fn inner(self: Pin<&mut Self>) -> Pin<&mut Compat<TlsStream<Compat<TcpStream>>>> {
        Pin::new(&mut self.get_mut().0)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        to: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match ready!(self.inner().poll_read(context, to)) {
            // Without a farewell, as a killed server goes. A reply that is cut off is found by its length.
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(0)),
            other => Poll::Ready(other.map_err(readable)),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.inner().poll_write(context, from).map_err(readable)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_flush(context).map_err(readable)
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_close(context).map_err(readable)
    }
}
