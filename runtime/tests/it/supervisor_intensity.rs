//! supervisor_intensity
