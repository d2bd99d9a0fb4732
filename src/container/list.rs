//! All containers of a root.
