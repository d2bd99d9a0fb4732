//! Mounts.
/// Every option of the runtime-spec's table (config.md, Linux mount options).
pub(crate) const OPTIONS: &str = "async atime bind defaults dev diratime dirsync exec idmap iversion lazytime loud \
    mand noatime nodev nodiratime noexec noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow \
    private ratime rbind rdev rdiratime relatime remount rexec rnoatime rnodev rnodiratime rnoexec rnorelatime \
    rnostrictatime rnosuid rnosymfollow ridmap ro rprivate rrelatime rro rrw rshared rslave rstrictatime rsuid \
    rsymfollow runbindable rw shared silent slave strictatime suid symfollow sync tmpcopyup unbindable";
