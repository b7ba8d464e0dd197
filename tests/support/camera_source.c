/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * camera_source.c - the element fakecamerasrc: what is hard about a webcam, without one.
 *
 * Like v4l2src it is live, gives YUY2 at a frame rate that it calls 0/1, stamps its frames with jitter, and
 * has four buffers in all, which have to come back. It counts how often it had none to fill (`starved`) and
 * how many are out (`outstanding`); where all four are out it waits, so that an element that keeps them shows
 * as a stall. Only tests build it.
 */
#include <gst/base/gstpushsrc.h>
#include <gst/video/video.h>

#define BUFFERS 4

enum { PROP_0, PROP_FPS, PROP_STARVED, PROP_OUTSTANDING };

/* ---- A pool that counts what is out ------------------------------------------------------- */

typedef struct {
    GstVideoBufferPool parent;
    gint *outstanding; /* of the source, which outlives its pool's buffers in these tests */
    GObject *owner;
} FakeCameraPool;
typedef GstVideoBufferPoolClass FakeCameraPoolClass;

GType fake_camera_pool_get_type(void);
G_DEFINE_TYPE(FakeCameraPool, fake_camera_pool, GST_TYPE_VIDEO_BUFFER_POOL)

/* What the pool lays in at its start passes through release too. */
static gboolean pool_start(GstBufferPool *pool)
{
    gboolean ok = GST_BUFFER_POOL_CLASS(fake_camera_pool_parent_class)->start(pool);

    g_atomic_int_set(((FakeCameraPool *)pool)->outstanding, 0);
    return ok;
}

static GstFlowReturn pool_acquire(GstBufferPool *pool, GstBuffer **buffer, GstBufferPoolAcquireParams *params)
{
    FakeCameraPool *self = (FakeCameraPool *)pool;
    GstFlowReturn flow;

    flow = GST_BUFFER_POOL_CLASS(fake_camera_pool_parent_class)->acquire_buffer(pool, buffer, params);
    if (flow == GST_FLOW_OK)
        g_atomic_int_inc(self->outstanding);
    return flow;
}

static void pool_release(GstBufferPool *pool, GstBuffer *buffer)
{
    FakeCameraPool *self = (FakeCameraPool *)pool;

    g_atomic_int_add(self->outstanding, -1);
    GST_BUFFER_POOL_CLASS(fake_camera_pool_parent_class)->release_buffer(pool, buffer);
}

static void pool_finalize(GObject *object)
{
    g_object_unref(((FakeCameraPool *)object)->owner);
    G_OBJECT_CLASS(fake_camera_pool_parent_class)->finalize(object);
}

static void fake_camera_pool_class_init(FakeCameraPoolClass *klass)
{
    G_OBJECT_CLASS(klass)->finalize = pool_finalize;
    GST_BUFFER_POOL_CLASS(klass)->start = pool_start;
    GST_BUFFER_POOL_CLASS(klass)->acquire_buffer = pool_acquire;
    GST_BUFFER_POOL_CLASS(klass)->release_buffer = pool_release;
}

static void fake_camera_pool_init(FakeCameraPool *self)
{
    (void)self;
}

/* ---- The source --------------------------------------------------------------------------- */

typedef struct {
    GstPushSrc parent;
    gint fps, starved, outstanding;
    GstVideoInfo info;
    guint64 frames;
    guint32 random; /* the same jitter in each run */
} FakeCamera;
typedef GstPushSrcClass FakeCameraClass;

GType fake_camera_get_type(void);
G_DEFINE_TYPE(FakeCamera, fake_camera, GST_TYPE_PUSH_SRC)

static GstStaticPadTemplate src_template =
    GST_STATIC_PAD_TEMPLATE("src", GST_PAD_SRC, GST_PAD_ALWAYS,
                            GST_STATIC_CAPS("video/x-raw, format=YUY2, width=320, height=240, framerate=0/1, "
                                            "pixel-aspect-ratio=1/1, interlace-mode=progressive, colorimetry=bt601"));

static gboolean camera_start(GstBaseSrc *src)
{
    FakeCamera *self = (FakeCamera *)src;

    self->frames = 0;
    self->random = 1;
    return TRUE;
}

static gboolean camera_set_caps(GstBaseSrc *src, GstCaps *caps)
{
    return gst_video_info_from_caps(&((FakeCamera *)src)->info, caps);
}

/* A driver has its own buffers and takes nobody else's. */
static gboolean camera_decide_allocation(GstBaseSrc *src, GstQuery *query)
{
    FakeCamera *self = (FakeCamera *)src;
    FakeCameraPool *pool = g_object_new(fake_camera_pool_get_type(), NULL);
    GstStructure *config;
    GstCaps *caps;

    gst_object_ref_sink(pool);
    pool->outstanding = &self->outstanding;
    pool->owner = g_object_ref(G_OBJECT(src));
    gst_query_parse_allocation(query, &caps, NULL);
    config = gst_buffer_pool_get_config(GST_BUFFER_POOL(pool));
    gst_buffer_pool_config_set_params(config, caps, (guint)self->info.size, BUFFERS, BUFFERS);
    gst_buffer_pool_set_config(GST_BUFFER_POOL(pool), config);

    while (gst_query_get_n_allocation_pools(query) > 0)
        gst_query_remove_nth_allocation_pool(query, 0);
    gst_query_add_allocation_pool(query, GST_BUFFER_POOL(pool), (guint)self->info.size, BUFFERS, BUFFERS);
    gst_object_unref(pool);
    return TRUE;
}

