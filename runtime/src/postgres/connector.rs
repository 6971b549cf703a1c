//! How a connection is made: with TLS or without, as the options say.

use std::future::Future;
use std::pin::Pin;

use bb8::ManageConnection;
use bb8_postgres::PostgresConnectionManager;
use tokio_postgres::{CancelToken, Client, Config, Error, NoTls};
#[cfg(feature = "postgres-tls")]
use tokio_postgres_rustls::MakeRustlsConnect;

use super::Options;

/// What carries the bytes of a connection; it ends with it.
pub type Driver = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

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

/// One connection without a pool.
pub(super) async fn connect(
    config: &Config,
    #[cfg_attr(
        not(feature = "postgres-tls"),
        expect(unused_variables, reason = "TLS is their only say")
    )]
    options: &Options,
) -> Result<(Client, Driver), Error> {
    #[cfg(feature = "postgres-tls")]
    if let Some(tls) = &options.tls {
        let (client, driver) = config.connect(tls.connector()).await?;
        return Ok((client, Box::pin(driver)));
    }
    let (client, driver) = config.connect(NoTls).await?;
    Ok((client, Box::pin(driver)))
}
