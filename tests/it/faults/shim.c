/* A disk that misbehaves on demand, put in front of the real one by LD_PRELOAD.
 *
 * Only files below FAULT_DIR are touched. What is to go wrong stands in the words of the file
 * FAULT_CONTROL, which the test writes while the server runs; the last words count what happened.
 * System calls are made directly: the allocator opens files before dlsym() can be used. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* The order is that of `Word` in shim.rs. */
enum { DELAY_MS, BLOCKED, WRITE_ERRNO, READ_ERRNO, LIMITED, ROOM, OPS, WAITING, REFUSED, SYNCS, WORDS };
enum kind { LOOK, READ, CHANGE, REMOVE };

#define FDS 65536

static _Atomic int64_t *control;
static char root[4096], here[4096];
static atomic_uchar ours[FDS];

__attribute__((constructor)) static void begin(void) {
    const char *file = getenv("FAULT_CONTROL"), *dir = getenv("FAULT_DIR");
    if (!file || !dir || syscall(SYS_getcwd, here, sizeof here) < 0) return;
    /* Relative to the working directory, which the test does not know beforehand. */
    int absolute = dir[0] == '/';
    snprintf(root, sizeof root, "%s%s%s", absolute ? "" : here, absolute ? "" : "/", dir);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, file, O_RDWR | O_CLOEXEC, 0);
    void *map = mmap(NULL, WORDS * sizeof(int64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    syscall(SYS_close, fd);
    if (fd < 0 || map == MAP_FAILED) {
        fprintf(stderr, "the shim cannot use its control file\n");
        abort();
    }
    control = map;
}

static int below(const char *path) {
    char whole[8192];
    if (!control || !path) return 0;
    while (path[0] == '.' && path[1] == '/') path += 2;
    int absolute = path[0] == '/';
    snprintf(whole, sizeof whole, "%s%s%s", absolute ? "" : here, absolute ? "" : "/", path);
    /* "/a/./b" is "/a/b". */
    for (char *dot; (dot = strstr(whole, "/./")); ) memmove(dot, dot + 2, strlen(dot + 2) + 1);
    size_t length = strlen(root);
    return !strncmp(whole, root, length) && (whole[length] == '/' || !whole[length]);
}

static int is_ours(int fd) {
    if (!control || fd < 0 || fd >= FDS || !ours[fd]) return 0;
    /* A number that was closed behind our back may be a socket by now. */
    struct stat now;
    if (fstat(fd, &now) == 0 && (S_ISREG(now.st_mode) || S_ISDIR(now.st_mode))) return 1;
    ours[fd] = 0;
    return 0;
}

static void pause_ms(int64_t ms) {
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&time, &time) < 0 && errno == EINTR) {}
}

static int refuse(int64_t error) {
    control[REFUSED]++;
    errno = (int)error;
    return -1;
}

/* Waits as long as the disk is to take, and says whether it fails. */
static int meets(enum kind kind) {
    control[OPS]++;
    control[WAITING]++;
    pause_ms(control[DELAY_MS]);
    while (control[BLOCKED]) pause_ms(1);
    control[WAITING]--;
    int64_t error = kind == READ ? control[READ_ERRNO] : kind == LOOK ? 0 : control[WRITE_ERRNO];
    /* A full disk still lets go of files. */
    if (error && !(kind == REMOVE && error == ENOSPC)) return refuse(error);
    return 0;
}

/* How much of a write fits; 0 if nothing does. */
static size_t fits(size_t wanted) {
    if (!control[LIMITED] || !wanted) return wanted;
    int64_t room = control[ROOM];
    for (;;) {
        int64_t taken = room < (int64_t)wanted ? room : (int64_t)wanted;
        if (taken <= 0) {
            refuse(ENOSPC);
            return 0;
        }
        if (atomic_compare_exchange_strong(&control[ROOM], &room, room - taken)) return (size_t)taken;
    }
}

static int opened(int at, const char *path, int flags, mode_t mode) {
    int counted = below(path);
    if (counted) {
        int changes = flags & (O_CREAT | O_WRONLY | O_RDWR | O_TRUNC);
        /* Of a failing disk a file that is there can still be opened. */
        int there = syscall(SYS_faccessat, at, path, F_OK) == 0;
        int readonly = control[WRITE_ERRNO] == EROFS;
        if (meets(changes && (!there || readonly) ? CHANGE : LOOK) < 0) return -1;
    }
    int fd = (int)syscall(SYS_openat, at, path, flags, mode);
    if (fd >= 0 && fd < FDS) ours[fd] = (unsigned char)counted;
    return fd;
}

#define WITH_MODE(flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | __O_TMPFILE)) { \
        va_list list; \
        va_start(list, flags); \
        mode = va_arg(list, mode_t); \
        va_end(list); \
    }

