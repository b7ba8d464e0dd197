/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_processors.c - how many processors there are: CPU quotas of control groups in folders made for it, in both
 * versions and mixed, nested, namespaced, half there; and the affinity mask of this process.
 */
#include <errno.h>
#include <ftw.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/check.h"
#include "support/model_builder.h"
#include "palme.h"
#include "compute/processors.h"

/* A file below the root; folders on the way are made. What is one for a path is there for the next. */
static char top[] = "/tmp/palme-processors-XXXXXX", root[512];

static void put(const char *path, const char *text)
{
    char name[1024];

    snprintf(name, sizeof name, "%s%s", root, path);
    for (char *slash = name + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        if (mkdir(name, 0700) < 0 && errno != EEXIST)
            perror(name);
        *slash = '/';
    }
    write_bytes(name, text, strlen(text));
}

static void fresh_root(int number)
{
    snprintf(root, sizeof root, "%s/%d", top, number);
    mkdir(root, 0700);
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status, (void)type, (void)walk;
    return remove(path);
}

#define V2 "30 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
#define V1 "33 25 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:11 - cgroup cgroup rw,cpu,cpuacct\n"
#define CPUACCT "34 25 0:30 / /sys/fs/cgroup/cpuacct rw - cgroup cgroup rw,cpuacct\n"
#define HYBRID "31 25 0:27 / /sys/fs/cgroup/unified rw shared:5 - cgroup2 cgroup2 rw\n"

struct file {
    const char *path, *text;
};

