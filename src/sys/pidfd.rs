//! Processes by descriptor: pidfd_open(2), pidfd_send_signal(2), waitid(2), and their start times.
