//! Verify: the promises of the ledger against the rows of the database.

use std::collections::HashMap;

use uuid::Uuid;

use crate::Fault;
use crate::load::{Ledger, Promise};
use crate::server::Mesher;
use crate::wait::{self, PATIENCE};

/// What was found when everything held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Acknowledged events, each stored exactly once.
    pub acknowledged: usize,
    /// Events stored although no acknowledgement reached the sender.
    pub stored_unanswered: usize,
    /// Events whose payload is packed with a dictionary, each of which is there.
    pub with_dictionary: usize,
    /// Issues, each with `event_count` equal to its rows.
    pub issues: usize,
}

/// Waits until every acknowledged event is stored, then compares ids and counters.
///
/// # Errors
/// One line for each broken promise: lost, stored twice, stored though never sent, or a counter that differs from its rows.
pub fn equality(mesher: &Mesher, ledger: &Ledger) -> Result<Found, Fault> {
    let unfair = ledger.unfair_refusals();
    if !unfair.is_empty() {
        return Err(format!("valid events were refused, as (status, times): {unfair:?}").into());
    }
    wait::until("every acknowledged event to be stored", PATIENCE, || {
        let rows = stored(mesher).map_err(|fault| fault.to_string())?;
        match compare(ledger, &rows).lost.len() {
            0 => Ok(()),
            missing => Err(format!("{missing} of {} missing", ledger.promises.len())),
        }
    })?;
    wait::until(
        "every answer to be counted for its project",
        PATIENCE,
        || {
            let uncounted = uncounted(mesher, ledger).map_err(|fault| fault.to_string())?;
            uncounted.map_or(Ok(()), Err)
        },
    )?;
    let rows = stored(mesher)?;
    let difference = compare(ledger, &rows);
    let mut broken = difference.lines();
    broken.extend(counters(mesher)?);
    broken.extend(balance(mesher)?);
    broken.extend(projects(mesher)?);
    let with_dictionary = dictionaries(mesher)?;
    if !broken.is_empty() {
        return Err(broken.join("\n").into());
    }
    let acknowledged = ledger.with(Promise::Acknowledged).len();
    let issues = mesher.query("SELECT count(*) FROM issues")?;
    Ok(Found {
        acknowledged,
        stored_unanswered: rows.len() - acknowledged,
        with_dictionary,
        issues: issues[0][0].parse()?,
    })
}

/// How many payloads are packed with a dictionary.
///
/// # Errors
/// When the dictionary of one is not there: what was acknowledged could not be read any more; or when the database does not answer.
pub fn dictionaries(mesher: &Mesher) -> Result<usize, Fault> {
    let rows = mesher.query(
        "SELECT count(*), count(*) FILTER (WHERE d.id IS NULL) FROM events e LEFT JOIN payload_dictionaries d
         ON d.project_id = e.project_id AND uuid_send(d.id) = substr(e.payload, 9, 16)
         AND uuid_send(d.id) = substr(sha256(d.content), 1, 16)
         WHERE substr(e.payload, 1, 8) = '\\x5d2a4d1810000000'",
    )?;
    match rows[0][1].as_str() {
        "0" => Ok(rows[0][0].parse()?),
        lost => Err(format!("{lost} of {} dictionaries are not there", rows[0][0]).into()),
    }
}

/// Issues whose counter differs from the number of their rows, one line each.
///
/// # Errors
/// When the database does not answer.
pub fn counters(mesher: &Mesher) -> Result<Vec<String>, Fault> {
    let rows = mesher.query(
        "SELECT coalesce(i.id, e.issue_id), coalesce(i.event_count, 0), coalesce(e.n, 0)
         FROM issues i FULL JOIN (SELECT issue_id, count(*) AS n FROM events GROUP BY issue_id) e ON e.issue_id = i.id
         WHERE coalesce(i.event_count, 0) <> coalesce(e.n, 0)",
    )?;
    let line = |row: &Vec<String>| {
        format!(
            "issue {} counts {} events but has {} rows",
            row[0], row[1], row[2]
        )
    };
    Ok(rows.iter().map(line).collect())
}

/// Whether the books balance: what the spools have numbered and the database has taken note of (counted at the door, before any answer)
/// is the sum of the outcomes of records (counted by the writer, each event by itself). Holds at every moment, under every fault.
///
/// # Errors
/// When the database does not answer.
pub fn balance(mesher: &Mesher) -> Result<Option<String>, Fault> {
    let rows = mesher.query(
        "SELECT (SELECT coalesce(sum(released), 0) FROM spools), coalesce(sum(quantity), 0) FROM outcomes
         WHERE outcome IN ('stored', 'duplicate', 'discarded', 'filtered', 'expired', 'quarantined', 'lost', 'replayed')",
    )?;
    let [released, ended] = [&rows[0][0], &rows[0][1]];
    Ok((released != ended)
        .then(|| format!("{released} records have left the spool but {ended} have an outcome")))
}

