/*
 * Commands one after the other, timed from a process so small that its own size does not show.
 *
 *   stopwatch LIMIT_MS LOG STEP [, STEP]...   ->   "WALL_NS PEAK_KB STATUS HUNG\n"
 *
 * A STEP is PROGRAM [ARG...], or @FILE: wait for the end of the process whose id is in FILE. Such a process, a
 * container's, has been left behind by an earlier step: as for engines, it becomes a child of the stopwatch.
 *
 * The kernel counts the size of the memory that a process leaves at execve into that process's peak, so
 * whoever measures peak memory must start the measured program from little memory. PEAK_KB is the largest ru_maxrss
 * that wait4 gave of a PROGRAM: the largest process among it and the children that it waited for, as GNU time's %M.
 * STATUS is the exit status of the last step, 128+n for a signal; the first that is not 0 is the last. HUNG is 1 when
 * the step was killed at the limit of all together. Output of the programs goes to LOG, so that a process they leave
 * behind holds no pipe of ours; standard input is the caller's.
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
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long limit;	/* ns, of CLOCK_MONOTONIC */
static long peak;
static int hung;

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

/* Waits for the end of a process, which is killed (group: with its process group) at the limit; its exit status, 0 if
 * somebody else has reaped it. */
static int end_of(pid_t pid, pid_t group, struct rusage *usage)
{
	int pidfd = syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0)
		return 0;
	struct pollfd ready = { .fd = pidfd, .events = POLLIN };
	long long left = (limit - now()) / 1000000;
	if (poll(&ready, 1, left > 0 ? left : 0) == 0) {
		hung = 1;
		kill(group ? -group : pid, SIGKILL);
	}
	close(pidfd);
	int status = 0;
	if (wait4(pid, &status, 0, usage) < 0 && errno != ECHILD)
		fail("wait4", errno);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int run(char **argv, const char *log, int first)
{
	/* A process group of its own, so that a hung program dies with the helpers it started. */
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, 1, log, O_WRONLY | O_CREAT | O_APPEND | (first ? O_TRUNC : 0), 0600);
	posix_spawn_file_actions_adddup2(&files, 1, 2);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP);

	char *env[] = { "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL };
	struct rusage usage = { 0 };
	pid_t pid;
	int error = posix_spawn(&pid, argv[0], &files, &attr, argv, env);
	if (error)
		fail(argv[0], error);
	int status = end_of(pid, pid, &usage);
	if (usage.ru_maxrss > peak)
		peak = usage.ru_maxrss;
	return status;
}

/* 127: no process id is there. */
static int await(const char *file)
{
	char text[16] = "";
	int fd = open(file, O_RDONLY);
	ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	close(fd);
	if (length < 1)
		return 127;
	struct rusage usage;
	return end_of(atoi(text), 0, &usage);
}

int main(int argc, char **argv)
{
	if (argc < 4)
		fail("usage: stopwatch LIMIT_MS LOG STEP [, STEP]...", EINVAL);
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		fail("prctl", errno);
	int status = 0;
	long long start = now();
	limit = start + atoll(argv[1]) * 1000000;
	for (char **step = argv + 3, **next; step && !status && !hung; step = next) {
		char **end = step;
		while (*end && strcmp(*end, ","))
			end++;
		next = *end ? end + 1 : NULL;
		*end = NULL;
		status = **step == '@' ? await(*step + 1) : run(step, argv[2], step == argv + 3);
	}
	printf("%lld %ld %d %d\n", now() - start, peak, status, hung);
	return 0;
}
