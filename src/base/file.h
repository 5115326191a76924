/* file.h: whole files, mapped or read. Regular files only: pipes and devices are refused (standard input and process
 * substitutions are the command line's business). */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

struct file_map {
    const unsigned char *data; /* size bytes, read-only; NULL when size is 0 */
    size_t size;
};

/* Maps a regular file read-only. Errors name the path: missing, a folder, unreadable. */
tempera_status file_map_open(struct file_map *map, const char *path, tempera_error *err);
void file_map_close(struct file_map *map);
/* Tells the system that bytes [offset, offset+length) will not be read again (they leave our resident set). */
void file_map_forget(const struct file_map *map, size_t offset, size_t length);
/* Advice about bytes of a mapping: they are all about to be read, in one call what would be a page fault for every few
 * of them; and they will not be read again, or seldom (whole pages that hold any of them leave our resident set, and
 * come back when read). */
void file_pages_fetch(const void *data, size_t length);
void file_pages_release(const void *data, size_t length);

/* Reads a file of at most `max` bytes; *text is owned by the caller (mem_free), terminated by a 0 byte not counted. */
tempera_status file_read(const char *path, size_t max, char **text, size_t *length, tempera_error *err);
bool file_exists(const char *path); /* a regular file, or a link to one */
bool folder_exists(const char *path);
/* "folder/name", owned by the caller (mem_free); NULL when out of memory. */
char *path_join(const char *folder, const char *name);

#endif
