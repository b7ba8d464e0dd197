/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * watch.c - what comes into a folder, by inotify.
 */
#include "watch.h"
#include "stop.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define EVENTS (IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR | IN_EXCL_UNLINK)

struct event {
    enum caption_watch_event kind;
    char *name;
};

struct caption_watch {
    int fd, top; /* inotify's, and its number for the folder itself */
    gboolean recursive;
    char *folder;
    GHashTable *paths; /* inotify's number -> path */
    GQueue events;     /* struct event * */
};

static void push(struct caption_watch *watch, enum caption_watch_event kind, const char *name)
{
    struct event *event = g_new(struct event, 1);

    *event = (struct event){ kind, g_strdup(name) };
    g_queue_push_tail(&watch->events, event);
}

/* Watches a folder and those below it. Their files are not listed: the walk does that, behind the event. FALSE: errno
 * says why; folders below that cannot be watched are left out, the walk complains about them. */
static gboolean add(struct caption_watch *watch, const char *path, gboolean is_top)
{
    int number = inotify_add_watch(watch->fd, path, EVENTS);
    struct dirent *entry;
    DIR *directory;

    if (number < 0)
        return FALSE;
    if (is_top)
        watch->top = number;
    g_hash_table_insert(watch->paths, GINT_TO_POINTER(number), g_strdup(path));
    directory = watch->recursive ? opendir(path) : NULL;
    while (directory && (entry = readdir(directory))) {
        struct stat status;
        char *name;

        if (entry->d_name[0] == '.')
            continue;
        name = g_build_filename(path, entry->d_name, NULL);
        if (lstat(name, &status) == 0 && S_ISDIR(status.st_mode))
            add(watch, name, FALSE);
        g_free(name);
    }
    if (directory)
        closedir(directory);
    return TRUE;
}

struct caption_watch *caption_watch_new(const char *folder, gboolean recursive, char **why)
{
    struct caption_watch *watch = g_new0(struct caption_watch, 1);

    watch->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    watch->recursive = recursive;
    watch->folder = g_strdup(folder);
    watch->paths = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    g_queue_init(&watch->events);
    if (watch->fd < 0 || !add(watch, folder, TRUE)) {
        *why = g_strdup_printf("cannot be watched: %s%s", g_strerror(errno),
                               errno == ENOSPC ? " (fs.inotify.max_user_watches is how many folders)" : "");
        caption_watch_free(watch);
        return NULL;
    }
    push(watch, CAPTION_WATCH_FOLDER, folder);
    return watch;
}

void caption_watch_free(struct caption_watch *watch)
{
    struct event *event;

    while ((event = g_queue_pop_head(&watch->events))) {
        g_free(event->name);
        g_free(event);
    }
    if (watch->fd >= 0)
        close(watch->fd);
    g_hash_table_unref(watch->paths);
    g_free(watch->folder);
    g_free(watch);
}

/* One record of inotify. */
static void note(struct caption_watch *watch, const struct inotify_event *record)
{
    const char *path = g_hash_table_lookup(watch->paths, GINT_TO_POINTER(record->wd));
    char *name;

    if (record->mask & IN_Q_OVERFLOW) {
        /* Something was lost: look at all of it, what is known already is left out. */
        add(watch, watch->folder, TRUE);
        push(watch, CAPTION_WATCH_FOLDER, watch->folder);
    } else if (record->wd == watch->top && record->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT)) {
        push(watch, CAPTION_WATCH_GONE, NULL);
    } else if (record->mask & IN_IGNORED) {
        g_hash_table_remove(watch->paths, GINT_TO_POINTER(record->wd));
    } else if (path && record->len && record->name[0] != '.') {
        name = g_build_filename(path, record->name, NULL);
        if (record->mask & IN_ISDIR) {
            if (watch->recursive && record->mask & (IN_CREATE | IN_MOVED_TO) && add(watch, name, FALSE))
                push(watch, CAPTION_WATCH_FOLDER, name);
        } else if (record->mask & (IN_CLOSE_WRITE | IN_MOVED_TO)) {
            push(watch, CAPTION_WATCH_FILE, name);
        }
        g_free(name);
    }
}

void caption_watch_collect(struct caption_watch *watch)
{
    _Alignas(struct inotify_event) char bytes[16384];
    ssize_t got;

    while ((got = read(watch->fd, bytes, sizeof bytes)) > 0)
        for (ssize_t at = 0; at < got;) {
            const struct inotify_event *record = (const struct inotify_event *)(const void *)(bytes + at);

            note(watch, record);
            at += (ssize_t)(sizeof *record + record->len);
        }
}

enum caption_watch_event caption_watch_next(struct caption_watch *watch, char **name)
{
    enum caption_watch_event kind;
    struct event *event;

    *name = NULL;
    caption_watch_collect(watch);
    while (!watch->events.length) {
        if (!caption_stop_wait(watch->fd))
            return CAPTION_WATCH_END;
        caption_watch_collect(watch);
    }
    event = g_queue_pop_head(&watch->events);
    kind = event->kind;
    *name = event->name;
    g_free(event);
    return kind;
}

gboolean caption_watch_is_open(const char *name)
{
    int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    gboolean is = FALSE;

    if (fd < 0)
        return FALSE;
    /* A lease to read is refused while the file is open for writing. */
    if (fcntl(fd, F_SETLEASE, F_RDLCK) == 0)
        fcntl(fd, F_SETLEASE, F_UNLCK);
    else
        is = errno == EAGAIN;
    close(fd);
    return is;
}
