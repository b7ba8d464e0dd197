// SPDX-License-Identifier: LGPL-2.1-or-later
//
// webrtc.js - connects to the program webrtc, and shows each caption with its picture or with the first one after it.

const video = document.getElementById("video");
const state = document.getElementById("state");
const MOST = 100; // captions in the list
const waiting = []; // captions whose picture has not been shown
let connection = null;
let newest = "";

// Whether RTP time a is b or later; it counts modulo 2^32.
const reached = (a, b) => ((a - b) >>> 0) < 0x80000000;

function show(caption) {
  document.getElementById("caption").textContent = caption.text;
  const line = document.createElement("li");
  line.textContent = `${caption.time.toFixed(1)} s  ${caption.text}`;
  line.dataset.rtp = caption.rtp;
  line.dataset.text = caption.text;
  const history = document.getElementById("history");
  history.prepend(line);
  while (history.childElementCount > MOST) history.lastElementChild.remove();
}

// Who comes late is told the last caption, which may be on its way already.
function arrives(text) {
  if (text === newest) return;
  newest = text;
  waiting.push(JSON.parse(text));
}

function frameShown(now, frame) {
  while (waiting.length && reached(frame.rtpTimestamp, waiting[0].rtp)) show(waiting.shift());
  video.requestVideoFrameCallback(frameShown);
}

async function connect() {
  const own = new RTCPeerConnection();
  connection = own;
  waiting.length = 0;
  newest = "";
  own.addTransceiver("video", { direction: "recvonly" });
  const channel = own.createDataChannel("captions");
  channel.onmessage = (message) => arrives(message.data);
  // The server ends what gives no sign of life.
  const signs = setInterval(() => {
    if (own !== connection) clearInterval(signs);
    else if (channel.readyState === "open") channel.send("here");
  }, 4000);
  own.ontrack = (event) => { video.srcObject = new MediaStream([event.track]); };
  own.onconnectionstatechange = () => {
    if (own !== connection) return;
    state.textContent = own.connectionState;
    if (own.connectionState === "failed" || own.connectionState === "disconnected") again();
  };
  await own.setLocalDescription(await own.createOffer());
  // The server needs no more than one address of ours; it learns others when we ask it.
  const answer = await fetch("offer", { method: "POST", body: own.localDescription.sdp,
    headers: { "Content-Type": "application/sdp" } });
  if (!answer.ok) throw new Error(`the server says: ${await answer.text()}`);
  await own.setRemoteDescription({ type: "answer", sdp: await answer.text() });
}

function again() {
  connection?.close();
  connection = null;
  setTimeout(() => connect().catch(failed), 2000);
}

function failed(error) {
  state.textContent = error.message;
  again();
}

video.requestVideoFrameCallback(frameShown);
addEventListener("pagehide", () => connection?.close());
connect().catch(failed);
