/*
 * The kernel's floor of `create`, `start` and `delete`, a process each, as an engine calls them.
 *
 *   lifecycle create ROOTFS CGROUP GATE PIDFILE [FILTER]   returns once the container is whole and waits at the gate
 *   lifecycle start GATE                                   lets it go on to its program
 *   lifecycle delete CGROUP GATE                           after its end
 *
 * GATE is a fifo that stands for all state. FILTER is a seccomp program as the kernel takes it.
 */
#include "must.h"

#include "container.h"
#include "program.h"

/* Before the container's root is entered. */
static struct sock_fprog read_filter(const char *path)
{
	static struct sock_filter rows[BPF_MAXINSNS];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	MUST(fd);
	ssize_t size = read(fd, rows, sizeof rows);
	MUST(size);
	close(fd);
	return (struct sock_fprog){ .len = size / sizeof *rows, .filter = rows };
}

static void create(const char *rootfs, const char *cgroup, const char *gate, const char *pid_file, const char *filter)
{
	struct sock_fprog rows = { 0 };
	if (filter)
		rows = read_filter(filter);
	MUST(mkfifo(gate, 0600));
	/* Open for both: neither side waits for the other to open. */
	int fifo = open(gate, O_RDWR | O_CLOEXEC);
	int ready[2];
	char go = 0;
	MUST(fifo);
	MUST(pipe2(ready, O_CLOEXEC));
	pid_t pid = birth(cgroup);
	if (pid == 0) {
		container(rootfs);
		confine();
		MUST(write(ready[1], &go, 1));
		MUST(read(fifo, &go, 1));
		program(filter ? &rows : NULL);
	}
	close(ready[1]);
	if (read(ready[0], &go, 1) != 1)
		_exit(1);
	int file = open(pid_file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	MUST(file);
	MUST(dprintf(file, "%d", pid));
}

int main(int argc, char **argv)
{
	const char *command = argc > 2 ? argv[1] : "";
	if (!strcmp(command, "create") && argc >= 6) {
		create(argv[2], argv[3], argv[4], argv[5], argv[6]);
	} else if (!strcmp(command, "start")) {
		int fifo = open(argv[2], O_WRONLY | O_CLOEXEC);
		MUST(fifo);
		MUST(write(fifo, "", 1));
	} else if (!strcmp(command, "delete") && argc == 4) {
		MUST(rmdir(argv[2]));
		MUST(unlink(argv[3]));
	} else {
		return 2;
	}
	return 0;
}
