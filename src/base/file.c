/* file.c: whole files, mapped or read. Only regular files are opened: a FIFO or device planted in a model
 * folder must not make us wait or read without end. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/num.h"

static tempera_status fail_errno(tempera_error *err, const char *path, const char *verb) {
    char text[128];
    int code = errno;
    if (strerror_r(code, text, sizeof text) != 0) return fail(err, TEMPERA_IO, "%s: cannot %s (%d)", path, verb, code);
    return fail(err, TEMPERA_IO, "%s: cannot %s: %s", path, verb, text);
}

/* Opens a regular file; *fd is the caller's. O_NONBLOCK keeps open() itself from waiting on a FIFO. */
static tempera_status open_regular(const char *path, int *fd, size_t *size, tempera_error *err) {
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0) return fail_errno(err, path, "open");
    struct stat info;
    tempera_status status = TEMPERA_OK;
    if (fstat(*fd, &info) != 0)
        status = fail_errno(err, path, "open");
    else if (S_ISDIR(info.st_mode))
        status = fail(err, TEMPERA_IO, "%s: expected a file, found a folder", path);
    else if (!S_ISREG(info.st_mode))
        status = fail(err, TEMPERA_IO, "%s: expected a regular file, found a pipe, socket or device", path);
    if (status == TEMPERA_OK)
        *size = (size_t)info.st_size;
    else
        close(*fd);
    return status;
}

tempera_status file_map_open(struct file_map *map, const char *path, tempera_error *err) {
    *map = (struct file_map){0};
    int fd;
    size_t size = 0;
    TRY(open_regular(path, &fd, &size, err));
    tempera_status status = TEMPERA_OK;
    if (size > 0) {
        void *data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED)
            status = fail_errno(err, path, "map");
        else
            *map = (struct file_map){.data = data, .size = size};
    }
    close(fd);
    return status;
}

void file_map_close(struct file_map *map) {
    if (map->data) munmap((void *)(uintptr_t)map->data, map->size);
    *map = (struct file_map){0};
}

void file_map_forget(const struct file_map *map, size_t offset, size_t length) {
    if (!map->data || offset > map->size) return;
    if (length > map->size - offset) length = map->size - offset;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t end = offset + length; /* whole pages only: the ragged ends are shared with the neighbours */
    size_t first = round_up(offset, page);
    size_t last = end == map->size ? end : end / page * page;
    if (first < last) (void)madvise((void *)(uintptr_t)(map->data + first), last - first, MADV_DONTNEED);
}

/* Advice about all pages that hold some of the bytes. */
static void advise(const void *data, size_t length, int advice) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), ragged = (uintptr_t)data % page;
    if (length > 0) (void)madvise((void *)((uintptr_t)data - ragged), length + ragged, advice);
}

void file_pages_fetch(const void *data, size_t length) {
#ifdef MADV_POPULATE_READ
    advise(data, length, MADV_POPULATE_READ); /* a kernel before 5.14 refuses it */
#else
    (void)data, (void)length;
#endif
}

void file_pages_release(const void *data, size_t length) {
    advise(data, length, MADV_DONTNEED);
}

/* Reads to the end of the file whatever fstat said: files under /proc claim to be empty, and a file may grow.
 */
static tempera_status read_all(int fd, const char *path, size_t hint, struct buf *b, tempera_error *err) {
    if (hint > b->max)
        return fail(err, TEMPERA_TOO_LONG, "%s: file of %zu bytes, at most %zu are accepted", path, hint, b->max);
    TRY(buf_reserve(b, hint, err));
    for (;;) {
        if (b->length == b->max) {
            char extra;
            ssize_t n = read(fd, &extra, 1);
            if (n == 0) return TEMPERA_OK;
            if (n > 0) return fail(err, TEMPERA_TOO_LONG, "%s: file has more than %zu bytes", path, b->max);
            if (errno != EINTR) return fail_errno(err, path, "read");
            continue;
        }
        if (b->length + 1 >= b->capacity) TRY(buf_reserve(b, 1, err));
        ssize_t n = read(fd, b->data + b->length, b->capacity - 1 - b->length);
        if (n == 0) return TEMPERA_OK;
        if (n > 0)
            b->length += (size_t)n;
        else if (errno != EINTR)
            return fail_errno(err, path, "read");
    }
}

tempera_status file_read(const char *path, size_t max, char **text, size_t *length, tempera_error *err) {
    *text = NULL;
    *length = 0;
    int fd;
    size_t size = 0;
    TRY(open_regular(path, &fd, &size, err));
    struct buf b = {.max = max};
    tempera_status status = read_all(fd, path, size, &b, err);
    close(fd);
    if (status != TEMPERA_OK) {
        buf_free(&b);
        return status;
    }
    b.data[b.length] = 0;
    *text = buf_take(&b, length);
    return TEMPERA_OK;
}

bool file_exists(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

bool folder_exists(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

char *path_join(const char *folder, const char *name) {
    struct buf b = {.max = SIZE_MAX};
    size_t length = strlen(folder);
    const char *slash = length > 0 && folder[length - 1] != '/' ? "/" : "";
    if (buf_printf(&b, NULL, "%s%s%s", folder, slash, name) != TEMPERA_OK) {
        buf_free(&b);
        return NULL;
    }
    return buf_take(&b, NULL);
}
