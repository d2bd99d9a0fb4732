/* What all floors share: they stop, with a reason, at the first call that fails. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void fail(const char *what)
{
	char text[512];
	int n = snprintf(text, sizeof text, "floor: %s: %s\n", what, strerror(errno));
	if (write(2, text, n) != n)
		_exit(2);
	_exit(1);
}

#define MUST(call) do { if ((call) < 0) fail(#call); } while (0)
