//! `regex-lite` under the name of `regex`, for `oci-spec`, which matches one short pattern of digits with it
//! (process.execCPUAffinity). The whole of `regex` makes the program larger by a tenth, and by as much what each start
//! maps of it. Nothing else belongs here.

pub use regex_lite::Regex;
