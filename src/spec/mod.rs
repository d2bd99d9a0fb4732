//! config.json as types, loaded and checked (config.md).
