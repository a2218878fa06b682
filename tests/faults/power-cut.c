/*
 * What a power cut would leave of a process's files. Preloaded (LD_PRELOAD) into a gateway, it keeps an image of each watched file as of
 * its last fsync or fdatasync, and the list of names as of the last fsync of their folder. Built and read by power-cut.ts.
 *
 *   JILIAN_CUT_PREFIX  absolute path that the watched files begin with; they are in one folder
 *   JILIAN_CUT_IMAGES  folder of the images, and of the list "names"
 *   JILIAN_CUT_BOOT    file that is read in place of the machine's boot id: after a power cut that is another one
 *   JILIAN_CUT_FULL    while this file is there, the disk is full: what would make a watched file longer fails with ENOSPC; where it is
 *                      not empty so does every write, as on a file system that copies on write
 *
 * An image is taken when the sync begins, with writers held off: no more than what POSIX promises.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_rwlock_t writers = PTHREAD_RWLOCK_INITIALIZER;
static pthread_mutex_t syncs = PTHREAD_MUTEX_INITIALIZER;

static const char *setting(const char *name) {
  const char *value = getenv(name);
  return value && *value ? value : NULL;
}

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

static int path_of(int fd, char *path) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, PATH_MAX - 1);
  if (length <= 0) return 0;
  path[length] = 0;
  return 1;
}

/* The name of a watched file within its folder, or NULL. */
static const char *watched(int fd, char *path) {
  const char *prefix = setting("JILIAN_CUT_PREFIX");
  if (!prefix || !path_of(fd, path) || strncmp(path, prefix, strlen(prefix)) != 0) return NULL;
  if (strstr(path, " (deleted)")) return NULL;
  const char *name = strrchr(path, '/') + 1;
  return name - path > (long)strlen(prefix) ? NULL : name;
}

static int is_full(int fd, long end) {
  const char *control = setting("JILIAN_CUT_FULL");
  struct stat full, now;
  if (!control || stat(control, &full) != 0 || fstat(fd, &now) != 0) return 0;
  return full.st_size > 0 || end > now.st_size;
}

static int copy(int from, const char *to) {
  static char buffer[1 << 16];
  ssize_t (*write_)(int, const void *, size_t) = real("write");
  int out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (out < 0) return -1;
  ssize_t got;
  for (off_t at = 0; (got = pread(from, buffer, sizeof buffer, at)) > 0; at += got)
    if (write_(out, buffer, got) != got) got = -1;
  close(out);
  return got < 0 ? -1 : 0;
}

static void list_names(const char *folder, const char *images) {
  const char *prefix = setting("JILIAN_CUT_PREFIX");
  char temporary[PATH_MAX], final[PATH_MAX];
  snprintf(temporary, sizeof temporary, "%s/names.new", images);
  snprintf(final, sizeof final, "%s/names", images);
  FILE *out = fopen(temporary, "w");
  DIR *dir = opendir(folder);
  const char *own = strrchr(prefix, '/') + 1;
  for (struct dirent *entry; dir && out && (entry = readdir(dir));)
    if (strncmp(entry->d_name, own, strlen(own)) == 0) fprintf(out, "%s\n", entry->d_name);
  if (dir) closedir(dir);
  if (out) fclose(out);
  rename(temporary, final);
}

static int is_folder(const char *path) {
  const char *prefix = setting("JILIAN_CUT_PREFIX");
  size_t length = prefix ? (size_t)(strrchr(prefix, '/') - prefix) : 0;
  return prefix && strlen(path) == length && strncmp(path, prefix, length) == 0;
}

static int synced(int fd, int (*sync_)(int)) {
  char path[PATH_MAX], temporary[PATH_MAX], final[PATH_MAX];
  const char *images = setting("JILIAN_CUT_IMAGES");
  if (!images) return sync_(fd);
  const char *name = watched(fd, path);
  if (!name) {
    int done = sync_(fd);
    if (done == 0 && path_of(fd, path) && is_folder(path)) list_names(path, images);
    return done;
  }
  pthread_mutex_lock(&syncs);
  snprintf(temporary, sizeof temporary, "%s/%s.new", images, name);
  snprintf(final, sizeof final, "%s/%s", images, name);
  /* Read through the caller's descriptor: closing another one of the file would drop SQLite's POSIX locks. */
  pthread_rwlock_wrlock(&writers);
  int copied = copy(fd, temporary);
  pthread_rwlock_unlock(&writers);
  /* Under a limit for files (RLIMIT_FSIZE) there are no images: it holds for them too. */
  struct rlimit limit;
  int limited = getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
  if (copied != 0 && !limited) {
    fprintf(stderr, "power-cut: no image of %s: %s\n", path, strerror(errno));
    _exit(99);
  }
  int done = sync_(fd);
  if (done == 0 && copied == 0) rename(temporary, final);
  pthread_mutex_unlock(&syncs);
  return done;
}

static const char *renamed(const char *path) {
  const char *boot = setting("JILIAN_CUT_BOOT");
  return boot && strcmp(path, "/proc/sys/kernel/random/boot_id") == 0 ? boot : path;
}

#define OPEN(name)                                              \
  int name(const char *path, int flags, ...) {                  \
    int (*call)(const char *, int, ...) = real(#name);          \
    va_list rest;                                               \
    va_start(rest, flags);                                      \
    mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
    va_end(rest);                                               \
    return call(renamed(path), flags, mode);                    \
  }
OPEN(open)
OPEN(open64)

int fsync(int fd) { return synced(fd, real("fsync")); }
int fdatasync(int fd) { return synced(fd, real("fdatasync")); }

#define WATCHED_WRITE(result, end, call)                     \
  char path[PATH_MAX];                                       \
  if (!watched(fd, path)) return call;                       \
  pthread_rwlock_rdlock(&writers);                           \
  result done = -1;                                          \
  if (is_full(fd, (long)(end))) errno = ENOSPC;              \
  else done = call;                                          \
  int error = errno;                                         \
  pthread_rwlock_unlock(&writers);                           \
  errno = error;                                             \
  return done

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at) {
  ssize_t (*call)(int, const void *, size_t, off_t) = real("pwrite");
  WATCHED_WRITE(ssize_t, at + (off_t)size, call(fd, bytes, size, at));
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t at) {
  ssize_t (*call)(int, const void *, size_t, off64_t) = real("pwrite64");
  WATCHED_WRITE(ssize_t, at + (off64_t)size, call(fd, bytes, size, at));
}

ssize_t write(int fd, const void *bytes, size_t size) {
  ssize_t (*call)(int, const void *, size_t) = real("write");
  WATCHED_WRITE(ssize_t, lseek(fd, 0, SEEK_CUR) + (off_t)size, call(fd, bytes, size));
}

int ftruncate(int fd, off_t size) {
  int (*call)(int, off_t) = real("ftruncate");
  WATCHED_WRITE(int, size, call(fd, size));
}

int ftruncate64(int fd, off64_t size) {
  int (*call)(int, off64_t) = real("ftruncate64");
  WATCHED_WRITE(int, size, call(fd, size));
}
