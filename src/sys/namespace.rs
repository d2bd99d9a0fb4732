//! clone3(2), unshare(2), setns(2).
