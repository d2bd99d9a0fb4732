//! The mount API by descriptor (Linux 5.2 to 5.12), mount(2) only through a checked descriptor.
