/* The last steps of every floor: from root in the container to /bin/true as the bundle's config.json has it. */
#include <linux/filter.h>
#include <linux/seccomp.h>

static void confine(void)
{
	static const unsigned keep = 1u << CAP_AUDIT_WRITE | 1u << CAP_KILL | 1u << CAP_NET_BIND_SERVICE;
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2] = { { keep, keep, 0 }, { 0, 0, 0 } };
	struct rlimit files = { 1024, 1024 };
	MUST(setrlimit(RLIMIT_NOFILE, &files));
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (cap > 31 || !(keep & 1u << cap))
			MUST(prctl(PR_CAPBSET_DROP, cap, 0, 0, 0));
	MUST(syscall(SYS_capset, &header, data));
	MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

/* filter: a seccomp program, or NULL. */
static void program(const struct sock_fprog *filter)
{
	char *argv[] = { "/bin/true", NULL };
	char *env[] = { "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm", NULL };
	if (filter)
		MUST(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, filter));
	MUST(execve(argv[0], argv, env));
}
