//! `/runtime`: the supervision tree as it lives, and the test hooks that kill a named process and step the clock.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use warp::http::{Response, StatusCode};

use super::{Api, ApiError, Request, json};

#[derive(Deserialize)]
struct Kill {
    name: String,
}

#[derive(Deserialize, Serialize)]
struct Step {
    offset_seconds: i64,
}

#[derive(Serialize)]
struct Killed<'a> {
    name: &'a str,
    pid: String,
}

impl Api {
    pub(super) fn runtime(&self) -> Result<Response<Bytes>, ApiError> {
        json(StatusCode::OK, &self.state().system.inspect())
    }

    pub(super) fn runtime_clock(&self, request: &Request) -> Result<Response<Bytes>, ApiError> {
        let clock = self.state().test_clock.as_ref();
        let clock = clock.ok_or(ApiError::NotFound("API path"))?;
        let step: Step = request.json()?;
        tracing::warn!(
            clock.offset_seconds = step.offset_seconds,
            "the wall clock was stepped through the test hook"
        );
        clock.step_to(step.offset_seconds);
        json(StatusCode::OK, &step)
    }

    pub(super) fn runtime_kill(&self, request: &Request) -> Result<Response<Bytes>, ApiError> {
        let state = self.state();
        if state.test_clock.is_none() {
            return Err(ApiError::NotFound("API path"));
        }
        let Kill { name } = request.json()?;
        let pid = state
            .system
            .whereis_pid(&name)
            .ok_or(ApiError::NotFound("process"))?;
        tracing::warn!(name, %pid, "killed through the test hook");
        state.system.kill(pid);
        json(
            StatusCode::OK,
            &Killed {
                name: &name,
                pid: pid.to_string(),
            },
        )
    }
}
