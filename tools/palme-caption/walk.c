/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * walk.c - the inputs of a run, one after the other.
 */
#include "walk.h"
#include "complain.h"
#include "input.h"
#include "seen.h"
#include "stop.h"
#include "watch.h"

#include <dirent.h>
#include <errno.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Bytes of a list at a time. */
#define PIECE 65536

/* A folder that the walk is in: its names, and which is next. */
struct level {
    char *path;
    GString *names; /* each with its NUL */
    GArray *order;  /* gsize: where in `names` each begins, in the order of their bytes */
    guint next;
};

struct caption_walk {
    const struct caption_settings *settings;
    int item;        /* the next of the command line */
    GString *list;   /* bytes of the list that are not handed out */
    gsize list_read; /* of these */
    gboolean list_ended;
    GPtrArray *levels;             /* struct level *; the last one is the innermost */
    GPtrArray *folders;            /* struct caption_folder *, all there were */
    struct caption_folder *folder; /* that the levels belong to; NULL: a watched one */
    gsize top_length;              /* of the outermost level's path */
    GQueue complaints;             /* struct caption_entry *, to be handed out first */
    struct caption_watch *watch;
    struct caption_seen seen; /* states of files that the watched folder gave */
};

/* ---- Folders ------------------------------------------------------------------------------ */

static int compare(gconstpointer a, gconstpointer b, gpointer names)
{
    return strcmp((const char *)names + *(const gsize *)a, (const char *)names + *(const gsize *)b);
}

static void level_free(gpointer data)
{
    struct level *level = data;

    g_free(level->path);
    g_string_free(level->names, TRUE);
    g_array_unref(level->order);
    g_free(level);
}

/* What is in a folder, without hidden names; NULL: errno says why. */
static struct level *level_new(const char *path)
{
    DIR *directory = opendir(path);
    struct dirent *entry;
    struct level *level;

    if (!directory)
        return NULL;
    level = g_new0(struct level, 1);
    level->path = g_strdup(path);
    level->names = g_string_new(NULL);
    level->order = g_array_new(FALSE, FALSE, sizeof(gsize));
    while ((entry = readdir(directory)))
        if (entry->d_name[0] != '.') {
            g_array_append_val(level->order, level->names->len);
            g_string_append_len(level->names, entry->d_name, (gssize)strlen(entry->d_name) + 1);
        }
    closedir(directory);
    g_array_sort_with_data(level->order, compare, level->names->str);
    return level;
}

/* Says of a part of the folder that errno is wrong with it. */
static void complain_about(struct caption_walk *walk, const char *part, const char *what)
{
    struct caption_entry *entry = g_new0(struct caption_entry, 1);
    const char *name = walk->folder ? walk->folder->name : walk->settings->watched;
    const char *path = walk->folder ? walk->folder->path : walk->settings->watched;

    entry->kind = CAPTION_ENTRY_COMPLAINT;
    entry->name = g_strdup(name);
    entry->why = strcmp(part, path) == 0 ? g_strdup_printf("%s%s", what, g_strerror(errno))
                                         : g_strdup_printf("%s: %s%s", part, what, g_strerror(errno));
    g_queue_push_tail(&walk->complaints, entry);
    if (walk->folder)
        walk->folder->failed = TRUE;
}

static void enter(struct caption_walk *walk, const char *path)
{
    struct level *level = level_new(path);

    if (level)
        g_ptr_array_add(walk->levels, level);
    else
        complain_about(walk, path, "cannot be entered: ");
}

static void enter_top(struct caption_walk *walk, const char *name, char *path)
{
    struct caption_folder *folder = g_new0(struct caption_folder, 1);

    folder->name = g_strdup(name);
    folder->path = path;
    g_ptr_array_add(walk->folders, folder);
    walk->folder = folder;
    walk->top_length = strlen(path);
    enter(walk, path);
}

static gint64 mtime_of(const struct stat *status)
{
    return (gint64)status->st_mtim.tv_sec * 1000000000 + status->st_mtim.tv_nsec;
}

/* Makes an input of a regular file in a folder; takes the name. */
static void found(struct caption_walk *walk, struct caption_entry *entry, char *name, const struct stat *status)
{
    entry->kind = CAPTION_ENTRY_INPUT;
    entry->name = name;
    entry->path = g_strdup(name);
    entry->inner = walk->top_length;
    while (entry->path[entry->inner] == '/')
        entry->inner++;
    entry->folder = walk->folder;
    entry->found = TRUE;
    entry->size = status->st_size;
    entry->mtime = mtime_of(status);
    if (walk->folder)
        walk->folder->files++;
}