static GstFlowReturn camera_alloc(GstPushSrc *src, GstBuffer **buffer)
{
    FakeCamera *self = (FakeCamera *)src;
    GstBufferPoolAcquireParams params = { .flags = GST_BUFFER_POOL_ACQUIRE_FLAG_DONTWAIT };
    GstBufferPool *pool = gst_base_src_get_buffer_pool(GST_BASE_SRC(src));
    GstFlowReturn flow = gst_buffer_pool_acquire_buffer(pool, buffer, &params);

    if (flow == GST_FLOW_EOS) {
        g_atomic_int_inc(&self->starved);
        flow = gst_buffer_pool_acquire_buffer(pool, buffer, NULL);
    }
    gst_object_unref(pool);
    return flow;
}

/* A bar that wanders over a grey ramp: something to see, different in each frame. */
static GstFlowReturn camera_fill(GstPushSrc *src, GstBuffer *buffer)
{
    FakeCamera *self = (FakeCamera *)src;
    GstClockTime period = GST_SECOND / (guint64)self->fps;
    GstVideoFrame frame;

    if (!gst_video_frame_map(&frame, &self->info, buffer, GST_MAP_WRITE))
        return GST_FLOW_ERROR;
    for (int y = 0; y < GST_VIDEO_FRAME_HEIGHT(&frame); y++) {
        guint8 *row = (guint8 *)GST_VIDEO_FRAME_PLANE_DATA(&frame, 0) + y * GST_VIDEO_FRAME_PLANE_STRIDE(&frame, 0);

        for (int x = 0; x < GST_VIDEO_FRAME_WIDTH(&frame); x++) {
            gboolean bar = (x + (int)self->frames * 4) % 80 < 12;

            row[2 * x] = (guint8)(bar ? 220 : 40 + y / 2);
            row[2 * x + 1] = (guint8)(bar ? 90 : 128);
        }
    }
    gst_video_frame_unmap(&frame);

    /* Up to four tenths of a period late, never out of order. */
    self->random = self->random * 1664525u + 1013904223u;
    GST_BUFFER_PTS(buffer) = self->frames * period + (self->random >> 16) % 1000 * period * 4 / 10000;
    GST_BUFFER_DURATION(buffer) = GST_CLOCK_TIME_NONE;
    self->frames++;
    return GST_FLOW_OK;
}

static void camera_get_times(GstBaseSrc *src, GstBuffer *buffer, GstClockTime *start, GstClockTime *end)
{
    (void)src;
    *start = GST_BUFFER_PTS(buffer);
    *end = GST_CLOCK_TIME_NONE;
}

static void camera_set_property(GObject *object, guint id, const GValue *value, GParamSpec *pspec)
{
    if (id == PROP_FPS)
        ((FakeCamera *)object)->fps = g_value_get_int(value);
    else
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, pspec);
}

static void camera_get_property(GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
    FakeCamera *self = (FakeCamera *)object;

    switch (id) {
    case PROP_FPS: g_value_set_int(value, self->fps); break;
    case PROP_STARVED: g_value_set_int(value, g_atomic_int_get(&self->starved)); break;
    case PROP_OUTSTANDING: g_value_set_int(value, g_atomic_int_get(&self->outstanding)); break;
    default: G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, pspec);
    }
}

static void fake_camera_class_init(FakeCameraClass *klass)
{
    GObjectClass *object = G_OBJECT_CLASS(klass);
    GstBaseSrcClass *src = GST_BASE_SRC_CLASS(klass);
    const GParamFlags seen = G_PARAM_READABLE | G_PARAM_STATIC_STRINGS;

    object->set_property = camera_set_property;
    object->get_property = camera_get_property;
    g_object_class_install_property(
        object, PROP_FPS,
        g_param_spec_int("fps", "fps", "Frames a second, whatever the caps say", 1, 240, 30, seen | G_PARAM_WRITABLE));
    g_object_class_install_property(
        object, PROP_STARVED,
        g_param_spec_int("starved", "starved", "Times that all buffers were out", 0, G_MAXINT, 0, seen));
    g_object_class_install_property(
        object, PROP_OUTSTANDING,
        g_param_spec_int("outstanding", "outstanding", "Buffers that are out", 0, BUFFERS, 0, seen));
    gst_element_class_add_static_pad_template(GST_ELEMENT_CLASS(klass), &src_template);
    gst_element_class_set_static_metadata(GST_ELEMENT_CLASS(klass), "Camera stand-in", "Source/Video",
                                          "A webcam's habits without a webcam", "gst-palme");
    src->start = camera_start;
    src->set_caps = camera_set_caps;
    src->decide_allocation = camera_decide_allocation;
    src->get_times = camera_get_times;
    klass->alloc = camera_alloc;
    klass->fill = camera_fill;
}

static void fake_camera_init(FakeCamera *self)
{
    self->fps = 30;
    gst_base_src_set_live(GST_BASE_SRC(self), TRUE);
    gst_base_src_set_format(GST_BASE_SRC(self), GST_FORMAT_TIME);
}

static gboolean plugin_init(GstPlugin *plugin)
{
    return gst_element_register(plugin, "fakecamerasrc", GST_RANK_NONE, fake_camera_get_type());
}

#define PACKAGE "gst-palme"
GST_PLUGIN_DEFINE(GST_VERSION_MAJOR, GST_VERSION_MINOR, fakecamera, "A camera for tests", plugin_init, "0", "LGPL",
                  "gst-palme", "gst-palme")
