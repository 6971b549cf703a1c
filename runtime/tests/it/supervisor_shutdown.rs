//! supervisor_shutdown
