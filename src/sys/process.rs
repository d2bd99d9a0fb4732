//! What a process does to itself: ids, capabilities, limits, prctl(2).
