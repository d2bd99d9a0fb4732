/*
 * One run of one command, timed from a process so small that its own size does not show.
 *
 *   stopwatch LIMIT_MS LOG PROGRAM [ARG...]   ->   "WALL_NS PEAK_KB STATUS HUNG\n"
 *
 * The kernel counts the size of the memory that a process leaves at execve into that process's peak, so
 * whoever measures peak memory must start the measured program from little memory. PEAK_KB is ru_maxrss of
 * wait4: the largest process among the program and the children that it waited for, as GNU time's %M.
 * STATUS is the exit status, 128+n for a signal. HUNG is 1 when the program was killed at its limit.
 * Output of the program goes to LOG, so that a process it leaves behind holds no pipe of ours.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void fail(const char *what, int error)
{
	fprintf(stderr, "stopwatch: %s: %s\n", what, strerror(error));
	exit(1);
}

static long long now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(int argc, char **argv)
{
	if (argc < 4)
		fail("usage: stopwatch LIMIT_MS LOG PROGRAM [ARG...]", EINVAL);

	/* A process group of its own, so that a hung program dies with the helpers it started. */
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&files, 1, argv[2], O_WRONLY | O_CREAT | O_TRUNC, 0600);
	posix_spawn_file_actions_adddup2(&files, 1, 2);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP);

	char *env[] = { "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL };
	pid_t pid;
	long long start = now();
	int error = posix_spawn(&pid, argv[3], &files, &attr, argv + 3, env);
	if (error)
		fail(argv[3], error);
	int pidfd = syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0)
		fail("pidfd_open", errno);
	struct pollfd ready = { .fd = pidfd, .events = POLLIN };
	int hung = poll(&ready, 1, atoi(argv[1])) == 0;
	if (hung)
		kill(-pid, SIGKILL);

	int status;
	struct rusage usage;
	if (wait4(pid, &status, 0, &usage) < 0)
		fail("wait4", errno);
	long long end = now();
	printf("%lld %ld %d %d\n", end - start, usage.ru_maxrss,
	       WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), hung);
	return 0;
}
