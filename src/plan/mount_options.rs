//! The one table of mount options (config.md, Linux mount options).
