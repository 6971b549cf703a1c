//! The process that owns the log: gathers appends into groups, serves the one reader.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mesh_runtime::{Actor, Capacity, Context, ExitReason, Flow, ReplyTo};
use parking_lot::Mutex;

use super::file::{Disk, SpoolDirectory};
use super::log::{Appended, Log, LogLimits, OpenError};
use super::record::HEADER_BYTES;
use super::view::{Cursor, ReadLimits, View};
use super::{
    AppendError, DirectoryChoice, PART_RECORDS_MAX, Request, SpoolArgs, SpoolChunk, SpoolMessage,
    SpoolOptions, SpoolStatus,
};
use crate::ingestion::admission::random_uuid;
use crate::pressure::Pressure;

/// Messages that may wait while a group is synced. Their bytes are bounded by the budget of the
/// bodies at the door.
const MAILBOX_MESSAGES_MAX: usize = 16_384;

/// Pause between attempts to own the directory.
const OWNER_PAUSE: Duration = Duration::from_millis(50);

/// One life of the spool.
#[derive(Debug)]
pub(super) struct Spool {
    options: SpoolOptions,
    /// `None` only while a blocking job has it.
    log: Option<Log>,
    view: View,
    status: SpoolStatus,
    reader: Option<Reader>,
    cursor: Option<Cursor>,
    /// From where a chunk is being read, and for whom; for nobody when that is over.
    reading: Option<(u64, Newest)>,
    /// Whether an append was refused of late.
    is_full: bool,
    /// Whether all that was there at the start has been looked over for damage.
    is_examined: bool,
}

/// Who asked last for the chunk that is being read.
type Newest = Arc<Mutex<Option<ReplyTo<SpoolChunk>>>>;

#[derive(Debug)]
struct Reader {
    from: u64,
    reply: ReplyTo<SpoolChunk>,
    /// When the first record was there for it, and how far the log reached at the last look.
    lingering: Option<(Duration, u64)>,
}

/// Who waits for records to be durable.
#[derive(Debug)]
enum Appender {
    One(ReplyTo<Result<u64, AppendError>>),
    /// With what is known of each record: `None` of one that is in the group.
    All(
        Vec<Option<AppendError>>,
        ReplyTo<Vec<Result<u64, AppendError>>>,
    ),
}

/// A group of records on its way to the disk.
#[derive(Debug, Default)]
struct Group {
    records: Vec<Bytes>,
    bytes: usize,
    appenders: Vec<Appender>,
}

impl Group {
    /// Takes in what a message asks to append; gives any other back.
    fn add(&mut self, request: Request, record_bytes_max: usize) -> Option<Request> {
        let mut take = |record: Bytes| {
            if record.len() > record_bytes_max {
                return Some(AppendError::TooLarge(record_bytes_max));
            }
            self.bytes += record.len();
            self.records.push(record);
            None
        };
        match request {
            Request::Append(record, reply) => match take(record) {
                None => self.appenders.push(Appender::One(reply)),
                Some(error) => reply.reply(Err(error)),
            },
            Request::AppendAll(records, reply) => {
                let known = records.into_iter().map(take).collect();
                self.appenders.push(Appender::All(known, reply));
            }
            other => return Some(other),
        }
        None
    }
}

/// Tells everybody what became of their records, of which the first `count` are durable.
fn answer(appenders: Vec<Appender>, Appended { first, count }: Appended) {
    let end = first + count as u64;
    let mut next = first;
    let mut result = || {
        let sequence = next;
        next += 1;
        if sequence < end {
            Ok(sequence)
        } else {
            Err(AppendError::Full)
        }
    };
    for appender in appenders {
        match appender {
            Appender::One(reply) => reply.reply(result()),
            Appender::All(known, reply) => {
                let results = known.into_iter().map(|error| match error {
                    Some(error) => Err(error),
                    None => result(),
                });
                reply.reply(results.collect());
            }
        }
    }
}

impl Actor for Spool {
    type Args = SpoolArgs;
    type Message = SpoolMessage;

