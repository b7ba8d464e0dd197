#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# mqtt.sh - the example for MQTT against mosquitto, which is killed and started again in between.
#
#     mqtt.sh MQTT     meson sets the environment: the plugin with the stand-in engine
set -u
support=$(cd "$(dirname "$0")/../support" && pwd)
mqtt=$(realpath "$1")
PATH=$PATH:/usr/sbin
for tool in mosquitto mosquitto_sub timeout python3; do
    command -v $tool >/dev/null || { echo "no $tool here: skipped"; exit 77; }
done
for element in jpegenc videotestsrc; do
    gst-inspect-1.0 --exists $element || { echo "no GStreamer element $element here: skipped"; exit 77; }
done
work=$(mktemp -d)
cd "$work" || exit 2
pids=
trap 'kill -9 $pids 2>/dev/null; rm -rf "$work"' EXIT
. "$support/checks.sh"
shown=log
has_lines() { [ "$(grep -c -e "$1" "$2" 2>/dev/null)" -ge "$3" ]; }
until_line() { # PATTERN FILE COUNT: waits until so many lines have it
    wait_until has_lines "$@" && return
    echo "no $3 lines with \"$1\" came in a minute"
    return 1
}
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
printf 'listener %s 127.0.0.1\nallow_anonymous true\n' "$port" >conf
broker() {
    mosquitto -c conf >broker.log 2>&1 &
    broker=$!
    pids="$pids $broker"
    for _ in $(seq 300); do
        timeout 5 mosquitto_sub -p "$port" -t '$SYS/broker/version' -C 1 >/dev/null 2>&1 && return
        sleep 0.1
    done
    echo "mosquitto does not start: skipped"
    cat broker.log
    exit 77
}
# Every message, as "TOPIC PAYLOAD", with its retain flag in front; starts again when the broker was away.
subscribe() { # FILE
    mosquitto_sub -p "$port" -q 1 -F '%r %t %p' -t 'palme/door/caption' -t 'palme/door/contains/#' -t 'palme/door/availability' \
        -t 'homeassistant/#' >>"$1" 2>/dev/null &
    subscriber=$!
    pids="$pids $subscriber"
}
publish() { # OPTIONS...
    timeout -k 5 240 "$mqtt" --port "$port" --id Door --notify 'dog,, polar bear,Bär' "$@" >>log 2>&1 &
    client=$!
    pids="$pids $client"
}
cat >model <<'END'
standin
text=dog {n}
END
camera='videotestsrc is-live=true pattern=ball ! video/x-raw,width=64,height=64,framerate=10/1'
steady="model=$work/model interval-seconds=0.2 scene-threshold=0 switch-margin=0 caption-hold-seconds=0"
numbers() { sed -nE 's/.*palme\/door\/caption .*"text":"dog ([0-9]+)".*/\1/p' "$1"; }

# Who starts before the broker waits for it.
: >log
publish --caption "$steady" "$camera"
sleep 1
broker
subscribe first
check "captions come" "$(until_line 'door/caption' first 5; echo $?)" = 0
check "it says that it is connected" "$(grep -c 'connected to the broker' log)" = 1
check "the picture is a JPEG" "$(timeout 30 mosquitto_sub -p "$port" -t palme/door/picture -C 1 | head -c 2 | od -An -tx1 | tr -d ' \n')" = ffd8
check "a word that is there is on" "$(grep -c 'contains/dog ON' first)" -ge 1
check "a word that is not there is off" "$(grep -c 'contains/polar_bear OFF' first)" -ge 1
check "a word that is not ASCII has a name of its own" "$(grep -c 'contains/bc3a4r OFF' first)" -ge 1
check "an empty word is none" "$(grep -c 'contains/ ' first)" = 0
check "no word is on by chance" "$(grep -c 'contains/polar_bear ON' first)" = 0
grep homeassistant/ first | cut -d ' ' -f 3- >configs
check "four entities are announced" "$(grep -o 'homeassistant/[a-z_]*/palme_door/[a-z_]*/config' first | sort -u | wc -l)" = 4
python3 - <<'END' || failed=$((failed + 1))
import json
for line in open("configs"):
    config = json.loads(line)
    assert config["unique_id"].startswith("palme_door_"), config
    assert config["availability_topic"] == "palme/door/availability", config
    assert config["device"]["identifiers"] == ["door"], config
    assert "state_topic" in config or "topic" in config, config
