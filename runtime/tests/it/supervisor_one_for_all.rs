//! supervisor_one_for_all
