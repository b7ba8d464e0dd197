/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * processors.c - how many processors this process may use: those of its affinity mask, and no more than the CPU
 * quotas of its control groups pay for. A container with the time of two processors sees all 64 of its host, and 64
 * threads that share the time of two are stopped in the middle of their work most of the time.
 *
 * Both versions of control groups are asked, as both may be mounted. /proc/self/cgroup has the path of this
 * process in each hierarchy, /proc/self/mountinfo where which part of a hierarchy is mounted. A group
 * has the limits of all groups above it, as far up as they are mounted.
 */
#include "compute/processors.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "palme.h"

enum {
    LINE_BYTES = 1024, /* of a line of these files; what is longer is cut, and belongs to no control group */
    PATH_BYTES = 2560,
    MASK_BYTES = 4096 /* an affinity mask for 32768 processors */
};

/* ---- Files -------------------------------------------------------------------------------- */

struct lines {
    int fd;
    size_t count, at; /* bytes in `bytes`, and of them given out */
    char bytes[512], line[LINE_BYTES];
};

static int lines_open(struct lines *lines, const char *root, const char *folder, const char *file)
{
    char name[PATH_BYTES];

    if (snprintf(name, sizeof name, "%s%s/%s", root, folder, file) >= (int)sizeof name)
        return -1;
    *lines = (struct lines){ .fd = -1 };
    lines->fd = open(name, O_RDONLY | O_CLOEXEC);
    return lines->fd < 0 ? -1 : 0;
}

/* The next line, without its end, or NULL. */
static char *lines_next(struct lines *lines)
{
    size_t length = 0;

    for (;;) {
        if (lines->at == lines->count) {
            ssize_t n;

            do
                n = read(lines->fd, lines->bytes, sizeof lines->bytes);
            while (n < 0 && errno == EINTR);
            if (n <= 0)
                break;
            lines->at = 0;
            lines->count = (size_t)n;
        }
        char c = lines->bytes[lines->at++];

        if (c == '\n') {
            lines->line[length] = '\0';
            return lines->line;
        }
        if (length < sizeof lines->line - 1)
            lines->line[length++] = c;
    }
    lines->line[length] = '\0';
    return length ? lines->line : NULL;
}

static void lines_close(struct lines *lines)
{
    close(lines->fd);
}

/* The first line of a small file, in lines->line; NULL if there is none. */
static const char *first_line(struct lines *lines, const char *root, const char *folder, const char *file)
{
    const char *line;

    if (lines_open(lines, root, folder, file) < 0)
        return NULL;
    line = lines_next(lines);
    lines_close(lines);
    return line;
}

/* ---- Where the groups are ----------------------------------------------------------------- */

struct mount {
    int version;            /* of control groups: 1 or 2 */
    char root[LINE_BYTES];  /* the group that is mounted */
    char point[LINE_BYTES]; /* where */
};

/* Whether a list with commas has this word. */
static int has_word(const char *list, const char *word)
{
    size_t length = strlen(word);

    for (; list; list = strchr(list, ',') ? strchr(list, ',') + 1 : NULL)
        if (strncmp(list, word, length) == 0 && (list[length] == ',' || list[length] == '\0'))
            return 1;
    return 0;
}

/* mountinfo writes blanks and backslashes as a backslash and three octal digits. */
static void unescape(char *out, const char *text)
{
    while (*text) {
        if (text[0] == '\\' && text[1] >= '0' && text[1] <= '3' && text[2] >= '0' && text[2] <= '7' && text[3] >= '0' &&
            text[3] <= '7') {
            *out++ = (char)((text[1] - '0') << 6 | (text[2] - '0') << 3 | (text[3] - '0'));
            text += 4;
        } else {
            *out++ = *text++;
        }
    }
    *out = '\0';
}

/* A line of mountinfo: ID PARENT DEVICE ROOT POINT OPTIONS [MORE...] - TYPE SOURCE OPTIONS. Returns 0 if it is no
 * hierarchy that limits processors. The line is taken apart. */
