//! The buckets of tokens: one for each key and each project that sent.

use std::collections::HashMap;
use std::time::Duration;

use foldhash::fast::RandomState;

use crate::domain::{ProjectId, PublicKey};
use crate::ingestion::keys::{Grant, KeyCache};
use crate::ingestion::rate_limit::{Rate, TokenBucket};
use crate::ingestion::refusal::Refusal;

/// A bucket per key, and per project, that sent since the keys were last read; known ones only, hence bounded.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    of_keys: HashMap<PublicKey, TokenBucket, RandomState>,
    of_projects: HashMap<ProjectId, TokenBucket, RandomState>,
}

impl Buckets {
    /// Keeps no more than there are keys.
    pub(super) fn forget_unknown(&mut self, keys: &KeyCache) {
        if self.of_keys.len() > keys.len() {
            self.of_keys.retain(|key, _| keys.find(key).is_ok());
        }
        // There is no project without a key that sent.
        if self.of_projects.len() > keys.len() {
            self.of_projects.clear();
        }
    }

    /// Takes a token of the key and one of its project, or none at all. No rate is no limit.
    pub(super) fn take(
        &mut self,
        grant: &Grant,
        of_key: Option<Rate>,
        of_project: Option<Rate>,
        now: Duration,
    ) -> Result<(), Refusal> {
        let mut key = of_key.map(|rate| {
            let full = || TokenBucket::full(rate, now);
            let bucket = self.of_keys.entry(grant.public_key).or_insert_with(full);
            (bucket, rate)
        });
        if let Some((bucket, rate)) = &mut key {
            bucket.take(*rate, now).map_err(Refusal::RateLimited)?;
        }
        let Some(rate) = of_project else {
            return Ok(());
        };
        let full = || TokenBucket::full(rate, now);
        let bucket = self
            .of_projects
            .entry(grant.project_id)
            .or_insert_with(full);
        bucket.take(rate, now).map_err(|wait| {
            if let Some((bucket, rate)) = key {
                bucket.give_back(rate);
            }
            Refusal::ProjectLimited(wait)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Buckets, Rate, Refusal};
    use crate::domain::ProjectNumber;
    use crate::ingestion::Grant;
    use std::time::Duration;
    use uuid::Uuid;

    #[test]
    fn a_project_bounds_its_keys_together_and_each_key_itself() {
        let grant = |key: &str| Grant {
            public_key: key.repeat(32).parse().unwrap(),
            project_id: Uuid::from_u128(1).into(),
            number: ProjectNumber::new(1),
            rate_limit: None,
            project_rate_limit: None,
            kept_per_million: 1_000_000,
        };
        let (one, two, now) = (grant("1"), grant("2"), Duration::from_secs(1));
        let (of_key, of_project) = (Rate::per_second(1), Rate::per_second(1));
        let mut buckets = Buckets::default();
        for _ in 0..6 {
            assert_eq!(buckets.take(&one, of_key, of_project, now), Ok(()));
        }
        for _ in 0..4 {
            assert_eq!(buckets.take(&two, of_key, of_project, now), Ok(()));
        }
        for _ in 0..20 {
            let refused = buckets.take(&one, of_key, of_project, now);
            assert!(matches!(refused, Err(Refusal::ProjectLimited(_))));
        }
        // The key's own tokens were not spent on refusals: four of its ten are left.
        for _ in 0..4 {
            assert_eq!(buckets.take(&one, of_key, None, now), Ok(()));
        }
        let refused = buckets.take(&one, of_key, None, now);
        assert!(matches!(refused, Err(Refusal::RateLimited(_))));
    }
}
