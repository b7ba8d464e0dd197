# SPDX-License-Identifier: LGPL-2.1-or-later
"""Captions to a broker that goes and comes, and the topics that examples/streams/mqtt has too."""

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

FLEET = Path(__file__).parents[2] / "examples" / "fleet"
sys.path.insert(0, str(FLEET))
mqtt = pytest.importorskip("paho.mqtt.client")
MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
pytestmark = pytest.mark.skipif(not MOSQUITTO, reason="no mosquitto here (Debian: mosquitto)")

from live import delivery, outbox  # noqa: E402


class Server:
    """A broker that can be killed, and comes back on the same port with nothing in it."""

    def __init__(self, folder):
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = one.getsockname()[1]
        self.file = folder / "mosquitto.conf"
        self.file.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\n")
        self.process = None

    def start(self):
        quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.process = subprocess.Popen([MOSQUITTO, "-c", str(self.file)], **quiet)
        for _ in range(300):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.1)
        raise TimeoutError("mosquitto does not start")

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None


class Reader:
    """Keeps all messages: (topic, text, whether it was kept by the broker)."""

    def __init__(self, port):
        self.got = []
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        self.client.on_message = lambda _c, _u, one: self.got.append((one.topic, one.payload.decode(), one.retain))
        self.client.on_connect = lambda client, *_: client.subscribe("#", 1)
        subscribed = threading.Event()
        self.client.on_subscribe = lambda *_: subscribed.set()
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert subscribed.wait(60)

    def wait(self, condition):
        end = time.monotonic() + 60
        while not any(condition(*one) for one in list(self.got)):
            assert time.monotonic() < end, self.got
            time.sleep(0.05)

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def server(tmp_path):
    made = Server(tmp_path)
    made.start()
    yield made
    made.kill()


def caption(number):
    return {"id": f"door/e/{number}", "camera": "door", "text": f"caption {number}", "time": "2026-11-29T12:00:00Z"}


def sender(broker, box):
    def send(_box, captions):
        broker.publish([("palme/door/caption", delivery.payload_of(one), True) for one in captions])

    return delivery.Delivery("mqtt", lambda: [box], send, broker.update, 0.02)


def test_a_broker_that_is_killed_gets_all(server, tmp_path):
    box, broker = (
        outbox.Outbox(str(tmp_path / "box.db")),
        delivery.Broker({"host": "127.0.0.1", "port": server.port}, "a"),
    )
    broker.set_state("palme/door/availability", "online")
    thread = sender(broker, box)
    thread.start()
    reader = Reader(server.port)
    for number in range(1, 51):
        box.put(caption(number))
    reader.wait(lambda topic, text, _: topic == "palme/door/caption" and json.loads(text)["id"] == "door/e/50")
    server.kill()
    for number in range(51, 101):
        box.put(caption(number))
    end = time.monotonic() + 60
    while not thread.fault and time.monotonic() < end:
        time.sleep(0.05)
    assert box.length("mqtt") == 50 and thread.fault
    server.start()
    reader.close()
    later = Reader(server.port)
    later.wait(lambda topic, text, _: topic == "palme/door/caption" and json.loads(text)["id"] == "door/e/100")
    later.wait(
        lambda topic, text, _: (topic, text) == ("palme/door/availability", "online")
    )  # which the new one had not
    end = time.monotonic() + 30
    while box.length("mqtt") and time.monotonic() < end:
        time.sleep(0.05)
    thread.ending.set()
    thread.join()
    later.close()
    assert box.length("mqtt") == 0
    ids = {json.loads(text)["id"] for topic, text, _ in reader.got + later.got if topic == "palme/door/caption"}
    last = {json.loads(text)["id"] for topic, text, kept in later.got if topic == "palme/door/caption" and kept}
    # The second reader may have come after the first of the new captions; the broker keeps the last.
    assert {f"door/e/{number}" for number in range(1, 51)} <= ids and "door/e/100" in ids
    assert len(last) <= 1


def test_a_process_that_dies_is_said_to_be_offline(server):
    code = (
        f"import os, sys; sys.path.insert(0, {str(FLEET)!r}); from live import delivery\n"
        f"broker = delivery.Broker({{'host': '127.0.0.1', 'port': {server.port}}}, 'one')\n"
        "broker.update(); sys.stdin.read(1); os.kill(os.getpid(), 9)"
    )
    reader, topic = Reader(server.port), "palme/actor/one/availability"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    reader.wait(lambda *one: one[:2] == (topic, "online"))
    process.communicate(b"x")
    reader.wait(lambda *one: one[:2] == (topic, "offline"))
    reader.close()


def test_a_broker_that_is_not_there_is_an_oserror(tmp_path):
    away = Server(tmp_path)
    with pytest.raises(OSError):
        delivery.Broker({"host": "127.0.0.1", "port": away.port}, "a").publish([("a", "b", False)])


def test_a_broker_that_does_not_confirm_has_nothing(monkeypatch):
    monkeypatch.setattr(delivery, "PATIENCE", 1)

    def serve(listening):
        client, _ = listening.accept()
        with client:
            client.recv(1000)
            client.sendall(b"\x20\x02\x00\x00")  # CONNACK, and nothing more
            while client.recv(1000):
                pass

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        broker = delivery.Broker({"host": "127.0.0.1", "port": listening.getsockname()[1]}, "a")
        with pytest.raises(OSError, match="does not confirm"):
            broker.publish([("a", "b", False)])
        thread.join()


def test_what_home_assistant_reads_is_what_the_c_program_writes():
    topic, text = delivery.entity("door", "Front door", "holder0")
    told = json.loads(text)
    assert topic == "homeassistant/sensor/palme_door/caption/config"
    assert told["state_topic"] == told["json_attributes_topic"] == "palme/door/caption"
    assert told["unique_id"] == "palme_door_caption" and told["device"]["identifiers"] == ["door"]
    source = (FLEET.parent / "streams" / "mqtt.c").read_text()
    for word in (told["value_template"], "homeassistant/%s/palme_%s/%s/config", "palme_%s_%s", "json_attributes_topic"):
        assert word in source
    assert {"topic": "palme/actor/holder0/availability"} in told["availability"]
