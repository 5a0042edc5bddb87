/* Stands between redis-server and its machine, by LD_PRELOAD.

   CHAOS_MACHINE names a directory. For every regular file that is synced, the
   file <inode> in it says how long the file was when the last successful sync
   began: what a loss of power leaves for certain. The file "order" in it holds
   two numbers: by how many microseconds each sync is delayed, and whether the
   disk is full, when a write to a regular file fails with ENOSPC. The file
   "clock" is eight bytes: by how many microseconds the clock is ahead. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_writev)(int, const struct iovec *, int);
static int (*real_fdatasync)(int);
static int (*real_fsync)(int);
static int (*real_gettimeofday)(struct timeval *, void *);
static int (*real_clock_gettime)(clockid_t, struct timespec *);
static const volatile int64_t *ahead; /* NULL: the clock is right */

static void map_clock(void) {
	char path[4096];
	const char *dir = getenv("CHAOS_MACHINE");
	if (!dir) return;
	snprintf(path, sizeof path, "%s/clock", dir);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) return;
	void *at = mmap(NULL, sizeof *ahead, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (at != MAP_FAILED) ahead = at;
}

__attribute__((constructor)) static void find(void) {
	real_gettimeofday = dlsym(RTLD_NEXT, "gettimeofday");
	real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
	map_clock();
	real_write = dlsym(RTLD_NEXT, "write");
	real_writev = dlsym(RTLD_NEXT, "writev");
	real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
	real_fsync = dlsym(RTLD_NEXT, "fsync");
}

static void order(long *delay, int *full) {
	char path[4096], text[64];
	const char *dir = getenv("CHAOS_MACHINE");
	*delay = 0;
	*full = 0;
	if (!dir) return;
	snprintf(path, sizeof path, "%s/order", dir);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) return;
	ssize_t n = read(fd, text, sizeof text - 1);
	close(fd);
	if (n <= 0) return;
	text[n] = 0;
	if (sscanf(text, "%ld %d", delay, full) != 2) *delay = 0, *full = 0;
}

static int regular(int fd, struct stat *st) { return fstat(fd, st) == 0 && S_ISREG(st->st_mode); }

static void note(const struct stat *st) {
	char path[4096], text[32];
	const char *dir = getenv("CHAOS_MACHINE");
	if (!dir) return;
	snprintf(path, sizeof path, "%s/%lu", dir, (unsigned long)st->st_ino);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0) return;
	int n = snprintf(text, sizeof text, "%020lld", (long long)st->st_size); /* fixed width: written over in one piece */
	if (real_write(fd, text, n) != n) unlink(path);
	close(fd);
}

static int synced(int fd, int (*real)(int)) {
	struct stat st;
	long delay;
	int full, saved;
	if (!regular(fd, &st)) return real(fd);
	order(&delay, &full);
	if (delay > 0) {
		struct timespec t = {delay / 1000000, delay % 1000000 * 1000};
		nanosleep(&t, NULL);
	}
	int result = real(fd);
	saved = errno;
	if (result == 0) note(&st);
	errno = saved;
	return result;
}

int fdatasync(int fd) { return synced(fd, real_fdatasync); }
int fsync(int fd) { return synced(fd, real_fsync); }

static int refused(int fd) {
	struct stat st;
	long delay;
	int full;
	if (!regular(fd, &st)) return 0;
	order(&delay, &full);
	if (full) errno = ENOSPC;
	return full;
}

ssize_t write(int fd, const void *data, size_t n) { return refused(fd) ? -1 : real_write(fd, data, n); }
ssize_t writev(int fd, const struct iovec *v, int n) { return refused(fd) ? -1 : real_writev(fd, v, n); }

/* The clock is asked before find has run, too: by the allocator, which dlsym needs. */
static int64_t now(void) {
	struct timeval t;
	if (real_gettimeofday) real_gettimeofday(&t, NULL);
	else syscall(SYS_gettimeofday, &t, NULL);
	return (int64_t)t.tv_sec * 1000000 + t.tv_usec + (ahead ? *ahead : 0);
}

int gettimeofday(struct timeval *restrict t, void *restrict zone) {
	(void)zone; /* obsolete */
	int64_t us = now();
	t->tv_sec = us / 1000000;
	t->tv_usec = us % 1000000;
	return 0;
}

time_t time(time_t *t) {
	time_t s = now() / 1000000;
	if (t) *t = s;
	return s;
}

int clock_gettime(clockid_t id, struct timespec *t) {
	if (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE)
		return real_clock_gettime ? real_clock_gettime(id, t) : (int)syscall(SYS_clock_gettime, id, t);
	int64_t us = now();
	t->tv_sec = us / 1000000;
	t->tv_nsec = us % 1000000 * 1000;
	return 0;
}