/* Whether the watched folder has not given this file in this state; *status is of the file. */
static gboolean is_news(struct caption_walk *walk, const char *name, const struct stat *status)
{
    char *state = g_strdup_printf("%s\n%" G_GINT64_FORMAT " %" G_GINT64_FORMAT " %" G_GUINT64_FORMAT, name,
                                  (gint64)status->st_size, mtime_of(status), (guint64)status->st_ino);
    gboolean news = caption_seen_add(&walk->seen, state, strlen(state));

    g_free(state);
    return news;
}

/* Files of the kernel: they are made up, often have no end, and reading one may wait for ever or take away what others
 * wait for. Whoever wants one names it. */
static gboolean is_of_kernel(const char *path)
{
    struct statfs system;

    return statfs(path, &system) == 0 && (system.f_type == PROC_SUPER_MAGIC || system.f_type == SYSFS_MAGIC);
}

/* A regular file, or a link to one, that is not the kernel's: what folders are searched for. */
static gboolean is_file(const char *path, struct stat *status)
{
    return stat(path, status) == 0 && S_ISREG(status->st_mode) && !is_of_kernel(path);
}

/* The next file of the innermost folder; FALSE: there is another folder to look at, or none. */
static gboolean next_in_level(struct caption_walk *walk, struct caption_entry *entry)
{
    struct level *level = walk->levels->pdata[walk->levels->len - 1];
    struct stat status;
    char *name;

    if (level->next == level->order->len) {
        g_ptr_array_remove_index(walk->levels, walk->levels->len - 1);
        return FALSE;
    }
    name = g_build_filename(level->path, level->names->str + g_array_index(level->order, gsize, level->next++), NULL);
    /* A link to a folder may lead back up. What has just gone needs no words. */
    if (lstat(name, &status) != 0) {
        if (errno != ENOENT)
            complain_about(walk, name, "");
    } else if (S_ISDIR(status.st_mode)) {
        if (!walk->settings->no_recursion && !is_of_kernel(name))
            enter(walk, name);
    } else if (is_file(name, &status) &&
               (walk->folder || (!caption_watch_is_open(name) && is_news(walk, name, &status)))) {
        found(walk, entry, name, &status);
        return TRUE;
    }
    g_free(name);
    return FALSE;
}

/* ---- Lists -------------------------------------------------------------------------------- */

/* The next name of the list, to be freed; NULL: it has ended, or the run shall end. */
static char *next_of_list(struct caption_walk *walk)
{
    char separator = walk->settings->separator;

    for (;;) {
        const char *begin = walk->list->str + walk->list_read;
        gsize left = walk->list->len - walk->list_read;
        const char *end = memchr(begin, separator, left);
        char piece[PIECE];
        ssize_t got;

        if (end || (walk->list_ended && left)) {
            char *name = g_strndup(begin, end ? (gsize)(end - begin) : left);

            walk->list_read = end ? (gsize)(end + 1 - walk->list->str) : walk->list->len;
            if (*name)
                return name;
            g_free(name);
            continue;
        }
        if (walk->list_ended)
            return NULL;
        g_string_erase(walk->list, 0, (gssize)walk->list_read);
        walk->list_read = 0;
        if (!caption_stop_wait(STDIN_FILENO))
            return NULL;
        got = read(STDIN_FILENO, piece, sizeof piece);
        if (got > 0) {
            g_string_append_len(walk->list, piece, got);
        } else if (got == 0) {
            walk->list_ended = TRUE;
        } else if (errno != EINTR && errno != EAGAIN) {
            caption_complain("--stdin", "cannot be read: %s", g_strerror(errno));
            walk->list_ended = TRUE;
        }
    }
}

/* ---- All of them -------------------------------------------------------------------------- */

/* An input of the command line or the list, which may be a folder. */
static gboolean given(struct caption_walk *walk, struct caption_entry *entry, const char *name)
{
    char *folder = caption_input_folder(name);
    struct stat status;

    if (folder) {
        enter_top(walk, name, folder);
        return FALSE;
    }
    entry->kind = CAPTION_ENTRY_INPUT;
    entry->name = g_strdup(name);
    entry->path = caption_input_path(name);
    if (entry->path && stat(entry->path, &status) == 0) {
        const char *slash = strrchr(entry->path, '/');

        entry->inner = slash ? (gsize)(slash + 1 - entry->path) : 0;
        entry->size = status.st_size;
        entry->mtime = mtime_of(&status);
    }
    return TRUE;
}

/* What happened in the watched folder; FALSE: look again. */
static gboolean next_of_watch(struct caption_walk *walk, struct caption_entry *entry)
{
    struct stat status;
    char *name = NULL;

    switch (caption_watch_next(walk->watch, &name)) {
    case CAPTION_WATCH_FILE:
        if (!is_file(name, &status) || !is_news(walk, name, &status))
            break;
        found(walk, entry, name, &status);
        entry->news = TRUE;
        return TRUE;
    case CAPTION_WATCH_FOLDER: enter(walk, name); break;
    case CAPTION_WATCH_GONE:
        errno = ENOENT;
        complain_about(walk, walk->settings->watched, "");
        caption_watch_free(walk->watch);
        walk->watch = NULL;
        break;
    case CAPTION_WATCH_END: return TRUE;
    }
    g_free(name);
    return FALSE;
}