    async fn init(args: SpoolArgs, cx: &mut Context<SpoolMessage>) -> Result<Spool, ExitReason> {
        let log = open(&args, cx).await?;
        let options = args.options;
        let view = log.view();
        let status = SpoolStatus {
            spool_id: log.spool_id(),
            end: view.end(),
            released: None,
            used_bytes: log.used_bytes(),
            bytes_max: options.segment_bytes * options.segments_max as u64,
        };
        tracing::info!(spool.id = %status.spool_id, spool.end = status.end, "the spool is open");
        let spool = Spool {
            options,
            log: Some(log),
            view,
            status,
            reader: None,
            cursor: None,
            reading: None,
            is_full: false,
            is_examined: false,
        };
        // A life before this one may have ended full.
        spool.tell_pressure();
        Ok(spool)
    }

    async fn handle(&mut self, message: SpoolMessage, cx: &mut Context<SpoolMessage>) -> Flow {
        let result = match message.0 {
            request @ (Request::Append(..) | Request::AppendAll(..)) => {
                self.append(request, cx).await
            }
            other => self.serve(other, cx).await,
        };
        match result {
            Ok(()) => Flow::Continue,
            Err(reason) => Flow::Stop(reason),
        }
    }

    fn mailbox() -> Capacity {
        Capacity::bounded(MAILBOX_MESSAGES_MAX)
    }
}

