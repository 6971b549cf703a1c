//! Mesher with its surroundings going wrong, one fault after another: no acknowledged event is lost or stored twice, the books balance,
//! and whatever is refused is refused with a clear word. Small in `cargo test`, large by command.

mod database;
mod disk;
mod instances;
mod poison;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use uuid::Uuid;

use crate::Fault;
use crate::load::{self, Ledger, Promise, Shape};
use crate::postgres::Postgres;
use crate::proxy::Proxy;
use crate::seed::Seed;
use crate::server::{Dsn, Mesher};
use crate::verify::{self, Found};
use crate::wait::{self, PATIENCE};

/// How much of each fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// For every change: seconds.
    Small,
    /// By command: minutes.
    Large,
}

impl Scale {
    /// One of two sizes.
    fn of<T>(self, small: T, large: T) -> T {
        match self {
            Self::Small => small,
            Self::Large => large,
        }
    }
}

/// What became of a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every promise was kept; with what was found.
    Held(String),
    /// It cannot be made here, and why.
    Skipped(String),
}

/// What a fault works with.
#[derive(Debug)]
pub struct Ground {
    scale: Scale,
    seed: Seed,
    database: Postgres,
    proxy: Proxy,
    databases: u32,
}

/// A fault by name.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Its name on the command line.
    pub name: &'static str,
    /// What goes wrong.
    pub sentence: &'static str,
    run: fn(&mut Ground) -> Result<Outcome, Fault>,
}

/// Every fault.
pub const CASES: &[Case] = &[
    Case {
        name: "away",
        sentence: "PostgreSQL is stopped under load, and comes back",
        run: database::away,
    },
    Case {
        name: "greeting",
        sentence: "the database fails a start that has only its operator left to tell",
        run: database::greeting,
    },
    Case {
        name: "restarts",
        sentence: "PostgreSQL crashes and restarts in mid-batch, again and again",
        run: database::restarts,
    },
    Case {
        name: "cuts",
        sentence: "connections to PostgreSQL are cut, one by one",
        run: database::cuts,
    },
    Case {
        name: "commits",
        sentence: "connections are cut around commits, so that nobody knows whether they happened",
        run: database::commits,
    },
    Case {
        name: "timeouts",
        sentence: "statements wait for a lock until they time out",
        run: database::timeouts,
    },
    Case {
        name: "poison",
        sentence: "events that PostgreSQL refuses for what they hold, among others",
        run: poison::poison,
    },
    Case {
        name: "clock",
        sentence: "the wall clock steps back and forth under load",
        run: database::clock,
    },
    Case {
        name: "disk-full",
        sentence: "the disk fills up while PostgreSQL is away",
        run: disk::full,
    },
    Case {
        name: "read-only",
        sentence: "the data directory cannot be written",
        run: disk::read_only,
    },
    Case {
        name: "torn-spool",
        sentence: "the spool ends in a torn write, or lies damaged, when it is opened",
        run: disk::torn,
    },
    Case {
        name: "instances",
        sentence: "five servers race for one data directory",
        run: instances::race,
    },
];

impl Case {
    /// The fault of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        CASES.iter().find(|case| case.name == name).copied()
    }
}