for line in open("first"):
    if " palme/door/caption " in line:
        message = json.loads(line.split(" ", 2)[2])
        assert message["time"].endswith("Z") and isinstance(message["score"], float), message
END

# The broker dies; nothing that was said meanwhile is lost, and the order stays.
kill -9 "$broker"
died=$(date -u +%FT%T.%N)
check "it says that the broker has gone" "$(until_line 'the broker has gone' log 1; echo $?)" = 0
kill "$subscriber" 2>/dev/null
sleep 4
back=$(date -u +%FT%T.%N)
# The client waits until somebody hears what it has to say.
kill -STOP "$(pgrep -P "$client")"
broker
subscribe second
is_heard() { mosquitto_pub -p "$port" -t homeassistant/ready -m x && grep -q homeassistant/ready second; }
wait_until is_heard
kill -CONT "$(pgrep -P "$client")"
check "it is connected again" "$(until_line 'connected to the broker' log 2; echo $?)" = 0
check "captions come again" "$(until_line 'door/caption' second 25; echo $?)" = 0
check "it is announced again" "$(grep -o 'homeassistant/[a-z_]*/palme_door/[a-z_]*/config' second | sort -u | wc -l)" = 4
# A retained message may come twice, and what was on its way may, too; in between there is no hole.
check "no caption is lost" -z "$( (numbers first; numbers second) | sort -n | uniq |
    awk 'NR > 1 && $1 != last + 1 { print last " is followed by " $1 } { last = $1 }')"
check "captions of the time without a broker came" "$(sed -nE 's/.*door\/caption .*"time":"([^"]*)".*/\1/p' second |
    awk -v died="$died" -v back="$back" '$1 > died && $1 < back { n++ } END { print n + 0 }')" -ge 5
kill "$client"
wait "$client"
check "it ends well" $? = 0
check "and says that it is offline" "$(until_line 'availability offline' second 1; echo $?)" = 0
kill "$subscriber" 2>/dev/null

# A program that is killed is offline all the same, by its will.
subscribe third
publish --caption "$steady" "$camera"
check "captions come" "$(until_line 'door/caption {' third 3; echo $?)" = 0
kill -9 "$client" "$(pgrep -P "$client")" 2>/dev/null
check "the will is executed" "$(until_line '0 palme/door/availability offline' third 1; echo $?)" = 0
kill "$subscriber" 2>/dev/null

# Room for three captions: the oldest go, and the end does not wait for ever.
kill -9 "$broker"
: >log
timeout -k 5 120 "$mqtt" --port "$port" --id door --keep 3 --caption "$steady mode=sync interval-seconds=0" \
    "videotestsrc num-buffers=20 ! video/x-raw,width=64,height=64,framerate=10/1" >>log 2>&1
check "without a broker it ends" $? = 0
check "it says what was dropped" "$(grep -c 'oldest captions are dropped' log)" = 1
check "it says what was not sent" "$(grep -c '3 captions were not sent' log)" = 1

# A camera that fails is tried again; mistakes are said at once.
: >log
publish --caption "$steady" "filesrc location=$work/none ! decodebin"
check "a source that fails is tried again" "$(until_line 'It is tried again in 5 seconds' log 2; echo $?)" = 0
kill "$client"
wait "$client"
timeout -k 5 60 "$mqtt" --port "$port" --password-file "$work/none" >log 2>&1
check "a password file that is not there" $? = 1
timeout -k 5 60 "$mqtt" --port "$port" no-such-thing >log 2>&1
check "a source that is nothing" $? = 1
echo "$passed checks passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -ge 23 ]
