//! Unix sockets: SEQPACKET messages with descriptors.
