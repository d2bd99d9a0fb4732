//! linux.cgroupsPath and linux.resources as a cgroup plan (config-linux.md, Control groups). Pure.
