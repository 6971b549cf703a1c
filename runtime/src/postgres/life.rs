//! What one life of the pool process owns: the bb8 pool, the desk before it, and its health.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_postgres::Client as Session;

use super::connection::{Client, ConnectionError, Manager};
use super::connector::Connector;
use super::desk::{self, Desk, Lender, Loan, Turn};
use super::{Options, PoolError, PoolState};
use crate::{Address, Context, ReplyTo, System};

/// How long bb8 tries one connection before it gives up and the next caller starts anew; its pauses between attempts grow to half
/// of this. Small, so that a database that comes back is noticed within a second.
const RETRY_WINDOW: Duration = Duration::from_secs(1);

/// How often the pool process looks after its connections: whether the database of an unhealthy pool is back, though nobody asks for one;
/// and what lies on the desk since it last looked goes back to bb8, which closes those that stay idle.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Longest wait for the server to take a request to cancel a statement, and between two such requests.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a statement may take to end before the server is asked a second time; then twice as long, and so on.
const CANCEL_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// How long a statement is asked to stop in all. A server that does not answer for so long has lost the connection.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// Statements that are asked to stop at a time, for each connection the pool may have. One that can be reached stops within milliseconds, so
/// it takes a database that does not answer to have so many.
const STOPS_PER_CONNECTION: usize = 4;

/// What the pool process is told.
pub(super) enum Message {
    /// Hands out the current life, so that a checkout costs no message.
    Life(ReplyTo<Arc<Life>>),
    /// Sees to it that a statement nobody waits for any more stops.
    Cancel(Arc<Session>),
}

/// What bb8 lends.
type Lent = bb8::PooledConnection<'static, Manager>;

/// One life of the pool. Ends with its process, by whatever cause.
pub(super) struct Life {
    bb8: bb8::Pool<Manager>,
    // bb8 lets a newcomer overtake those who wait, and takes four locks a loan. What is given back stays on this desk for a while; who
    // has a place there always finds or makes a connection.
    desk: Desk<Life>,
    waiting: AtomicUsize,
    closed: AtomicBool,
    health: Arc<Health>,
    system: System,
    address: Address<Message>,
    checkout_timeout: Duration,
    lifetime_max: Duration,
}

impl Lender for Life {
    type Connection = Lent;

    fn desk(&self) -> &Desk<Life> {
        &self.desk
    }

    fn takes_back(&self, connection: &mut Self::Connection) -> bool {
        let now = self.system.clock().now();
        connection.rest(now);
        connection.is_sound() && is_young(now, connection.made(), self.lifetime_max)
    }
}

impl Life {
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Lends a connection within `deadline`, or the pool's own, first come first served; and whether it was waited for. `now` is when it
    /// was asked for.
    pub(super) async fn checkout(
        self: &Arc<Self>,
        now: Duration,
        deadline: Option<Duration>,
    ) -> Result<(Client, bool), PoolError> {
        let fit = |connection: &Lent| !connection.is_lost() && !connection.is_doubtful(now);
        let (loan, waited) = match desk::ask(self, fit) {
            // Mostly a connection lies ready: then nobody waits, and there is no deadline to keep.
            Turn::Now(loan) if loan.connection().is_some() => (loan, false),
            Turn::Never => return Err(PoolError::Closed),
            turn => {
                // In a box, so that what waits for a connection one day is no larger for it.
                let lend = Box::pin(self.lend(turn));
                (self.in_time(deadline, lend).await?, true)
            }
        };
        self.health.worked();
        Ok((Client::new(loan), waited))
    }

    /// Waits for a place, and then for a connection.
    async fn lend(&self, turn: Turn<'_, Life>) -> Result<Loan<Life>, PoolError> {
        let loan = match turn {
            Turn::Now(loan) => Some(loan),
            Turn::Later(queued) => queued.wait().await,
            Turn::Never => None,
        };
        let mut loan = loan.ok_or(PoolError::Closed)?;
        while loan.connection().is_none() {
            match self.bb8.get_owned().await {
                Ok(connection) => loan.found(connection),
                Err(bb8::RunError::TimedOut) => {}
                Err(bb8::RunError::User(error)) => self.health.failed(&error),
            }
        }
        Ok(loan)
    }

