//! The server's certificate: read from PEM files, and read again when they change.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};

use super::limits::{CERTIFICATE_CHECK_INTERVAL, CERTIFICATE_CHECK_INTERVAL_MIN};
use crate::tls::{TlsError, certificates_in, read_file};
use crate::{Context, ExitReason};

/// What a client may speak after the handshake, the better first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// A certificate and its private key, for [`Options::tls`](super::Options::tls). Cheap to clone; clones share the certificate.
///
/// TLS 1.2 and 1.3, HTTP/1.1 and HTTP/2 (chosen by ALPN). The files are looked at every 30 s ([`Tls::check_every`]) and read again when one has changed, so that a
/// renewed certificate is served without a restart: new connections get the new one, those that are open keep theirs. A new file
/// that cannot be used is logged as an error and the old certificate is served on.
///
/// # Examples
/// ```no_run
/// use mesh_runtime::http;
///
/// let tls = http::Tls::from_pem_files("fullchain.pem", "privkey.pem")?;
/// let options = http::Options { tls: Some(tls), ..http::Options::default() };
/// # Ok::<(), http::TlsError>(())
/// ```
#[derive(Clone)]
pub struct Tls {
    files: Arc<Files>,
    check_interval: Duration,
}

struct Files {
    certificates: PathBuf,
    key: PathBuf,
    current: Mutex<Current>,
}

struct Current {
    config: Arc<ServerConfig>,
    /// The bytes it was made of, to tell a change: a time of change lies when a file is moved into place or a clock steps.
    read: Contents,
}

/// What the two files held.
#[derive(PartialEq, Eq)]
struct Contents {
    certificates: Vec<u8>,
    key: Vec<u8>,
}

impl Tls {
    /// Reads the certificate chain (the server's own certificate first) and its private key (PKCS#8, PKCS#1 or SEC1), both PEM.
    ///
    /// # Errors
    /// A file that cannot be read, that holds no certificate or no key, or a key that is not the certificate's.
    pub fn from_pem_files(
        certificates: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Result<Tls, TlsError> {
        let (certificates, key) = (certificates.into(), key.into());
        let read = read(&certificates, &key)?;
        let config = configure(&certificates, &key, &read)?;
        Ok(Tls {
            files: Arc::new(Files {
                certificates,
                key,
                current: Mutex::new(Current { config, read }),
            }),
            check_interval: CERTIFICATE_CHECK_INTERVAL,
        })
    }

    /// Looks at the files this often instead of every 30 s; not more often than once a millisecond.
    #[must_use]
    pub fn check_every(self, interval: Duration) -> Tls {
        Tls {
            check_interval: interval.max(CERTIFICATE_CHECK_INTERVAL_MIN),
            ..self
        }
    }

    /// Reads the files again at once, not waiting for the next look; whether they had changed. Blocks on the file system.
    ///
    /// # Errors
    /// As [`Tls::from_pem_files`]; then the old certificate stays.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let files = &*self.files;
        let read = read(&files.certificates, &files.key)?;
        if files.current.lock().read == read {
            return Ok(false);
        }
        let config = configure(&files.certificates, &files.key, &read)?;
        *files.current.lock() = Current { config, read };
        Ok(true)
    }

    /// For one handshake: whatever certificate is the current one.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.files.current.lock().config.clone())
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Tls")
            .field("certificates", &self.files.certificates)
            .field("key", &self.files.key)
            .finish_non_exhaustive()
    }
}

/// The process that looks at the files.
pub(super) async fn keep_current(cx: Context<()>, tls: Tls) -> ExitReason {
    let mut known_bad = String::new();
    loop {
        cx.sleep(tls.check_interval).await;
        let again = tls.clone();
        match cx.blocking(move || again.reload()).await {
            Ok(Ok(changed)) => {
                known_bad.clear();
                if changed {
                    tracing::info!(tls.certificates = %tls.files.certificates.display(), "a new certificate is served");
                }
            }
            Ok(Err(error)) => {
                // Said once, not twice a minute for as long as it lasts.
                let problem = error.to_string();
                if known_bad != problem {
                    tracing::error!(tls.error = %problem, "the certificate on disk cannot be used; the old one is served on");
                    known_bad = problem;
                }
            }
            Err(error) => return ExitReason::error(error),
        }
    }
}

fn read(certificates: &Path, key: &Path) -> Result<Contents, TlsError> {
    Ok(Contents {
        certificates: read_file(certificates)?,
        key: read_file(key)?,
    })
}

fn configure(
    certificates: &Path,
    key: &Path,
    read: &Contents,
) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates_in(certificates, &read.certificates)?;
    let secret = PrivateKeyDer::from_pem_slice(&read.key).map_err(|error| TlsError::Pem {
        path: key.to_owned(),
        problem: match error {
            pem::Error::NoItemsFound => "no private key in it".to_owned(),
            other => other.to_string(),
        },
    })?;
    let rejected = |error: tokio_rustls::rustls::Error| TlsError::Rejected(error.to_string());
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(rejected)?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(rejected)?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
    Ok(Arc::new(config))
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use tokio::net::{TcpListener, TcpStream};
    use tokio_rustls::TlsConnector;
    use tokio_rustls::rustls::crypto::ring;
    use tokio_rustls::rustls::pki_types::ServerName;
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};
    use tokio_rustls::{client, server};

    use super::Tls;
    use crate::http::activity::Activity;
    use crate::http::io::Socket;

    const NAME: &str = "localhost";

    /// The two ends of one connection.
    pub(crate) async fn pair(
        activity: Arc<Activity>,
    ) -> (server::TlsStream<Socket>, client::TlsStream<TcpStream>) {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
        let (chain, key) = (
            folder.path().join("chain.pem"),
            folder.path().join("key.pem"),
        );
        std::fs::write(&chain, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let mut trusted = RootCertStore::empty();
        trusted.add(made.cert.der().clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(trusted)
            .with_no_client_auth();
        let listener = TcpListener::bind((NAME, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let tcp = TcpStream::connect(address).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let acceptor = Tls::from_pem_files(chain, key).unwrap().acceptor();
        let connector = TlsConnector::from(Arc::new(config));
        let name = ServerName::try_from(NAME).unwrap();
        let ends = tokio::join!(
            acceptor.accept(Socket::new(accepted, activity)),
            connector.connect(name, tcp)
        );
        (ends.0.unwrap(), ends.1.unwrap())
    }
}
