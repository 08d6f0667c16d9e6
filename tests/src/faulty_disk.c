/* Preloaded into a server under test: makes writes to files whose path contains $ANTIPHON_FAULTS_IN fail as the control
   file $ANTIPHON_FAULTS specifies. The file is mapped, so changes take effect at once in the test and the server. */
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
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

struct control {
    int32_t write_error; /* errno of every write; 0: none fails */
    int32_t grow_error;  /* errno of a write that makes a file longer */
    int32_t sync_error;  /* errno of fsync and fdatasync */
    int32_t failed;      /* how many calls have failed */
};

static volatile struct control *control;
static const char *part;

__attribute__((constructor)) static void start(void) {
    const char *path = getenv("ANTIPHON_FAULTS");
    part = getenv("ANTIPHON_FAULTS_IN");
    int fd = path && part ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *mapped = mmap(0, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped != MAP_FAILED) control = mapped;
    close(fd);
}

static int is_meant(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strstr(path, part) != 0;
}

static int fails(int error) {
    if (!error) return 0;
    __atomic_add_fetch(&control->failed, 1, __ATOMIC_SEQ_CST);
    errno = error;
    return 1;
}

/* `at` below 0: at the file's own position. */
static int write_fails(int fd, off_t at, size_t count) {
    if (!control || (!control->write_error && !control->grow_error) || !is_meant(fd)) return 0;
    if (fails(control->write_error)) return 1;
    struct stat stat;
    if (at < 0) at = lseek(fd, 0, SEEK_CUR);
    if (at < 0 || fstat(fd, &stat) != 0 || at + (off_t)count <= stat.st_size) return 0;
    return fails(control->grow_error);
}

static int sync_fails(int fd) {
    return control && control->sync_error && is_meant(fd) && fails(control->sync_error);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *data, size_t count) {
    return write_fails(fd, -1, count) ? -1 : REAL(write)(fd, data, count);
}

ssize_t pwrite(int fd, const void *data, size_t count, off_t at) {
    return write_fails(fd, at, count) ? -1 : REAL(pwrite)(fd, data, count, at);
}

ssize_t pwrite64(int fd, const void *data, size_t count, off64_t at) {
    return write_fails(fd, at, count) ? -1 : REAL(pwrite64)(fd, data, count, at);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    return write_fails(fd, -1, 1) ? -1 : REAL(writev)(fd, parts, count);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
    return write_fails(fd, at, 1) ? -1 : REAL(pwritev)(fd, parts, count, at);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) {
    return write_fails(fd, at, 1) ? -1 : REAL(pwritev64)(fd, parts, count, at);
}

int fsync(int fd) { return sync_fails(fd) ? -1 : REAL(fsync)(fd); }

int fdatasync(int fd) { return sync_fails(fd) ? -1 : REAL(fdatasync)(fd); }
