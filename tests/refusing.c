/* A file system that refuses: loaded before the C library (LD_PRELOAD), for the folder $REFUSING.

What NFS, Lustre, SMB, FAT and FUSE file systems do not have is answered there as they answer:
hard links (EPERM), copy_file_range (EXDEV), flock (ENOLCK), direct writes (EINVAL), writing out a
folder (EINVAL), shared maps (ENODEV), and times finer than two seconds. Elsewhere everything is as it is. Each refusal
adds a letter to the file $REFUSED, so that a test can tell that it happened.
*/
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int refuse(char letter, int error) {
    const char *path = getenv("REFUSED");
    if (path) {
        int file = NEXT(open64)(path, O_WRONLY | O_CREAT | O_APPEND, 0666);
        if (file >= 0) {
            if (write(file, &letter, 1) != 1) abort();
            close(file);
        }
    }
    errno = error;
    return -1;
}

static int below(const char *path) {
    const char *folder = getenv("REFUSING");
    size_t length = folder ? strlen(folder) : 0;
    return length && strncmp(path, folder, length) == 0;
}

/* Is the open file below the folder? */
static int is_there(int descriptor) {
    char link[64], path[PATH_MAX + 1];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, PATH_MAX);
    if (length < 0) return 0;
    path[length] = 0;
    return below(path);
}

/* Is the path, relative to the open folder or the working one, below it? */
static int is_path_there(int folder, const char *path) {
    char place[PATH_MAX + 1], whole[PATH_MAX + 1], link[64];
    if (path[0] == '/') return below(path);
    snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t length = folder == AT_FDCWD ? readlink("/proc/self/cwd", place, PATH_MAX)
                                        : readlink(link, place, PATH_MAX);
    if (length < 0) return 0;
    place[length] = 0;
    if (snprintf(whole, sizeof whole, "%s/%s", place, path) > PATH_MAX) return 0;
    return below(whole);
}

int link(const char *from, const char *to) {
    if (is_path_there(AT_FDCWD, to)) return refuse('l', EPERM);
    return NEXT(link)(from, to);
}

int linkat(int in, const char *from, int out, const char *to, int flags) {
    if (is_path_there(out, to)) return refuse('l', EPERM);
    return NEXT(linkat)(in, from, out, to, flags);
}

ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t count, unsigned flags) {
    if (is_there(out)) return refuse('c', EXDEV);
    return NEXT(copy_file_range)(in, from, out, to, count, flags);
}

int flock(int descriptor, int operation) {
    if (is_there(descriptor)) return refuse('f', ENOLCK);
    return NEXT(flock)(descriptor, operation);
}

int fsync(int descriptor) {
    struct stat64 status;
    if (is_there(descriptor) && NEXT(fstat64)(descriptor, &status) == 0 && S_ISDIR(status.st_mode))
        return refuse('s', EINVAL);
    return NEXT(fsync)(descriptor);
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    if (flags & O_DIRECT && is_path_there(AT_FDCWD, path)) return refuse('d', EINVAL);
    return NEXT(open64)(path, flags, mode);
}

static int maps_nothing(int flags, int descriptor) {
    return (flags & MAP_TYPE) != MAP_PRIVATE && !(flags & MAP_ANONYMOUS) && is_there(descriptor);
}

void *mmap64(void *at, size_t length, int access, int flags, int descriptor, off64_t offset) {
    if (maps_nothing(flags, descriptor)) return refuse('m', ENODEV), MAP_FAILED;
    return NEXT(mmap64)(at, length, access, flags, descriptor, offset);
}

void *mmap(void *at, size_t length, int access, int flags, int descriptor, off_t offset) {
    if (maps_nothing(flags, descriptor)) return refuse('m', ENODEV), MAP_FAILED;
    return NEXT(mmap)(at, length, access, flags, descriptor, offset);
}

static int coarse(int status, int there, struct stat64 *found) {
    if (status == 0 && there) {
        found->st_mtim.tv_sec &= ~(time_t)1;
        found->st_mtim.tv_nsec = 0;
    }
    return status;
}

int stat64(const char *path, struct stat64 *found) {
    return coarse(NEXT(stat64)(path, found), is_path_there(AT_FDCWD, path), found);
}

int lstat64(const char *path, struct stat64 *found) {
    return coarse(NEXT(lstat64)(path, found), is_path_there(AT_FDCWD, path), found);
}

int fstat64(int descriptor, struct stat64 *found) {
    return coarse(NEXT(fstat64)(descriptor, found), is_there(descriptor), found);
}

int fstatat64(int folder, const char *path, struct stat64 *found, int flags) {
    return coarse(NEXT(fstatat64)(folder, path, found, flags), is_path_there(folder, path), found);
}
