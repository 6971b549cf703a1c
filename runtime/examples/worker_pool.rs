//! A bounded pool of equal workers: work goes round, a full queue is refused, a crash costs one piece of work and no worker.

use std::time::Duration;

use mesh_runtime::{
    Actor, Address, CallError, Capacity, ChildSpec, Context, DynamicSupervisor, ExitReason, Flow,
    ReplyTo, Strategy, Supervisor, System,
};

const WORKERS: usize = 3;
/// Pieces of work that may wait for one worker.
const QUEUE: usize = 2;

/// A piece of work: divide a thousand by this.
struct Divide(u64, ReplyTo<u64>);

struct Worker;

impl Actor for Worker {
    type Args = ();
    type Message = Divide;

    async fn init((): (), _cx: &mut Context<Divide>) -> Result<Self, ExitReason> {
        Ok(Worker)
    }

    async fn handle(&mut self, Divide(by, to): Divide, cx: &mut Context<Divide>) -> Flow {
        cx.sleep(Duration::from_millis(20)).await; // work takes its time
        to.reply(1000 / by);
        Flow::Continue
    }

    fn mailbox() -> Capacity {
        Capacity::bounded(QUEUE)
    }
}

/// The client side: goes round the workers, and asks the next one when a queue is full.
struct Pool {
    workers: Vec<Address<Divide>>,
    turn: usize,
}

impl Pool {
    async fn open(system: &System) -> Result<Pool, Box<dyn std::error::Error>> {
        let tree = Supervisor::new(Strategy::OneForOne).child(ChildSpec::dynamic(
            "workers",
            DynamicSupervisor::new().max_children(WORKERS),
        ));
        system.supervise(tree).await?;
        let supervisor = system.supervisor("workers")?;
        let mut workers = Vec::new();
        for number in 0..WORKERS {
            let id = format!("worker {number}");
            supervisor
                .start_child(ChildSpec::worker::<Worker>(&id, ()))
                .await?;
            workers.push(system.whereis(&id)?);
        }
        Ok(Pool { workers, turn: 0 })
    }

    /// The worker whose turn it is and who has room.
    fn next(&mut self) -> Option<Address<Divide>> {
        let round = (0..WORKERS).map(|ahead| (self.turn + ahead) % WORKERS);
        let free = round
            .into_iter()
            .find(|&at| self.workers[at].len() < QUEUE)?;
        self.turn = free + 1;
        Some(self.workers[free].clone())
    }

    async fn divide(worker: Option<Address<Divide>>, by: u64) -> Result<u64, CallError> {
        let worker = worker.ok_or(CallError::Full)?;
        worker.call(|to| Divide(by, to)).await
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let system = System::new();
    let mut pool = Pool::open(&system).await?;

    println!("1000 / 8 = {:?}", Pool::divide(pool.next(), 8).await);
    println!("1000 / 0 = {:?}", Pool::divide(pool.next(), 0).await);

    // Twenty at once: each worker has one in hand and a queue, and the rest are told so.
    let mut jobs = Vec::new();
    for by in 1..=20 {
        let worker = pool.next();
        jobs.push(mesh_runtime::Job::spawn(&system, Pool::divide(worker, by)));
        tokio::task::yield_now().await; // the call joins its queue before the next worker is chosen
    }
    let (mut done, mut refused) = (0, 0);
    for job in jobs {
        match job.await? {
            Ok(_) => done += 1,
            Err(_) => refused += 1,
        }
    }
    println!("{done} done, {refused} refused; the crashed worker is back:");
    println!("{}", system.inspect());
    system.shutdown(Duration::from_secs(5)).await?;
    Ok(())
}
