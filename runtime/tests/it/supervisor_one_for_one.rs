//! supervisor_one_for_one
