//! The runtime's own binary cannot be written from inside a container.
