//! The features object (features.md), true to this build and this kernel.