static const struct {
    const char *what;
    struct file files[8];
    int quota;
} cases[] = {
    { "nothing at all", { { NULL, NULL } }, 0 },
    { "no control groups", { { "/proc/self/mountinfo", "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n" } }, 0 },
    { "version 2, no limit",
      { { "/proc/self/mountinfo", V2 },
        { "/proc/self/cgroup", "0::/a\n" },
        { "/sys/fs/cgroup/a/cpu.max", "max 100000\n" } },
      0 },
    { "version 2, two processors",
      { { "/proc/self/mountinfo", V2 },
        { "/proc/self/cgroup", "0::/a\n" },
        { "/sys/fs/cgroup/a/cpu.max", "200000 100000\n" } },
      2 },
    { "version 2, rounded up",
      { { "/proc/self/mountinfo", V2 },
        { "/proc/self/cgroup", "0::/a\n" },
        { "/sys/fs/cgroup/a/cpu.max", "150001 50000\n" } },
      4 },
    { "version 2, a tenth",
      { { "/proc/self/mountinfo", V2 },
        { "/proc/self/cgroup", "0::/a\n" },
        { "/sys/fs/cgroup/a/cpu.max", "10000 100000" } },
      1 },
    { "version 2, the least on the way up",
      { { "/proc/self/mountinfo", V2 },
        { "/proc/self/cgroup", "0::/a/b/c\n" },
        { "/sys/fs/cgroup/a/b/c/cpu.max", "max 100000\n" },
        { "/sys/fs/cgroup/a/b/cpu.max", "300000 100000\n" },
        { "/sys/fs/cgroup/a/cpu.max", "800000 100000\n" } },
      3 },
    { "version 2, the group itself is not there",
      { { "/proc/self/mountinfo", V2 },
        { "/proc/self/cgroup", "0::/a/b\n" },
        { "/sys/fs/cgroup/a/cpu.max", "500000 100000\n" } },
      5 },
    { "version 2, a namespace of its own",
      { { "/proc/self/mountinfo", V2 },
        { "/proc/self/cgroup", "0::/\n" },
        { "/sys/fs/cgroup/cpu.max", "200000 100000\n" } },
      2 },
    { "version 2, a part is mounted",
      { { "/proc/self/mountinfo", "30 23 0:26 /docker/1 /sys/fs/cgroup ro - cgroup2 cgroup ro\n" },
        { "/proc/self/cgroup", "0::/docker/1/x\n" },
        { "/sys/fs/cgroup/x/cpu.max", "max 100000\n" },
        { "/sys/fs/cgroup/cpu.max", "700000 100000\n" } },
      7 },
    { "version 2, outside of what is mounted",
      { { "/proc/self/mountinfo", V2 },
        { "/proc/self/cgroup", "0::/../../other\n" },
        { "/sys/fs/cgroup/cpu.max", "200000 100000\n" } },
      2 },
    { "version 2, a name that only begins alike",
      { { "/proc/self/mountinfo", "30 23 0:26 /docker /sys/fs/cgroup ro - cgroup2 cgroup ro\n" },
        { "/proc/self/cgroup", "0::/dockers/1\n" },
        { "/sys/fs/cgroup/s/1/cpu.max", "100000 100000\n" },
        { "/sys/fs/cgroup/cpu.max", "400000 100000\n" } },
      4 },
    { "version 2, nonsense",
      { { "/proc/self/mountinfo", V2 },
        { "/proc/self/cgroup", "0::/a\n" },
        { "/sys/fs/cgroup/a/cpu.max", "lots of it\n" },
        { "/sys/fs/cgroup/cpu.max", "200000 0\n" } },
      0 },
    { "version 1, two processors",
      { { "/proc/self/mountinfo", CPUACCT V1 },
        { "/proc/self/cgroup", "5:cpuacct:/x\n4:cpu,cpuacct:/a\n1:name=systemd:/y\n" },
        { "/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "200000\n" },
        { "/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n" } },
      2 },
    { "version 1, no limit",
      { { "/proc/self/mountinfo", V1 },
        { "/proc/self/cgroup", "4:cpu,cpuacct:/a\n" },
        { "/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "-1\n" },
        { "/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n" } },
      0 },
    { "version 1, the limit is above, and the period is absent below",
      { { "/proc/self/mountinfo", V1 },
        { "/proc/self/cgroup", "4:cpu,cpuacct:/a/b\n" },
        { "/sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_quota_us", "100000\n" },
        { "/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "150000\n" },
        { "/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n" } },
      2 },
    { "both, version 1 has the controller",
      { { "/proc/self/mountinfo", HYBRID V1 },
        { "/proc/self/cgroup", "4:cpu,cpuacct:/a\n0::/a\n" },
        { "/sys/fs/cgroup/unified/a/cgroup.procs", "1\n" },
        { "/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "300000\n" },
        { "/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n" } },
      3 },
    { "a mount point with a blank",
      { { "/proc/self/mountinfo", "30 23 0:26 / /my\\040groups rw - cgroup2 cgroup2 rw\n" },
        { "/proc/self/cgroup", "0::/a\n" },
        { "/my groups/a/cpu.max", "600000 100000\n" } },
      6 },
};

static void check_quotas(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fresh_root((int)i);
        for (size_t f = 0; f < 8 && cases[i].files[f].path; f++)
            put(cases[i].files[f].path, cases[i].files[f].text);
        CHECK_MESSAGE(palme_processors_quota(root) == cases[i].quota, "%s: %d, wanted %d", cases[i].what,
                      palme_processors_quota(root), cases[i].quota);
    }
    /* A line far longer than any of a control group stands before and after it. */
    static char text[200000];
    size_t used = (size_t)snprintf(text, sizeof text, "40 23 0:40 / /merged rw - overlay overlay rw,lowerdir=");
    memset(text + used, '/', 90000);
    used += 90000;
    used += (size_t)snprintf(text + used, sizeof text - used, "\n%s50 23 0:50 / ", V2);
    memset(text + used, 'x', 90000);
    fresh_root(1000);
    put("/proc/self/mountinfo", text);
    put("/proc/self/cgroup", "0::/\n");
    put("/sys/fs/cgroup/cpu.max", "200000 100000\n");
    CHECK_INT(palme_processors_quota(root), 2);
}

static void check_affinity(void)
{
    cpu_set_t before, one;
    int quota = palme_processors_quota(""), cpu = 0, all;

    CPU_ZERO(&before);
    if (sched_getaffinity(0, sizeof before, &before) < 0)
        return; /* a machine with more processors than that */
    all = CPU_COUNT(&before);
    CHECK_INT(palme_processors(), quota && quota < all ? quota : all);
    while (!CPU_ISSET(cpu, &before))
        cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    CHECK_INT(sched_setaffinity(0, sizeof one, &one), 0);
    CHECK_INT(palme_processors(), 1);
    sched_setaffinity(0, sizeof before, &before);
}

/* A model takes as many threads when it is asked for none. */
static void check_threads(void)
{
    struct builder *b = builder_new("{}", 13);
    palme_model *model = builder_open(b, 0, "f32");
    struct palme_info info;
    int processors = palme_processors();

    palme_model_info(model, &info);
    CHECK(info.threads == 1 || info.threads == (processors < 64 ? processors : 64)); /* 1: built without threads */
    palme_model_close(&model);
    builder_free(b);
}

int main(void)
{
    CHECK(mkdtemp(top) != NULL);
    check_quotas();
    nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    check_affinity();
    check_threads();
    return check_done();
}
