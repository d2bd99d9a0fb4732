//! The container's process as facts: pidfd and start time, never a bare pid.
