/*
 * The container of the default `spec` bundle: mounts, devices, hidden paths, and the change of root.
 *
 * bundle.h is written from the bundle's config.json by the benchmark, so that all hide the same paths.
 */
#include <sys/mount.h>
#include <sys/sysmacros.h>

#include "bundle.h" /* HOSTNAME, masked[], readonly[]: paths relative to the root, NULL at the end */

#define NAMESPACES (CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS | CLONE_NEWCGROUP)

static void mounts(void)
{
	const unsigned long none = MS_NOSUID | MS_NOEXEC | MS_NODEV;
	MUST(mount("proc", "proc", "proc", 0, NULL));
	MUST(mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k"));
	MUST(mkdir("dev/pts", 0755));
	MUST(mkdir("dev/shm", 0755));
	MUST(mkdir("dev/mqueue", 0755));
	MUST(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"));
	MUST(mount("shm", "dev/shm", "tmpfs", none, "mode=1777,size=65536k"));
	MUST(mount("mqueue", "dev/mqueue", "mqueue", none, NULL));
	MUST(mount("sysfs", "sys", "sysfs", none | MS_RDONLY, NULL));
	MUST(mount("cgroup", "sys/fs/cgroup", "cgroup2", none | MS_RDONLY | MS_RELATIME, NULL));
}

static void devices(void)
{
	static const struct { const char *path; int major, minor; } nodes[] = {
		{ "dev/null", 1, 3 }, { "dev/zero", 1, 5 }, { "dev/full", 1, 7 },
		{ "dev/random", 1, 8 }, { "dev/urandom", 1, 9 }, { "dev/tty", 5, 0 },
	};
	static const char *const links[][2] = {
		{ "/proc/self/fd", "dev/fd" }, { "/proc/self/fd/0", "dev/stdin" }, { "/proc/self/fd/1", "dev/stdout" },
		{ "/proc/self/fd/2", "dev/stderr" }, { "pts/ptmx", "dev/ptmx" },
	};
	umask(0);
	for (unsigned i = 0; i < sizeof nodes / sizeof *nodes; i++)
		MUST(mknod(nodes[i].path, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)));
	umask(022);
	for (unsigned i = 0; i < sizeof links / sizeof *links; i++)
		MUST(symlink(links[i][0], links[i][1]));
}

static void hide(void)
{
	/* A file is hidden by /dev/null, a folder by an empty tmpfs; what is not there needs nothing. */
	for (const char *const *path = masked; *path; path++) {
		if (mount("dev/null", *path, NULL, MS_BIND, NULL) == 0 || errno == ENOENT)
			continue;
		if (errno != ENOTDIR || mount("tmpfs", *path, "tmpfs", MS_RDONLY, NULL) < 0)
			fail(*path);
	}
	for (const char *const *path = readonly; *path; path++) {
		if (mount(*path, *path, NULL, MS_BIND | MS_REC, NULL) < 0) {
			if (errno == ENOENT)
				continue;
			fail(*path);
		}
		MUST(mount(NULL, *path, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL));
	}
}

static void container(const char *rootfs)
{
	MUST(sethostname(HOSTNAME, sizeof HOSTNAME - 1));
	MUST(mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL));
	MUST(mount(rootfs, rootfs, NULL, MS_BIND | MS_REC, NULL));
	MUST(chdir(rootfs));
	mounts();
	devices();
	hide();
	MUST(mount(NULL, ".", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL));
	MUST(syscall(SYS_pivot_root, ".", "."));
	MUST(umount2(".", MNT_DETACH));
	MUST(chdir("/"));
}

/* A new process in new namespaces, born into a new cgroup; 0 in the child. */
static pid_t birth(const char *cgroup)
{
	MUST(mkdir(cgroup, 0755));
	int folder = open(cgroup, O_PATH | O_DIRECTORY | O_CLOEXEC);
	MUST(folder);
	struct clone_args args = {
		.flags = NAMESPACES | CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = folder,
	};
	pid_t pid = syscall(SYS_clone3, &args, sizeof args);
	MUST(pid);
	return pid;
}
