//! The items of an envelope that are no events: what is kept of them, and how the rest is counted.

use super::answer;
use crate::domain::user_report::UserReport;
use crate::domain::{Outcome, ProjectId};
use crate::ingestion::admission::Admission;
use crate::ingestion::door_counts::DoorCount;
use crate::ingestion::keys::Grant;
use crate::ingestion::refusal::Refusal;
use crate::processing::scrub;
use crate::protocol::envelope::{Envelope, Item};
use crate::protocol::event_item::ItemKind;
use crate::protocol::{client_report, user_report};

/// The most reports of users that one envelope may bring; SDKs send one.
const USER_REPORTS_MAX: usize = 10;

/// The category of users' words, in outcomes and in limits of rate.
pub(super) const FEEDBACK: &str = "feedback";

/// What an envelope holds besides its event.
#[derive(Debug, Default)]
pub(super) struct OtherItems {
    /// What users wrote, admitted and not yet kept.
    pub(super) user_reports: Vec<UserReport>,
    /// Why some of that was not admitted.
    pub(super) refused: Option<Refusal>,
    /// Whether the client is told not to send some kinds of items.
    pub(super) is_limited: bool,
}

impl OtherItems {
    /// Takes users' words, and counts everything else: what the SDK says it dropped, and what nothing here shows.
    pub(super) fn judge(admission: &Admission, grant: &Grant, envelope: &Envelope) -> OtherItems {
        let project_id = grant.project_id;
        let mut others = OtherItems::default();
        let mut unwanted = Vec::new();
        for (nth, item) in envelope.items.iter().enumerate() {
            match &item.header.kind {
                ItemKind::Event => {}
                ItemKind::ClientReport => count_dropped(admission, project_id, item),
                ItemKind::UserReport | ItemKind::Feedback => {
                    others.take(admission, grant, envelope, nth);
                }
                kind => {
                    let category = kind.category();
                    count(admission, project_id, Outcome::Unsupported, category);
                    unwanted.push(kind);
                }
            }
        }
        others.is_limited = answer::is_limited(&unwanted);
        others
    }

    fn take(&mut self, admission: &Admission, grant: &Grant, envelope: &Envelope, nth: usize) {
        let item = &envelope.items[nth];
        let report = match item.header.kind {
            ItemKind::UserReport => user_report::read_user_report(&item.payload, scrub::scrub_text),
            _ => {
                let id = envelope.header.event_id;
                user_report::read_feedback(&item.payload, id, nth, scrub::scrub_text)
            }
        };
        let project_id = grant.project_id;
        match report {
            Some(report) if self.user_reports.len() < USER_REPORTS_MAX => {
                match admission.take_token(grant) {
                    Ok(()) => self.user_reports.push(report),
                    Err(refusal) => {
                        count(admission, project_id, Outcome::RateLimited, FEEDBACK);
                        self.refused = Some(refusal);
                    }
                }
            }
            // One that says nothing, or belongs to nothing, or is one too many: as all that is thrown away.
            _ => count(admission, project_id, Outcome::Unsupported, FEEDBACK),
        }
    }

    /// Keeps what users wrote.
    pub(super) async fn keep(
        self,
        admission: &Admission,
        project_id: ProjectId,
    ) -> Result<(), Refusal> {
        let mut refused = self.refused;
        let lost = admission.keep_reports(project_id, self.user_reports).await;
        for _ in 0..lost {
            count(admission, project_id, Outcome::RateLimited, FEEDBACK);
            refused = Some(Refusal::NotDurable);
        }
        refused.map_or(Ok(()), Err)
    }
}

fn count_dropped(admission: &Admission, project_id: ProjectId, item: &Item) {
    for dropped in client_report::read(&item.payload) {
        admission.counts().count(DoorCount {
            project_id,
            outcome: Outcome::ClientDropped,
            reason: format!("{}:{}", dropped.category, dropped.reason).into(),
            quantity: dropped.quantity,
        });
    }
}

fn count(admission: &Admission, project_id: ProjectId, outcome: Outcome, category: &'static str) {
    admission.counts().count(DoorCount {
        project_id,
        outcome,
        reason: category.into(),
        quantity: 1,
    });
}
