/*
 * The kernel's floor of `run`: the system calls that a container of the default `spec` bundle cannot do without, and
 * nothing else. No configuration is read, nothing is checked, kept, logged or defended; no runtime can be faster on
 * the same kernel by more than noise.
 *
 *   run ROOTFS CGROUP   (CGROUP: a folder to be made for this run on a cgroup2 mount, and removed)
 *
 * Measured, and no faster: a small clone3 with unshare in the child (2 % slower here; it pays only where the
 * runtime has work to do meanwhile), fsopen and fsmount instead of mount (the same), one masking tmpfs cloned for
 * all folders (the same), pivot_root before the mounts (the same), no umount of the old root (the same: its RCU
 * grace period then comes at exit). Faster by a tenth, but more calls: the parent makes the network namespace on
 * another processor while the child mounts, and the child joins it.
 * Left out although config.json asks for it: the cgroup's device program (bpf, 26 us).
 */
#include "must.h"

#include "container.h"
#include "program.h"

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	pid_t pid = birth(argv[2]);
	if (pid == 0) {
		container(argv[1]);
		confine();
		program(NULL);
	}
	int status;
	MUST(waitpid(pid, &status, 0));
	MUST(rmdir(argv[2]));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
