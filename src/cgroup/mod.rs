//! Carries out a cgroup plan (config-linux.md, Control groups): create, join, limit, freeze, kill, remove. It decides no value and reads no config.
