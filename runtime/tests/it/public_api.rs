//! public_api