/// Runs these faults, each with a fresh database and a fresh data directory; `report` gets a line each.
///
/// # Errors
/// The first promise that is broken; the fault's name and the seed are in the line.
pub fn run(
    cases: &[Case],
    scale: Scale,
    seed: Seed,
    mut report: impl FnMut(&str),
) -> Result<Vec<Outcome>, Fault> {
    let number = seed.number();
    report(&format!("seed {number}"));
    let database = Postgres::start_new()?;
    let mut ground = Ground {
        scale,
        seed,
        proxy: Proxy::before(database.address())?,
        database,
        databases: 0,
    };
    let mut outcomes = Vec::new();
    for case in cases {
        let outcome = (case.run)(&mut ground)
            .map_err(|fault| format!("{}: {fault}\nagain with DOGFOOD_SEED={number}", case.name))?;
        report(&match &outcome {
            Outcome::Held(found) => format!("{}: {found}", case.name),
            Outcome::Skipped(why) => format!("{} SKIPPED: {why}", case.name),
        });
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

impl Ground {
    /// A server that is not started yet, on a database of its own behind the bad network.
    fn mesher(&mut self) -> Result<Mesher, Fault> {
        self.proxy.refuse(false);
        self.databases += 1;
        let name = format!("faults_{}", self.databases);
        self.database.query(&format!("CREATE DATABASE {name}"))?;
        let url = self.database.url_at(self.proxy.port(), &name);
        Ok(Mesher::new()?.with_env("MESHER_DATABASE_URL", &url))
    }

    /// A stage with a server that is ready.
    fn stage(&mut self) -> Result<Stage, Fault> {
        let mesher = self.mesher()?;
        Stage::of(mesher)
    }

    /// The database is gone, for everybody, from one moment to the next.
    fn cut_off(&self) {
        self.proxy.refuse(true);
        self.proxy.cut_all();
    }

    fn reconnect(&self) {
        self.proxy.refuse(false);
    }
}

/// One server, and what was promised by it.
#[derive(Debug)]
struct Stage {
    mesher: Mesher,
    /// The default project's.
    dsn: Dsn,
    /// Of all that are sent to.
    dsns: [Dsn; 2],
    ledger: Mutex<Ledger>,
}

impl Stage {
    fn of(mut mesher: Mesher) -> Result<Self, Fault> {
        mesher.start()?;
        Self::of_ready(mesher)
    }

    fn of_ready(mesher: Mesher) -> Result<Self, Fault> {
        let dsn = mesher.dsn()?;
        let other = other_project(&mesher, &dsn)?;
        Ok(Self {
            mesher,
            dsns: [dsn.clone(), other],
            dsn,
            ledger: Mutex::default(),
        })
    }

    fn acknowledged(&self) -> usize {
        load::lock(&self.ledger).with(Promise::Acknowledged).len()
    }

    /// Waits until so many more events are acknowledged than now.
    fn wait_for_more(&self, more: usize) -> Result<(), Fault> {
        load::wait_for_acknowledged(&self.ledger, self.acknowledged() + more)
    }

    /// Does something while events flow, and lets them flow again before and after.
    fn under_load(
        &self,
        ground: &mut Ground,
        fault: impl FnOnce(&Self, &mut Ground) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let shape = Shape {
            senders: 4,
            rate_per_second: Some(200),
        };
        let stop = AtomicBool::new(false);
        let mut seed = ground.seed.split();
        thread::scope(|scope| {
            let address = self.mesher.address();
            let (seed, running) = (&mut seed, &stop);
            scope.spawn(move || {
                load::drive(address, &self.dsns, shape, seed, &self.ledger, running)
            });
            let outcome = self
                .wait_for_more(20)
                .and_then(|()| fault(self, ground))
                .and_then(|()| self.wait_for_more(20));
            stop.store(true, Ordering::Relaxed);
            outcome.map_err(|fault| format!("{fault}\n{}", self.mesher.log_end()).into())
        })
    }

    /// Sends events one by one; each must be acknowledged.
    fn send(&self, ground: &mut Ground, count: u32) -> Result<(), Fault> {
        let before = self.acknowledged();
        let sent = load::send_fresh(
            self.mesher.address(),
            &self.dsns,
            &mut ground.seed,
            &self.ledger,
            count,
        );
        let gained = self.acknowledged() - before;
        if gained != sent {
            let answers = load::lock(&self.ledger).answers.clone();
            let log = self.mesher.log_end();
            return Err(
                format!("{gained} of {sent} events were acknowledged: {answers:?}\n{log}").into(),
            );
        }
        Ok(())
    }

    /// The end of every fault: the server is ready again, what was sent without an answer is sent again, and everything is checked.
    fn settle(mut self) -> Result<Found, Fault> {
        self.mesher.wait_ready()?;
        load::resend_open(self.mesher.address(), &self.dsns, &self.ledger);
        let ledger = self
            .ledger
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let found = verify::equality(&self.mesher, &ledger)
            .map_err(|fault| format!("{fault}\n{}", self.mesher.log_end()))?;
        let log = self.mesher.log()?;
        if log.contains("panicked") {
            return Err(format!("something panicked\n{}", self.mesher.log_end()).into());
        }
        self.mesher.stop()?;
        Ok(found)
    }
}

/// A second project, so that the books are kept apart; its key is known to the door.
fn other_project(mesher: &Mesher, dsn: &Dsn) -> Result<Dsn, Fault> {
    let key = "0123456789abcdef0123456789abcdef";
    let made = mesher.query(&format!(
        "WITH made AS (INSERT INTO projects (id, organization_id, slug, name) SELECT gen_random_uuid(), organization_id, 'other', 'Other' \
         FROM projects WHERE slug = 'default' RETURNING id, number) \
         INSERT INTO project_keys (public_key, project_id, label) SELECT '{key}', id, 'Default' FROM made \
         RETURNING (SELECT number FROM made)"
    ))?;
    let project = &made[0][0];
    let text = dsn.text.replace(&dsn.key, key);
    let text = text
        .rsplit_once('/')
        .map_or("", |(text, _)| text)
        .to_owned();
    let other = Dsn::parse(&format!("{text}/{project}"))?;
    let authorization = format!("Bearer {key}");
    let headers = [("authorization", authorization.as_str())];
    wait::until("the door to know the second key", PATIENCE, || {
        let mut client = mesher.client();
        let answer = client.send("POST", "/api/v1/events", &headers, b"no event");
        match answer.map(|answer| answer.status) {
            Ok(400) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })?;
    Ok(other)
}

/// A random id of an event of the default project.
fn fresh_id(seed: &mut Seed) -> Uuid {
    loop {
        let id = load::fresh_id(seed);
        if load::place(id, 2) == 0 {
            return id;
        }
    }
}

/// What every fault that is only survived tells.
fn survived(found: Found) -> Outcome {
    Outcome::Held(format!(
        "{} acknowledged events, each stored exactly once; the books balance",
        found.acknowledged
    ))
}

/// Waits until the log of a server says something.
fn wait_for_log(mesher: &Mesher, says: &str) -> Result<(), Fault> {
    wait::until(&format!("the log to say {says:?}"), PATIENCE, || {
        let log = mesher.log().map_err(|fault| fault.to_string())?;
        if log.contains(says) {
            Ok(())
        } else {
            Err(mesher.log_end())
        }
    })?;
    Ok(())
}

/// Lets a moment of the fault's own choosing pass.
fn moment(seed: &mut Seed, ms_max: u64) {
    wait::pause(Duration::from_millis(seed.below(ms_max)));
}