static int read_mount(struct mount *mount, char *line)
{
    char *end = strstr(line, " - "), *rest = NULL, *word = strtok_r(line, " ", &rest), *type, *options;
    char *root = NULL, *point = NULL;

    if (!end)
        return 0;
    for (int i = 0; word && word < end && i < 5; i++, word = strtok_r(NULL, " ", &rest)) {
        root = i == 3 ? word : root;
        point = i == 4 ? word : point;
    }
    type = strtok_r(end + 3, " ", &rest);
    strtok_r(NULL, " ", &rest);
    options = strtok_r(NULL, " ", &rest);
    if (!root || !point || !type)
        return 0;
    if (strcmp(type, "cgroup2") == 0)
        mount->version = 2;
    else if (strcmp(type, "cgroup") == 0 && options && has_word(options, "cpu"))
        mount->version = 1;
    else
        return 0;
    unescape(mount->root, root);
    unescape(mount->point, point);
    return 1;
}

/* The path of this process in a hierarchy, out of lines ID:CONTROLLERS:PATH. Returns 0 if it is in none. */
static int own_group(char *out, size_t size, struct lines *lines, const char *root, int version)
{
    int found = 0;
    char *line;

    if (lines_open(lines, root, "/proc/self", "cgroup") < 0)
        return 0;
    while (!found && (line = lines_next(lines))) {
        char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;

        if (!path)
            continue;
        *controllers++ = '\0';
        *path++ = '\0';
        if (version == 2 ? strcmp(line, "0") == 0 && *controllers == '\0' : has_word(controllers, "cpu"))
            found = snprintf(out, size, "%s", path) < (int)size;
    }
    lines_close(lines);
    return found;
}

/* ---- Quotas ------------------------------------------------------------------------------- */

static int rounded_up(long long quota, long long period)
{
    if (quota <= 0 || period <= 0)
        return 0;
    long long processors = (quota - 1) / period + 1;
    return processors > INT_MAX ? INT_MAX : (int)processors;
}

/* The limit of one folder, 0: none. */
static int quota_here(struct lines *lines, const char *root, const char *folder, int version)
{
    const char *line = first_line(lines, root, folder, version == 2 ? "cpu.max" : "cpu.cfs_quota_us");
    long long quota;
    char *end;

    if (!line)
        return 0;
    quota = strtoll(line, &end, 10); /* "max" and -1 stand for none */
    if (end == line || quota <= 0)
        return 0;
    if (version == 2)
        return rounded_up(quota, strtoll(end, NULL, 10));
    line = first_line(lines, root, folder, "cpu.cfs_period_us");
    return line ? rounded_up(quota, strtoll(line, NULL, 10)) : 0;
}

/* The least limit on the way from the group up to what is mounted. */
static int quota_of(struct lines *lines, const char *root, const struct mount *mount, const char *group)
{
    size_t mounted = strcmp(mount->root, "/") == 0 ? 0 : strlen(mount->root), stem = strlen(mount->point);
    char folder[PATH_BYTES];
    int least = 0;

    /* In a namespace of its own a process may see itself outside of what is mounted: then that is what there is. */
    if (strncmp(group, mount->root, mounted) != 0 || (group[mounted] != '/' && group[mounted] != '\0') ||
        strstr(group, "/.."))
        group = "";
    else
        group += mounted;
    if (snprintf(folder, sizeof folder, "%s%s", mount->point, group) >= (int)sizeof folder)
        return 0;
    for (;;) {
        int quota = quota_here(lines, root, folder, mount->version);
        char *slash = strrchr(folder, '/');

        if (quota && (!least || quota < least))
            least = quota;
        if (!slash || strlen(folder) <= stem)
            return least;
        *slash = '\0';
    }
}

int palme_processors_quota(const char *root)
{
    struct lines mounts, lines;
    char group[LINE_BYTES], *line;
    struct mount mount;
    int least = 0;

    if (lines_open(&mounts, root, "/proc/self", "mountinfo") < 0)
        return 0;
    while ((line = lines_next(&mounts))) {
        int quota = 0;

        if (read_mount(&mount, line) && own_group(group, sizeof group, &lines, root, mount.version))
            quota = quota_of(&lines, root, &mount, group);
        if (quota && (!least || quota < least))
            least = quota;
    }
    lines_close(&mounts);
    return least;
}

/* ---- The answer --------------------------------------------------------------------------- */

int palme_processors(void)
{
    unsigned long mask[MASK_BYTES / sizeof(unsigned long)];
    int count = 0, quota = palme_processors_quota("");

    memset(mask, 0, sizeof mask);
    if (sched_getaffinity(0, sizeof mask, (cpu_set_t *)(void *)mask) == 0)
        for (size_t i = 0; i < sizeof mask / sizeof mask[0]; i++)
            count += __builtin_popcountl(mask[i]);
    if (count < 1)
        count = 1;
    return quota && quota < count ? quota : count;
}