    async fn in_time<T>(
        &self,
        deadline: Option<Duration>,
        lend: impl Future<Output = Result<T, PoolError>>,
    ) -> Result<T, PoolError> {
        let _waiting = Waiting::new(&self.waiting);
        let deadline = deadline.unwrap_or(self.checkout_timeout);
        match self.system.timeout(deadline, lend).await {
            Ok(lent) => lent,
            Err(_) if self.is_closed() => Err(PoolError::Closed),
            Err(_) => Err(self.health.refusal()),
        }
    }

    pub(super) fn cancel(&self, session: Arc<Session>) {
        // Without a pool process there is nobody to carry it out; the statement then ends by itself.
        let _ = self.address.send(Message::Cancel(session));
    }

    pub(super) fn state(&self) -> PoolState {
        let (free, bb8) = self.desk.free(|free| (free, self.bb8.state()));
        let (healthy, last_error) = self.health.read();
        PoolState {
            size: bb8.connections as usize,
            idle: bb8.idle_connections as usize + free,
            waiting: self.waiting.load(Ordering::Relaxed),
            healthy,
            last_error,
        }
    }
}

/// Runs one life of the pool: owns it, lends it, looks after it.
pub(super) async fn run(
    mut cx: Context<Message>,
    config: tokio_postgres::Config,
    options: Options,
) {
    let connector = Connector::new(config, &options);
    let life = Arc::new(start(&cx, connector.clone(), &options));
    let _closing = Closing(life.clone());
    // Who is asked to stop has no place in the queue any more, so it is counted here.
    let stops = Arc::new(Semaphore::new(stops_max(&options)));
    probe(&mut cx, &life, options.connect_timeout);
    let clock = life.system.clock();
    let mut looked = clock.now();
    loop {
        let left = LOOK_INTERVAL.saturating_sub(clock.now().saturating_sub(looked));
        match cx.receive_timeout(left).await {
            Some(Message::Life(to)) => to.reply(life.clone()),
            Some(Message::Cancel(session)) => {
                // One too many: the connection is closed when its statement ends by itself.
                let Ok(turn) = stops.clone().try_acquire_owned() else {
                    continue;
                };
                let (system, connector) = (cx.system(), connector.clone());
                cx.spawn_link(move |_: Context<()>| async move {
                    // Answered after the statement and the rollback behind it, or with the error of a connection that is gone.
                    let (session, connector) = (&session, &connector);
                    let answers = || async move { drop(session.simple_query("").await) };
                    let ask =
                        || async move { drop(connector.cancel(session.cancel_token()).await) };
                    Box::pin(stop(&system, ask, answers)).await;
                    drop(turn);
                });
            }
            None => {
                let before = std::mem::replace(&mut looked, clock.now());
                life.desk.sweep(|free| is_idle(free.rests_since(), before));
                probe(&mut cx, &life, options.connect_timeout);
            }
        }
    }
}

fn stops_max(options: &Options) -> usize {
    (options.size_max.max(1) as usize)
        .saturating_mul(STOPS_PER_CONNECTION)
        .min(Semaphore::MAX_PERMITS)
}

/// Asks the server to stop what runs in a session that was given up, until the session answers. Once is not enough: a request that overtakes
/// its statement, which comes by another connection, finds nothing to stop, and the server does not tell. One that takes too long is given up.
async fn stop<A, B>(system: &System, ask: impl Fn() -> A, answers: impl Fn() -> B)
where
    A: Future<Output = ()>,
    B: Future<Output = ()>,
{
    let asking = async {
        let mut patience = CANCEL_AGAIN_AFTER;
        loop {
            // A server that cannot be reached has no statement to stop; then the session's end says so, or the last request.
            let _ = system.timeout(CANCEL_TIMEOUT, ask()).await;
            if system.timeout(patience, answers()).await.is_ok() {
                return;
            }
            patience = (patience * 2).min(CANCEL_TIMEOUT);
        }
    };
    let _ = system.timeout(STOP_TIMEOUT, asking).await;
}

