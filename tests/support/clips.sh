# SPDX-License-Identifier: LGPL-2.1-or-later
#
# clips.sh - clips for the tests of palme-caption, which source it.

# three frames a second of dog.jpg, then of horses.jpg, not compressed: equal frames have equal captions
two_photos() { # FRAMES FRAMES FILE
    format=video/x-raw,format=I420,width=320,height=240
    gst-launch-1.0 -q concat name=c ! matroskamux ! filesink location="$3" \
        filesrc location=dog.jpg ! jpegdec ! videoconvert ! videoscale ! $format ! imagefreeze num-buffers="$1" ! \
        video/x-raw,framerate=3/1 ! c. \
        filesrc location=horses.jpg ! jpegdec ! videoconvert ! videoscale ! $format ! imagefreeze num-buffers="$2" ! \
        video/x-raw,framerate=3/1 ! c.
}
