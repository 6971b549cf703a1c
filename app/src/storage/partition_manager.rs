//! Looks after what grows by the day: makes the coming days' partitions, drops what nobody keeps any more.

use std::time::Duration;

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use mesh_runtime::postgres::{Pool, PoolError};
use mesh_runtime::{Actor, ChildSpec, Context, ExitReason, Flow};

use super::{
    partitions, payload_dictionaries, pool, retention, sessions, transaction, user_reports,
};

/// The name of the process.
pub const NAME: &str = "PartitionManager";

/// Between two rounds. Much oftener than daily, so that a missed round does not matter.
const INTERVAL: Duration = Duration::from_secs(60 * 60);

/// Between two attempts while the database is away or has no tables yet.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// How many days ahead there are partitions.
const DAYS_AHEAD: i64 = 7;

/// Makes and drops partitions on a timer.
#[derive(Debug)]
pub struct PartitionManager {
    pool: Pool,
    last_error: Option<String>,
}

/// What the partition manager understands.
#[derive(Clone, Copy, Debug)]
pub enum PartitionManagerMessage {
    /// Do a round.
    Maintain,
}

impl Actor for PartitionManager {
    type Args = ();
    type Message = PartitionManagerMessage;

    async fn init((): (), cx: &mut Context<PartitionManagerMessage>) -> Result<Self, ExitReason> {
        Ok(PartitionManager {
            pool: pool::named(&cx.system()),
            last_error: None,
        })
    }

    async fn started(&mut self, cx: &mut Context<PartitionManagerMessage>) -> Flow {
        self.maintain(cx).await;
        Flow::Continue
    }

    async fn handle(
        &mut self,
        message: PartitionManagerMessage,
        cx: &mut Context<PartitionManagerMessage>,
    ) -> Flow {
        match message {
            PartitionManagerMessage::Maintain => self.maintain(cx).await,
        }
        Flow::Continue
    }
}

impl PartitionManager {
    async fn maintain(&mut self, cx: &mut Context<PartitionManagerMessage>) {
        let next = match round(&self.pool).await {
            Ok(()) => {
                self.last_error = None;
                INTERVAL
            }
            Err(error) => {
                let met = error.to_string();
                if self.last_error.as_ref() != Some(&met) {
                    tracing::warn!(error = %met, "partitions cannot be looked after");
                }
                self.last_error = Some(met);
                RETRY_INTERVAL
            }
        };
        let address = cx.address();
        cx.send_after(&address, next, PartitionManagerMessage::Maintain);
    }
}

/// One round: partitions ahead first, for without them nothing is stored.
async fn round(pool: &Pool) -> Result<(), PoolError> {
    let mut client = pool.get().await?;
    let now = retention::now(&*client).await?;
    let transaction = transaction::begin(&mut client).await?;
    let made = partitions::ensure(&transaction, &days_ahead(now)).await?;
    transaction.commit().await?;
    if made > 0 {
        tracing::info!(partitions.made = made, "partitions were made");
    }
    sessions::expire(&*client, now).await?;
    retention::prune_outbox(&*client, now).await?;
    let dropped = retention::drop_partitions(&client, now).await?;
    let expired = retention::expire_events(&*client, now).await?;
    user_reports::prune(&*client, now).await?;
    // After the events that may name them.
    payload_dictionaries::prune(&*client, now).await?;
    if dropped > 0 || expired > 0 {
        tracing::info!(
            partitions.dropped = dropped,
            events.expired = expired,
            "events past their time were dropped"
        );
    }
    Ok(())
}

/// Yesterday, for what the spool still holds, today, and the days ahead.
fn days_ahead(now: Timestamp) -> Vec<Date> {
    let today = partitions::day(now);
    (-1..=DAYS_AHEAD)
        .filter_map(|offset| today.checked_add(offset.days()).ok())
        .collect()
}

/// The partition manager as a child.
#[must_use]
pub fn child() -> ChildSpec {
    ChildSpec::worker::<PartitionManager>(NAME, ())
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::days_ahead;

    #[test]
    fn a_week_ahead_and_yesterday() {
        let days = days_ahead("2026-12-28T23:30:00Z".parse().unwrap());
        assert_eq!(days.first(), Some(&date(2026, 12, 27)));
        assert_eq!(days.last(), Some(&date(2027, 1, 4)));
        assert_eq!(days.len(), 9);
    }
}