/// Whether what was made then may be lent again.
fn is_young(now: Duration, made: Duration, lifetime_max: Duration) -> bool {
    now.saturating_sub(made) < lifetime_max
}

/// Whether nobody has used between two looks what rests since then: it goes back to bb8, whose idle timeout begins.
fn is_idle(rests_since: Duration, looked_before: Duration) -> bool {
    rests_since <= looked_before
}

/// The bounds that bb8 keeps.
fn bounded<M: bb8::ManageConnection>(options: &Options) -> bb8::Builder<M> {
    let size_max = options.size_max.max(1);
    bb8::Pool::builder()
        .max_size(size_max)
        .min_idle(options.size_min.min(size_max))
        .connection_timeout(RETRY_WINDOW)
        .max_lifetime(options.lifetime_max)
        .idle_timeout(options.idle_timeout)
}

fn start(cx: &Context<Message>, connector: Connector, options: &Options) -> Life {
    let system = cx.system();
    let health = Arc::new(Health::default());
    let manager = Manager::new(connector, system.clone(), options.connect_timeout);
    let size_max = options.size_max.max(1);
    let bb8 = bounded(options)
        .error_sink(Box::new(Sink(health.clone())))
        .build_unchecked(manager);
    Life {
        bb8,
        desk: Desk::new(size_max as usize),
        waiting: AtomicUsize::new(0),
        closed: AtomicBool::new(false),
        health,
        system,
        address: cx.address(),
        checkout_timeout: options.checkout_timeout,
        lifetime_max: options.lifetime_max,
    }
}

/// Tries the database from a process of its own while the pool is unhealthy, so that its health is known without a caller.
fn probe(cx: &mut Context<Message>, life: &Arc<Life>, deadline: Duration) {
    if life.health.read().0 || life.health.probing.swap(true, Ordering::AcqRel) {
        return;
    }
    let life = life.clone();
    cx.spawn_link(move |_: Context<()>| async move {
        // The outcome is what the health remembers; the connection goes straight back.
        let now = life.system.clock().now();
        let _ = life.checkout(now, Some(deadline)).await;
        life.health.probing.store(false, Ordering::Release);
    });
}

/// Closes the desk when the pool process ends, by whatever cause: those who wait are told at once.
struct Closing(Arc<Life>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.closed.store(true, Ordering::Release);
        self.0.desk.close();
    }
}

/// Counts a caller among those who wait for as long as it lives.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether the database answered last time, and what it said when it did not.
#[derive(Default)]
struct Health {
    state: Mutex<(bool, Option<String>)>,
    /// What `state` begins with, for those who only want to know that nothing has changed.
    good: AtomicBool,
    probing: AtomicBool,
}

impl Health {
    fn worked(&self) {
        if self.good.load(Ordering::Acquire) {
            return;
        }
        let mut state = self.state.lock();
        if !state.0 {
            *state = (true, None);
            self.good.store(true, Ordering::Release);
            drop(state);
            tracing::info!("the database answers");
        }
    }

    fn failed(&self, error: &ConnectionError) {
        let text = error.to_string();
        let mut state = self.state.lock();
        let news = state.0 || state.1.is_none();
        *state = (false, Some(text.clone()));
        self.good.store(false, Ordering::Release);
        drop(state);
        if news {
            tracing::warn!(postgres.error = %text, "the database does not answer");
        }
    }

    fn read(&self) -> (bool, Option<String>) {
        self.state.lock().clone()
    }

    /// Why a checkout ran out of time: everything lent out, or no database.
    fn refusal(&self) -> PoolError {
        match self.read() {
            (false, Some(text)) => PoolError::Unavailable(text),
            _ => PoolError::Timeout,
        }
    }
}