void caption_walk_next(struct caption_walk *walk, struct caption_entry *entry)
{
    const struct caption_settings *s = walk->settings;

    *entry = (struct caption_entry){ .kind = CAPTION_ENTRY_END, .size = -1, .mtime = -1 };
    while (!caption_stopped()) {
        char *name;

        if (walk->complaints.length) {
            struct caption_entry *complaint = g_queue_pop_head(&walk->complaints);

            *entry = *complaint;
            g_free(complaint);
            return;
        }
        if (walk->watch) /* or they would be too many for the system to keep */
            caption_watch_collect(walk->watch);
        if (walk->levels->len) {
            if (next_in_level(walk, entry))
                return;
        } else if (walk->folder) {
            entry->kind = CAPTION_ENTRY_FOLDER_END;
            entry->folder = walk->folder;
            walk->folder = NULL;
            return;
        } else if (walk->item < s->item_count) {
            if (given(walk, entry, s->items[walk->item++]))
                return;
        } else if (s->list && (name = next_of_list(walk))) {
            gboolean is_input = given(walk, entry, name);

            g_free(name);
            if (is_input)
                return;
        } else if (walk->watch) {
            if (next_of_watch(walk, entry))
                return;
        } else {
            return;
        }
    }
}

void caption_entry_clear(struct caption_entry *entry)
{
    g_clear_pointer(&entry->name, g_free);
    g_clear_pointer(&entry->path, g_free);
    g_clear_pointer(&entry->why, g_free);
}

static void folder_free(gpointer data)
{
    struct caption_folder *folder = data;

    g_free(folder->name);
    g_free(folder->path);
    g_free(folder);
}

struct caption_walk *caption_walk_new(const struct caption_settings *settings)
{
    struct caption_walk *walk = g_new0(struct caption_walk, 1);
    char *why = NULL;

    walk->settings = settings;
    walk->list = g_string_new(NULL);
    walk->levels = g_ptr_array_new_with_free_func(level_free);
    walk->folders = g_ptr_array_new_with_free_func(folder_free);
    g_queue_init(&walk->complaints);
    if (settings->watched) {
        /* It is watched before it is listed, so that nothing comes in between. */
        walk->watch = caption_watch_new(settings->watched, !settings->no_recursion, &why);
        if (!walk->watch) {
            caption_complain(settings->watched, "%s", why);
            g_free(why);
            caption_walk_free(walk);
            return NULL;
        }
        walk->top_length = strlen(settings->watched);
    }
    return walk;
}

void caption_walk_free(struct caption_walk *walk)
{
    struct caption_entry *complaint;

    while ((complaint = g_queue_pop_head(&walk->complaints))) {
        caption_entry_clear(complaint);
        g_free(complaint);
    }
    if (walk->watch)
        caption_watch_free(walk->watch);
    caption_seen_clear(&walk->seen);
    g_string_free(walk->list, TRUE);
    g_ptr_array_unref(walk->levels);
    g_ptr_array_unref(walk->folders);
    g_free(walk);
}

/* ---- How many there will be ---------------------------------------------------------------- */

static guint64 count_folder(const char *path, gboolean recursive)
{
    DIR *directory = opendir(path);
    struct dirent *entry;
    guint64 count = 0;

    while (directory && (entry = readdir(directory)) && !caption_stopped()) {
        unsigned char type = entry->d_type;
        struct stat status;
        char *name;

        if (entry->d_name[0] == '.')
            continue;
        name = g_build_filename(path, entry->d_name, NULL);
        if (type == DT_UNKNOWN && lstat(name, &status) == 0)
            type = S_ISDIR(status.st_mode) ? DT_DIR : S_ISREG(status.st_mode) ? DT_REG : DT_LNK;
        if (type == DT_DIR)
            count += recursive && !is_of_kernel(name) ? count_folder(name, recursive) : 0;
        else if (type == DT_REG || (type == DT_LNK && is_file(name, &status)))
            count++;
        g_free(name);
    }
    if (directory)
        closedir(directory);
    return count;
}

guint64 caption_walk_count(const struct caption_settings *settings)
{
    guint64 count = 0;

    if (settings->list || settings->watched)
        return 0;
    for (int i = 0; i < settings->item_count; i++) {
        char *folder = caption_input_folder(settings->items[i]);

        count += folder ? count_folder(folder, !settings->no_recursion) : 1;
        g_free(folder);
    }
    return count;
}
