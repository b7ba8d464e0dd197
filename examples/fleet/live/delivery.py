# SPDX-License-Identifier: LGPL-2.1-or-later
"""Takes captions out of outboxes: to the MQTT broker, and to the keeper of the log.

MQTT has quality of service 1: the broker confirms each message, and one whose confirmation is lost is sent again,
with the same id in its JSON, so a reader can tell. Quality 2 would tell only as long as one client's session lasts:
captions of a process that died are sent by another, and broker and client would have to store each message's state
for nothing more than the id gives.

The topics are those of examples/streams/mqtt, with more fields:

palme/ID/caption             JSON: text, time (UTC, of the picture), score, labels, id, tags, model_digest; retained
palme/ID/caption/late        the same, not retained: captions whose camera has gone on to another process meanwhile,
so that
                             what shows the last caption never goes back in time
palme/ID/availability        online or offline
palme/actor/NAME/availability    online or offline; the broker says offline if the process dies
homeassistant/sensor/...     what Home Assistant has to know
"""

import json
import logging
import sqlite3
import threading
import time

import paho.mqtt.client as mqtt

log = logging.getLogger("palme.fleet")
BATCH, PATIENCE = 100, 5  # messages sent before they are all confirmed; seconds until that is given up


def payload_of(caption):
    """The JSON of a caption for MQTT."""
    order = "text", "time", "score", "labels", "id", "tags", "model_digest"
    return json.dumps({key: caption[key] for key in order if caption.get(key) is not None}, ensure_ascii=False)


def entity(camera, name, actor):
    """(topic, JSON) by which Home Assistant finds a camera. It is there while the camera and its process are."""
    caption = f"palme/{camera}/caption"
    return f"homeassistant/sensor/palme_{camera}/caption/config", json.dumps(
        {
            "name": "Caption",
            "state_topic": caption,
            "value_template": "{{ value_json.text[:255] }}",
            "json_attributes_topic": caption,
            "icon": "mdi:closed-caption",
            "unique_id": f"palme_{camera}_caption",
            "availability_mode": "all",
            "availability": [{"topic": f"palme/{topic}/availability"} for topic in (camera, f"actor/{actor}")],
            "device": {"name": name, "manufacturer": "gst-palme", "identifiers": [camera]},
        },
        ensure_ascii=False,
    )


class Broker:
    """A connection to an MQTT broker, made anew after each fault, so that nothing is sent but what the caller sends.
    Not for several threads, but for the states."""

    def __init__(self, settings, actor):
        self.settings, self.actor = settings, actor
        self.client = None
        self.lock = threading.Lock()
        self.states, self.told = {}, {}  # topic: payload, as it should be and as the broker has it

    def set_state(self, topic, payload):
        """What the broker is to keep under a topic. From any thread; update() sends it."""
        with self.lock:
            self.states[topic] = payload

    def forget(self, topic):
        """It is another process's to say what is under this topic now."""
        with self.lock:
            self.states.pop(topic, None)

    def _connect(self):
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, reconnect_on_failure=False)
        client.connect_timeout = PATIENCE
        if "user" in self.settings:
            password = None
            if "password_file" in self.settings:
                with open(self.settings["password_file"]) as file:
                    password = file.read().strip()
            client.username_pw_set(self.settings["user"], password)
        if "ca" in self.settings:
            client.tls_set(self.settings["ca"])
        client.will_set(f"palme/actor/{self.actor}/availability", "offline", 1, True)
        connected = threading.Event()
        answer = []

        def on_connect(_client, _user, _flags, reason, _properties):
            answer.append(reason)
            connected.set()

        client.on_connect = on_connect
        client.max_inflight_messages_set(BATCH)
        client.connect(self.settings["host"], self.settings["port"], keepalive=PATIENCE)
        client.loop_start()
        if not connected.wait(PATIENCE) or answer[0].is_failure:
            self._close(client)
            raise OSError(f"the broker refuses the connection: {answer[0]}" if answer else "the broker does not answer")
        self.client, self.told = client, {}
        self.set_state(f"palme/actor/{self.actor}/availability", "online")

    @staticmethod
    def _close(client):
        client.disconnect()
        client.loop_stop()

    def publish(self, messages):
        """Sends (topic, payload, retain), and returns when the broker has confirmed all of them. Raises OSError."""
        try:
            if self.client is None:
                self._connect()
            sent = [self.client.publish(topic, payload, 1, retain) for topic, payload, retain in messages]
            end = time.monotonic() + PATIENCE
            for one in sent:
                one.wait_for_publish(max(end - time.monotonic(), 0.01))
                if not one.is_published():
                    raise OSError("the broker does not confirm")
        except (OSError, RuntimeError, ValueError) as error:
            if self.client is not None:
                self._close(self.client)
            self.client = None
            raise OSError(str(error)) from None

    def update(self):
        """Sends the states that the broker has not got, and connects again if need be. Raises OSError."""
        if self.client is not None and not self.client.is_connected():
            self._close(self.client)
            self.client = None
        while True:
            with self.lock:
                news = {topic: text for topic, text in self.states.items() if self.told.get(topic) != text}
            if not news and self.client is not None:
                return
            self.publish([(topic, text, True) for topic, text in news.items()])
            self.told |= news

    def close(self):
        """Says that this process is offline, and ends the connection."""
        self.set_state(f"palme/actor/{self.actor}/availability", "offline")
        if self.client is not None:
            self.update()
            self._close(self.client)
            self.client = None


class Delivery(threading.Thread):
    """Takes the captions of outboxes to one sink, in the order of each outbox. `send` takes (box, [dict]) and raises
    OSError if it may not have them all; it gets them again then. `boxes` returns the outboxes of the moment."""

    def __init__(self, sink, boxes, send, idle=lambda: None, period=0.1):
        super().__init__(name=f"deliver-{sink}", daemon=True)
        self.sink, self.boxes, self.send, self.idle, self.period = sink, boxes, send, idle, period
        self.ending = threading.Event()
        self.fault = None
        self.faults = 0
        self.damage = {}  # path: what SQLite says

    def once(self):
        """One round. Returns whether anything was delivered. Raises OSError."""
        any_sent = False
        for box in self.boxes():
            try:
                rows = box.pending(self.sink, BATCH)
            except sqlite3.Error as error:  # a damaged file holds up nobody else's captions
                if str(error) != self.damage.get(box.path):
                    log.error("%s: %s", box.path, error)
                self.damage[box.path] = str(error)
                continue
            if rows:
                self.send(box, [caption for _, caption in rows])
                box.delivered(self.sink, rows[-1][0])
                any_sent = True
        return any_sent

    def run(self):
        while not self.ending.is_set():
            try:
                self.idle()
                if self.once():
                    continue
                if self.fault:
                    log.warning("%s: it takes captions again", self.sink)
                self.fault = None
            except OSError as error:
                if self.fault is None:
                    log.warning("%s: %s; captions wait", self.sink, error)
                self.fault = str(error)
                self.faults += 1
                self.ending.wait(0.5)
            except Exception:
                log.exception("%s: a fault of this program; captions wait", self.sink)
                self.fault = "a fault of this program"
                self.faults += 1
                self.ending.wait(5)
            self.ending.wait(self.period)