/// Takes what bb8's own tasks find out.
struct Sink(Arc<Health>);

impl bb8::ErrorSink<ConnectionError> for Sink {
    fn sink(&self, error: ConnectionError) {
        // A connection the server closed while idle says nothing about the next one.
        if !matches!(error, ConnectionError::Closed) {
            self.0.failed(&error);
        }
    }

    fn boxed_clone(&self) -> Box<dyn bb8::ErrorSink<ConnectionError>> {
        Box::new(Self(self.0.clone()))
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sink")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_is_too_old_is_not_lent_again() {
        let made = 5 * SECOND;
        assert!(is_young(made, made, SECOND));
        assert!(is_young(10 * SECOND, made, 6 * SECOND));
        assert!(!is_young(11 * SECOND, made, 6 * SECOND));
    }

    #[test]
    fn what_nobody_used_between_two_looks_goes_back() {
        let looked = 5 * SECOND;
        assert!(is_idle(4 * SECOND, looked) && is_idle(looked, looked));
        assert!(!is_idle(looked + SECOND / 2, looked));
    }

    /// When a statement that never ends was asked to stop, and when that was given up, in milliseconds; each request takes `request`.
    #[cfg(feature = "sim")]
    fn requests(request: Option<Duration>) -> (Vec<u128>, Duration) {
        let sim = crate::sim::Sim::new(7);
        let system = sim.system("pool");
        let asked = Mutex::new(Vec::new());
        sim.run(async {
            let (system, asked, sim) = (&system, &asked, &sim);
            let ask = || async move {
                asked.lock().push(sim.now().as_millis());
                match request {
                    Some(taken) => system.sleep(taken).await,
                    None => std::future::pending().await,
                }
            };
            stop(system, ask, std::future::pending::<()>).await;
        });
        (asked.into_inner(), sim.now())
    }

    #[cfg(feature = "sim")]
    #[test]
    fn a_statement_that_does_not_stop_is_asked_for_half_a_minute_and_given_up() {
        let is_half_a_minute =
            |end: Duration| end >= STOP_TIMEOUT && end < STOP_TIMEOUT + SECOND / 10;
        // The pauses between two requests double, up to five seconds.
        let (asked, end) = requests(Some(Duration::ZERO));
        let pauses: Vec<u128> = asked.windows(2).map(|two| two[1] - two[0]).collect();
        assert!(is_half_a_minute(end), "{end:?}");
        assert_eq!(asked.len(), 11, "{asked:?}");
        for (pause, least) in pauses.iter().zip([100, 200, 400, 800, 1_600, 3_200]) {
            assert!((least..least + 50).contains(pause), "{pauses:?}");
        }
        // A server that takes no request costs as long, and is asked less often.
        let (asked, end) = requests(None);
        assert!(is_half_a_minute(end), "{end:?}");
        assert_eq!(asked.len(), 6, "{asked:?}");
    }

    /// Makes no connections. bb8 shows its bounds only as text.
    #[derive(Debug)]
    struct Nobody;

    impl bb8::ManageConnection for Nobody {
        type Connection = ();
        type Error = ();

        async fn connect(&self) -> Result<(), ()> {
            Err(())
        }

        async fn is_valid(&self, (): &mut ()) -> Result<(), ()> {
            Err(())
        }

        fn has_broken(&self, (): &mut ()) -> bool {
            true
        }
    }

    #[test]
    fn bb8_is_told_every_bound() {
        let options = Options {
            size_max: 7,
            size_min: 9,
            idle_timeout: 11 * SECOND,
            lifetime_max: 13 * SECOND,
            ..Options::default()
        };
        let text = format!("{:?}", bounded::<Nobody>(&options));
        for bound in [
            "max_size: 7,",
            "min_idle: Some(7),",
            "max_lifetime: Some(13s),",
            "idle_timeout: Some(11s),",
            "connection_timeout: 1s,",
        ] {
            assert!(text.contains(bound), "{bound} {text}");
        }
    }
}