int open(const char *path, int flags, ...) {
    WITH_MODE(flags)
    return opened(AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    WITH_MODE(flags)
    return opened(AT_FDCWD, path, flags, mode);
}
int openat(int at, const char *path, int flags, ...) {
    WITH_MODE(flags)
    return opened(at, path, flags, mode);
}
int openat64(int at, const char *path, int flags, ...) {
    WITH_MODE(flags)
    return opened(at, path, flags, mode);
}

int close(int fd) {
    if (fd >= 0 && fd < FDS) ours[fd] = 0;
    return (int)syscall(SYS_close, fd);
}
int fclose(FILE *file) {
    static int (*real)(FILE *);
    if (!real) real = (int (*)(FILE *))dlsym(RTLD_NEXT, "fclose");
    int fd = fileno(file);
    if (fd >= 0 && fd < FDS) ours[fd] = 0;
    return real(file);
}

ssize_t read(int fd, void *to, size_t n) {
    if (is_ours(fd) && meets(READ) < 0) return -1;
    return syscall(SYS_read, fd, to, n);
}
ssize_t pread(int fd, void *to, size_t n, off_t at) {
    if (is_ours(fd) && meets(READ) < 0) return -1;
    return syscall(SYS_pread64, fd, to, n, at);
}
ssize_t pread64(int fd, void *to, size_t n, off64_t at) { return pread(fd, to, n, at); }
size_t (fread_unlocked)(void *to, size_t size, size_t n, FILE *file) {
    static size_t (*real)(void *, size_t, size_t, FILE *);
    if (!real) real = (size_t (*)(void *, size_t, size_t, FILE *))dlsym(RTLD_NEXT, "fread_unlocked");
    if (is_ours(fileno(file)) && meets(READ) < 0) return 0;
    return real(to, size, n, file);
}

ssize_t write(int fd, const void *from, size_t n) {
    if (is_ours(fd) && (meets(CHANGE) < 0 || (n && !(n = fits(n))))) return -1;
    return syscall(SYS_write, fd, from, n);
}
ssize_t pwrite(int fd, const void *from, size_t n, off_t at) {
    if (is_ours(fd) && (meets(CHANGE) < 0 || (n && !(n = fits(n))))) return -1;
    return syscall(SYS_pwrite64, fd, from, n, at);
}
ssize_t pwrite64(int fd, const void *from, size_t n, off64_t at) { return pwrite(fd, from, n, at); }

#define ON_FILE(kind, name, params, call) \
    int name params { \
        if (is_ours(fd) && meets(kind) < 0) return -1; \
        return (int)syscall call; \
    }
#define SYNC(name, call) \
    int name(int fd) { \
        if (is_ours(fd)) { \
            if (meets(CHANGE) < 0) return -1; \
            control[SYNCS]++; \
        } \
        return (int)syscall(call, fd); \
    }
SYNC(fsync, SYS_fsync)
SYNC(fdatasync, SYS_fdatasync)
ON_FILE(CHANGE, ftruncate, (int fd, off_t n), (SYS_ftruncate, fd, n))
ON_FILE(CHANGE, ftruncate64, (int fd, off64_t n), (SYS_ftruncate, fd, n))
ON_FILE(CHANGE, sync_file_range, (int fd, off64_t at, off64_t n, unsigned flags),
        (SYS_sync_file_range, fd, at, n, flags))

static int allocates(int fd, int mode, off_t at, off_t n) {
    if (is_ours(fd)) {
        if (meets(CHANGE) < 0) return -1;
        if (control[LIMITED] && control[ROOM] < n) return refuse(ENOSPC);
    }
    return (int)syscall(SYS_fallocate, fd, mode, at, n);
}
int fallocate(int fd, int mode, off_t at, off_t n) { return allocates(fd, mode, at, n); }
int fallocate64(int fd, int mode, off64_t at, off64_t n) { return allocates(fd, mode, at, n); }
int posix_fallocate(int fd, off_t at, off_t n) { return allocates(fd, 0, at, n) ? errno : 0; }
int posix_fallocate64(int fd, off64_t at, off64_t n) { return allocates(fd, 0, at, n) ? errno : 0; }

#define ON_PATH(kind, name, params, call) \
    int name params { \
        if (below(path) && meets(kind) < 0) return -1; \
        return (int)syscall call; \
    }
ON_PATH(CHANGE, rename, (const char *path, const char *to), (SYS_renameat2, AT_FDCWD, path, AT_FDCWD, to, 0))
ON_PATH(CHANGE, link, (const char *path, const char *to), (SYS_linkat, AT_FDCWD, path, AT_FDCWD, to, 0))
ON_PATH(CHANGE, mkdir, (const char *path, mode_t mode), (SYS_mkdirat, AT_FDCWD, path, mode))
ON_PATH(REMOVE, unlink, (const char *path), (SYS_unlinkat, AT_FDCWD, path, 0))
ON_PATH(REMOVE, rmdir, (const char *path), (SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR))
ON_PATH(REMOVE, unlinkat, (int at, const char *path, int flags), (SYS_unlinkat, at, path, flags))
ON_PATH(LOOK, access, (const char *path, int mode), (SYS_faccessat, AT_FDCWD, path, mode))
ON_PATH(LOOK, stat, (const char *path, struct stat *to), (SYS_newfstatat, AT_FDCWD, path, to, 0))
ON_PATH(LOOK, stat64, (const char *path, struct stat64 *to), (SYS_newfstatat, AT_FDCWD, path, to, 0))
ON_PATH(LOOK, lstat, (const char *path, struct stat *to),
        (SYS_newfstatat, AT_FDCWD, path, to, AT_SYMLINK_NOFOLLOW))
ON_PATH(LOOK, lstat64, (const char *path, struct stat64 *to),
        (SYS_newfstatat, AT_FDCWD, path, to, AT_SYMLINK_NOFOLLOW))
ON_PATH(LOOK, statx, (int at, const char *restrict path, int flags, unsigned mask, struct statx *restrict to),
        (SYS_statx, at, path, flags, mask, to))

#define FREE_SPACE(name, type) \
    int name(const char *restrict path, struct type *restrict to) { \
        static int (*real)(const char *, struct type *); \
        if (!real) real = (int (*)(const char *, struct type *))dlsym(RTLD_NEXT, #name); \
        if (below(path) && meets(LOOK) < 0) return -1; \
        return real(path, to); \
    }
FREE_SPACE(statvfs, statvfs)
FREE_SPACE(statvfs64, statvfs64)
