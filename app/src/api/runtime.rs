//! `/runtime`: the supervision tree as it lives, and the test hook that kills a named process.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use warp::http::{Response, StatusCode};

use super::{Api, ApiError, Request, json};

#[derive(Deserialize)]
struct Kill {
    name: String,
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

    pub(super) fn runtime_kill(&self, request: &Request) -> Result<Response<Bytes>, ApiError> {
        let state = self.state();
        if !state.test_hooks {
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
