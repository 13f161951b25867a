/* Preloaded into a process: writes down, in the order in which they happen, what reaches the files under
   POWER_ROOT and what is synced. One record is: kind, length of the path, offset, length of the data, path, data. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int log_fd = -2;
static char root[4096];

static void put(const void *data, size_t size) {
    while (size > 0) {
        ssize_t done = syscall(SYS_write, log_fd, data, size);
        if (done <= 0) _exit(99);
        data = (const char *)data + done;
        size -= (size_t)done;
    }
}

static void begin(void) {
    if (log_fd != -2) return;
    const char *where = getenv("POWER_LOG"), *under = getenv("POWER_ROOT");
    log_fd = where && under ? open(where, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
    if (under) snprintf(root, sizeof root, "%s", under);
}

/* The path of a descriptor under the root, or an empty one. Called with the lock held. */
static size_t path_of(int fd, char *path, size_t size) {
    char link[64];
    begin();
    if (log_fd < 0 || fd < 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, size - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return strncmp(path, root, strlen(root)) == 0 ? (size_t)length : 0;
}

static void record(char kind, const char *path, size_t length, uint64_t offset, const void *data, uint64_t size) {
    uint16_t path_size = (uint16_t)length;
    struct iovec parts[] = {{&kind, 1}, {&path_size, 2}, {&offset, 8}, {&size, 8}, {(void *)path, length}};
    char head[1 + 2 + 8 + 8 + 4096];
    size_t at = 0;
    for (int i = 0; i < 5; i++) {
        memcpy(head + at, parts[i].iov_base, parts[i].iov_len);
        at += parts[i].iov_len;
    }
    put(head, at);
    if (data != NULL) put(data, size);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    char path[4096];
    pthread_mutex_lock(&lock);
    size_t length = path_of(fd, path, sizeof path);
    ssize_t done = syscall(SYS_pwrite64, fd, data, size, offset);
    if (length > 0 && done > 0) record('W', path, length, (uint64_t)offset, data, (uint64_t)done);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) { return pwrite64(fd, data, size, offset); }

ssize_t write(int fd, const void *data, size_t size) {
    char path[4096];
    pthread_mutex_lock(&lock);
    size_t length = path_of(fd, path, sizeof path);
    off_t offset = length > 0 ? lseek(fd, 0, SEEK_CUR) : 0;
    ssize_t done = syscall(SYS_write, fd, data, size);
    if (length > 0 && done > 0) record('W', path, length, (uint64_t)offset, data, (uint64_t)done);
    pthread_mutex_unlock(&lock);
    return done;
}

int ftruncate64(int fd, off64_t size) {
    char path[4096];
    pthread_mutex_lock(&lock);
    size_t length = path_of(fd, path, sizeof path);
    int result = (int)syscall(SYS_ftruncate, fd, size);
    if (length > 0 && result == 0) record('T', path, length, (uint64_t)size, NULL, 0);
    pthread_mutex_unlock(&lock);
    return result;
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

static int synced(int fd, long call) {
    char path[4096];
    pthread_mutex_lock(&lock);
    size_t length = path_of(fd, path, sizeof path);
    int result = (int)syscall(call, fd);
    if (length > 0 && result == 0) record('S', path, length, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    return result;
}

int fsync(int fd) { return synced(fd, SYS_fsync); }
int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }

static int removed(const char *path, int (*real)(const char *)) {
    pthread_mutex_lock(&lock);
    begin();
    int result = real(path);
    if (log_fd >= 0 && result == 0 && strncmp(path, root, strlen(root)) == 0)
        record('U', path, strlen(path), 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    return result;
}

static int unlink_now(const char *path) { return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0); }
int unlink(const char *path) { return removed(path, unlink_now); }
