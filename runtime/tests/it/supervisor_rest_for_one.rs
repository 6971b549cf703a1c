//! supervisor_rest_for_one
