//! How a connection is made: with TLS or without, as the options say.

use bb8::ManageConnection;
use bb8_postgres::PostgresConnectionManager;
use tokio_postgres::{CancelToken, Client, Config, Error, NoTls};
#[cfg(feature = "postgres-tls")]
use tokio_postgres_rustls::MakeRustlsConnect;

use super::Options;

/// Makes connections, and asks the server to cancel what runs on them.
#[derive(Clone)]
pub(super) enum Connector {
    Plain(PostgresConnectionManager<NoTls>),
    #[cfg(feature = "postgres-tls")]
    Secure(
        PostgresConnectionManager<MakeRustlsConnect>,
        MakeRustlsConnect,
    ),
}

impl Connector {
    #[cfg_attr(
        not(feature = "postgres-tls"),
        expect(unused_variables, reason = "TLS is their only say")
    )]
    pub(super) fn new(config: Config, options: &Options) -> Self {
        #[cfg(feature = "postgres-tls")]
        if let Some(tls) = &options.tls {
            let manager = PostgresConnectionManager::new(config, tls.connector());
            return Self::Secure(manager, tls.connector());
        }
        Self::Plain(PostgresConnectionManager::new(config, NoTls))
    }

    pub(super) async fn connect(&self) -> Result<Client, Error> {
        match self {
            Self::Plain(manager) => manager.connect().await,
            #[cfg(feature = "postgres-tls")]
            Self::Secure(manager, _) => manager.connect().await,
        }
    }

    pub(super) async fn cancel(&self, token: CancelToken) -> Result<(), Error> {
        match self {
            Self::Plain(_) => token.cancel_query(NoTls).await,
            #[cfg(feature = "postgres-tls")]
            Self::Secure(_, tls) => token.cancel_query(tls.clone()).await,
        }
    }
}