async fn open(args: &SpoolArgs, cx: &Context<SpoolMessage>) -> Result<Log, ExitReason> {
    let limits = LogLimits {
        segment_bytes: args.options.segment_bytes,
        segments_max: args.options.segments_max.max(2),
        payload_bytes_max: args.options.record_bytes_max,
        group_bytes_max: (args.options.group_bytes_max
            + args.options.record_bytes_max
            + (args.options.group_records_max + PART_RECORDS_MAX) * HEADER_BYTES)
            as u64,
    };
    let place = args.options.directory.display().to_string();
    let fresh_id = random_uuid(&cx.system());
    let deadline = cx.system().clock().now() + args.options.owner_timeout;
    loop {
        let args = args.clone();
        let opened = cx
            .blocking(move || {
                let directory: Arc<dyn SpoolDirectory> = match args.directory {
                    DirectoryChoice::Disk => Arc::new(Disk::open(&args.options.directory)?),
                    #[cfg(test)]
                    DirectoryChoice::Given(directory) => directory,
                };
                Log::open(directory, limits, fresh_id)
            })
            .await;
        let error = match opened {
            Ok(Ok(log)) => return Ok(log),
            Ok(Err(OpenError::Locked)) if cx.system().clock().now() < deadline => {
                cx.sleep(OWNER_PAUSE).await;
                continue;
            }
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        return Err(ExitReason::error(format!(
            "cannot open the spool in {place}: {error}"
        )));
    }
}

impl Spool {
    /// Gathers what else waits in the mailbox, and makes it durable as one group.
    async fn append(
        &mut self,
        first: Request,
        cx: &mut Context<SpoolMessage>,
    ) -> Result<(), ExitReason> {
        let mut group = Group::default();
        let mut others = Vec::new();
        let mut next = Some(first);
        while let Some(request) = next {
            others.extend(group.add(request, self.options.record_bytes_max));
            let is_full = group.records.len() >= self.options.group_records_max
                || group.bytes >= self.options.group_bytes_max;
            if is_full {
                break;
            }
            let waiting = cx.receive_timeout(Duration::ZERO).await;
            next = waiting.map(|message| message.0);
        }
        self.append_group(group, cx).await?;
        for other in others {
            self.serve(other, cx).await?;
        }
        Ok(())
    }

    async fn append_group(
        &mut self,
        group: Group,
        cx: &mut Context<SpoolMessage>,
    ) -> Result<(), ExitReason> {
        let Group {
            records, appenders, ..
        } = group;
        let asked = records.len();
        if asked == 0 {
            answer(appenders, Appended { first: 0, count: 0 });
            return Ok(());
        }
        let appended = self
            .with_log(cx, move |log| log.append(&records))
            .await?
            .map_err(|error| {
                tracing::error!(spool.error = %error, "the spool could not make a group durable; it is opened anew and nothing of the group is acknowledged");
                ExitReason::error(format!("the spool could not make a group durable: {error}"))
            })?;
        if appended.count < asked {
            self.refuse(cx);
        } else {
            self.options.pressure.set_refusing(false);
        }
        answer(appenders, appended);
        self.serve_reader(false, cx);
        Ok(())
    }

    async fn serve(
        &mut self,
        request: Request,
        cx: &mut Context<SpoolMessage>,
    ) -> Result<(), ExitReason> {
        match request {
            request @ (Request::Append(..) | Request::AppendAll(..)) => {
                let mut group = Group::default();
                group.add(request, self.options.record_bytes_max);
                self.append_group(group, cx).await
            }
            Request::Read(from, reply) => {
                let Some(reply) = self.take_over(from, reply) else {
                    return Ok(());
                };
                self.reader = Some(Reader {
                    from,
                    reply,
                    lingering: None,
                });
                self.serve_reader(false, cx);
                Ok(())
            }
            Request::FullDue => {
                self.is_full = false;
                self.tell_pressure();
                Ok(())
            }
            Request::ReadDue => {
                self.serve_reader(true, cx);
                Ok(())
            }
            Request::WasRead(cursor) => {
                self.cursor = cursor;
                Ok(())
            }
            Request::Released(released, reply) => {
                let used_bytes = self.status.used_bytes;
                let is_noted = self
                    .with_log(cx, move |log| log.confirm(released))
                    .await?
                    .map_err(|error| {
                        ExitReason::error(format!("the spool could not note its position: {error}"))
                    })?;
                if !is_noted {
                    // Without an answer the router tells it again.
                    return Ok(());
                }
                if self.status.used_bytes < used_bytes {
                    self.options.pressure.set_refusing(false);
                    self.is_full = false;
                    self.tell_pressure();
                }
                self.status.released = self.status.released.max(Some(released));
                reply.reply(());
                self.examine_next(cx).await
            }
            Request::Examine => self.examine_next(cx).await,
            Request::Status(reply) => {
                reply.reply(self.status);
                Ok(())
            }
        }
    }

    /// Looks a segment over for damage, as long as there are such as no one has read since the start. Between two of them whoever waits
    /// has a turn.
    async fn examine_next(&mut self, cx: &Context<SpoolMessage>) -> Result<(), ExitReason> {
        if self.is_examined {
            return Ok(());
        }
        self.is_examined = !self.with_log(cx, Log::examine_next).await?;
        if !self.is_examined {
            let address = cx.address();
            // A mailbox that is full has others that wait; the next position asks again.
            let _ = address.send(SpoolMessage(Request::Examine));
        }
        Ok(())
    }

    /// Shuts the door for a moment: what would be judged only to be refused here is refused before. Then a group is let in
    /// again to see, for room may come from elsewhere than a release.
    fn refuse(&mut self, cx: &mut Context<SpoolMessage>) {
        self.options.pressure.set_refusing(true);
        if !self.is_full {
            self.is_full = true;
            let pause = self.options.full_pause;
            let address = cx.address();
            cx.send_after(&address, pause, SpoolMessage(Request::FullDue));
        }
        self.tell_pressure();
    }

    fn tell_pressure(&self) {
        if self.is_full {
            self.options.pressure.set(Pressure::FULL);
            return;
        }
        let percent = self.status.used_bytes * 100 / self.status.bytes_max.max(1);
        let percent = u8::try_from(percent).unwrap_or(Pressure::FULL);
        // Only a refusal is a reason to refuse.
        let percent = percent.min(Pressure::FULL - 1);
        self.options.pressure.set(percent);
    }

    /// Answers the reader when there is enough for a chunk, or at a tick that finds nothing more
    /// coming; otherwise sees to it that there is a next tick.
    fn serve_reader(&mut self, is_tick: bool, cx: &mut Context<SpoolMessage>) {
        let end = self.view.end();
        let Some(reader) = self.reader.as_mut().filter(|reader| reader.from < end) else {
            return;
        };
        let now = cx.system().clock().now();
        let is_enough = end - reader.from >= self.options.chunk_records_max as u64;
        let is_over = is_enough
            || reader.lingering.is_some_and(|(since, seen)| {
                is_tick && (seen == end || now >= since + self.options.linger)
            });
        if is_over {
            self.read_chunk(cx);
            return;
        }
        if is_tick || reader.lingering.is_none() {
            let (since, _) = reader.lingering.unwrap_or((now, end));
            reader.lingering = Some((since, end));
            let address = cx.address();
            cx.send_after(
                &address,
                self.options.linger_step,
                SpoolMessage(Request::ReadDue),
            );
        }
    }

    /// Has a chunk read by a process of its own, so that no append waits for it: what is durable does not change under it, and what it
    /// reads is not released before its reader has it.
    fn read_chunk(&mut self, cx: &mut Context<SpoolMessage>) {
        let Some(Reader { from, reply, .. }) = self.reader.take() else {
            return;
        };
        let (view, cursor) = (self.view.clone(), self.cursor);
        let limits = ReadLimits {
            records_max: self.options.chunk_records_max,
            bytes_max: self.options.chunk_bytes_max,
        };
        let spool = cx.address();
        let newest = Arc::new(Mutex::new(Some(reply)));
        self.reading = Some((from, newest.clone()));
        // Linked: a disk that cannot be read ends the spool.
        cx.spawn_link(move |cx: Context<()>| async move {
            let out = cx
                .blocking(move || view.read(from, limits, cursor))
                .await
                .map_err(|error| ExitReason::error(format!("the spool's reading failed: {error}")))?
                .map_err(|error| ExitReason::error(format!("the spool cannot be read: {error}")))?;
            if out.lost > 0 {
                tracing::error!(
                    spool.from = from,
                    spool.lost = out.lost,
                    "the disk no longer holds records that were acknowledged"
                );
            }
            // Before the answer, so that it is there before the reader asks again; without it that only takes longer.
            let reply = newest.lock().take();
            let _ = spool.send(SpoolMessage(Request::WasRead(out.cursor)));
            let reply = reply.expect("only this process takes it");
            reply.reply(SpoolChunk {
                from,
                next: out.next,
                records: out.records,
                lost: out.lost,
                remains: out.remains.into_iter().map(|(_, bytes)| bytes).collect(),
            });
            Ok::<(), ExitReason>(())
        });
    }

    /// Has whoever asks for a chunk that is being read take the place of who asked for it before, and has given up: on a slow disk its
    /// bytes would else be read many times at once. Gives the reply back if no such chunk is being read.
    fn take_over(&self, from: u64, reply: ReplyTo<SpoolChunk>) -> Option<ReplyTo<SpoolChunk>> {
        let reading = self.reading.as_ref().filter(|(begun, _)| *begun == from);
        if let Some((_, newest)) = reading {
            let mut newest = newest.lock();
            if newest.is_some() {
                *newest = Some(reply);
                return None;
            }
        }
        Some(reply)
    }

    /// Lends the log to a blocking job. If this process dies meanwhile, the job still ends, and
    /// then gives the directory up.
    async fn with_log<T: Send + 'static>(
        &mut self,
        cx: &Context<SpoolMessage>,
        work: impl FnOnce(&mut Log) -> T + Send + 'static,
    ) -> Result<T, ExitReason> {
        let mut log = self.log.take().expect("jobs on the log never overlap");
        let done = cx
            .blocking(move || {
                let out = work(&mut log);
                (log, out)
            })
            .await;
        let (log, out) =
            done.map_err(|error| ExitReason::error(format!("the spool's job failed: {error}")))?;
        self.view = log.view();
        self.status.end = self.view.end();
        self.status.used_bytes = log.used_bytes();
        self.log = Some(log);
        Ok(out)
    }
}