/// Projects whose books do not balance, one line each: what was accepted for each (counted from what the door wrote, before anything is
/// decided about it) is the sum of its outcomes; and what was accepted for all is what the spools have numbered.
///
/// # Errors
/// When the database does not answer.
pub fn projects(mesher: &Mesher) -> Result<Vec<String>, Fault> {
    let rows = mesher.query(
        "SELECT * FROM (SELECT coalesce(p.slug, o.project_id::text) AS name,
         coalesce(sum(quantity) FILTER (WHERE outcome = 'accepted'), 0) AS accepted, coalesce(sum(quantity) FILTER (WHERE outcome IN
         ('stored', 'duplicate', 'discarded', 'filtered', 'expired', 'quarantined', 'lost', 'replayed')), 0) AS ended
         FROM outcomes o LEFT JOIN projects p ON p.id = o.project_id GROUP BY 1
         UNION ALL SELECT 'all', (SELECT coalesce(sum(quantity), 0) FROM outcomes WHERE outcome = 'accepted'),
         (SELECT coalesce(sum(released), 0) FROM spools)) AS books WHERE accepted <> ended",
    )?;
    let line = |row: &Vec<String>| {
        format!(
            "project {}: {} were accepted but {} have an outcome",
            row[0], row[1], row[2]
        )
    };
    Ok(rows.iter().map(line).collect())
}

/// A project for which fewer events were accepted than the sender got answers for; a line about it.
fn uncounted(mesher: &Mesher, ledger: &Ledger) -> Result<Option<String>, Fault> {
    let mut answered: HashMap<String, u64> = HashMap::new();
    for row in mesher.query("SELECT id, project_id FROM events")? {
        let times = ledger.accepted.get(&Uuid::parse_str(&row[0])?);
        *answered.entry(row[1].clone()).or_default() += times.unwrap_or(&0);
    }
    let accepted: HashMap<String, u64> = mesher
        .query(
            "SELECT project_id, sum(quantity) FROM outcomes WHERE outcome = 'accepted' GROUP BY 1",
        )?
        .iter()
        .map(|row| Ok((row[0].clone(), row[1].parse()?)))
        .collect::<Result<_, Fault>>()?;
    let short = answered.iter().find_map(|(project, answered)| {
        let accepted = accepted.get(project).copied().unwrap_or(0);
        (accepted < *answered).then(|| {
            format!("project {project}: {answered} were answered 202 and {accepted} are counted")
        })
    });
    Ok(short)
}

/// How the rows differ from the promises.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Difference {
    lost: Vec<Uuid>,
    twice: Vec<Uuid>,
    never_sent: Vec<Uuid>,
}

impl Difference {
    fn lines(&self) -> Vec<String> {
        let kinds = [
            ("lost", &self.lost),
            ("stored twice", &self.twice),
            ("stored but never sent", &self.never_sent),
        ];
        let line = |(kind, ids): &(&str, &Vec<Uuid>)| {
            let shown: Vec<String> = ids.iter().take(5).map(Uuid::to_string).collect();
            format!("{} events {kind}, such as {}", ids.len(), shown.join(", "))
        };
        kinds
            .iter()
            .filter(|(_, ids)| !ids.is_empty())
            .map(line)
            .collect()
    }
}

fn compare(ledger: &Ledger, rows: &[Uuid]) -> Difference {
    let mut times: HashMap<Uuid, u32> = HashMap::new();
    for id in rows {
        *times.entry(*id).or_default() += 1;
    }
    let mut difference = Difference {
        lost: ledger
            .with(Promise::Acknowledged)
            .into_iter()
            .filter(|id| !times.contains_key(id))
            .collect(),
        ..Difference::default()
    };
    for (id, times) in times {
        if times > 1 {
            difference.twice.push(id);
        }
        if !ledger.promises.contains_key(&id) {
            difference.never_sent.push(id);
        }
    }
    difference.twice.sort_unstable();
    difference.never_sent.sort_unstable();
    difference
}

fn stored(mesher: &Mesher) -> Result<Vec<Uuid>, Fault> {
    let rows = mesher.query("SELECT id FROM events")?;
    rows.iter()
        .map(|row| Ok(Uuid::parse_str(&row[0])?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::compare;
    use crate::load::Ledger;
    use uuid::Uuid;

    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        ledger.note(Uuid::from_u128(1), Some(202));
        ledger.note(Uuid::from_u128(2), None);
        ledger
    }

    #[test]
    fn an_open_promise_may_be_kept_or_not() {
        let one = Uuid::from_u128(1);
        assert!(compare(&ledger(), &[one]).lines().is_empty());
        assert!(
            compare(&ledger(), &[Uuid::from_u128(2), one])
                .lines()
                .is_empty()
        );
    }

    #[test]
    fn each_broken_promise_is_named() {
        let [one, two, three] = [1, 2, 3].map(Uuid::from_u128);
        assert_eq!(compare(&ledger(), &[two]).lost, [one]);
        assert_eq!(compare(&ledger(), &[one, two, two]).twice, [two]);
        assert_eq!(compare(&ledger(), &[one, three]).never_sent, [three]);
        assert_eq!(compare(&ledger(), &[]).lines().len(), 1);
    }
}
