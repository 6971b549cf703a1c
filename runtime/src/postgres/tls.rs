//! Whom to trust as the database's server, when a connection is made with TLS.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::tls::{TlsError, certificates_in, read_file};

/// Which authorities may vouch for the server, for [`Options::tls`](super::Options::tls). Cheap to clone.
///
/// Whether TLS is used is for the configuration's `sslmode` to say: `disable` never, `prefer` (the default) when the server offers it,
/// `require` always. Stricter than libpq, whose `require` trusts anybody: the server's certificate must be from one of
/// these authorities and for the name of the host, as under its `verify-full`. A unix socket is always without TLS.
///
/// # Examples
/// ```no_run
/// use mesh_runtime::postgres;
///
/// let tls = postgres::Tls::authority("ca.pem")?;
/// let options = postgres::Options { tls: Some(tls), ..postgres::Options::default() };
/// # Ok::<(), postgres::TlsError>(())
/// ```
#[derive(Clone)]
pub struct Tls {
    connector: MakeRustlsConnect,
}

impl Tls {
    /// The authorities the operating system trusts. Blocks on the file system.
    ///
    /// # Errors
    /// None can be read.
    pub fn system_authorities() -> Result<Tls, TlsError> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (added, _ignored) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            let reason = found
                .errors
                .first()
                .map_or_else(String::new, |error| format!(": {error}"));
            return Err(TlsError::Rejected(format!(
                "the operating system has no certificate authorities (package ca-certificates){reason}"
            )));
        }
        trusting(roots)
    }

    /// Only the authorities in a PEM file, as libpq's `sslrootcert`. Blocks on the file system.
    ///
    /// # Errors
    /// The file cannot be read, or holds no certificate that can be an authority.
    pub fn authority(path: impl Into<PathBuf>) -> Result<Tls, TlsError> {
        let path = path.into();
        let text = read_file(&path)?;
        let mut roots = RootCertStore::empty();
        for certificate in certificates_in(&path, &text)? {
            roots.add(certificate).map_err(|error| TlsError::Pem {
                path: path.clone(),
                problem: error.to_string(),
            })?;
        }
        trusting(roots)
    }

    pub(super) fn connector(&self) -> MakeRustlsConnect {
        self.connector.clone()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Tls")
    }
}

fn trusting(roots: RootCertStore) -> Result<Tls, TlsError> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Rejected(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Tls {
        connector: MakeRustlsConnect::new(config),
    })
}
