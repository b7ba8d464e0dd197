// SPDX-License-Identifier: LGPL-2.1-or-later
//
// player.js - plays the streams of palme-hls, recordings and live ones, with their captions, by Media Source alone.
// It reads what palme-hls writes: one video rendition in fragmented MP4, one WebVTT rendition. Chromium's own HLS
// shows no subtitle renditions; Safari needs none of this.

const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const event = (target, name) => new Promise((done) => target.addEventListener(name, done, { once: true }));
const fetchOk = async (url) => {
  const answer = await fetch(url, { cache: "no-store" });
  if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
  return answer;
};

// name=value and name="value" pairs of a tag.
const attributes = (text) => Object.fromEntries(
  [...text.matchAll(/([A-Z-]+)=(?:"([^"]*)"|([^,]*))/g)].map(([, name, quoted, plain]) => [name, quoted ?? plain]));

async function readMaster(url) {
  const lines = (await (await fetchOk(url)).text()).split("\n");
  const at = lines.findIndex((line) => line.startsWith("#EXT-X-STREAM-INF:"));
  if (at < 0) throw new Error(`${url}: is no master playlist`);
  const variant = attributes(lines[at]);
  const media = lines.filter((line) => line.startsWith("#EXT-X-MEDIA:")).map(attributes);
  const captions = media.find((m) => m.TYPE === "SUBTITLES" && m["GROUP-ID"] === variant.SUBTITLES);
  return { codecs: variant.CODECS, video: new URL(lines[at + 1], url), captions: captions && new URL(captions.URI, url),
    name: captions?.NAME, language: captions?.LANGUAGE };
}

async function readPlaylist(url) {
  const list = { segments: [], target: 1, ended: false, whole: false, map: null };
  let number = 0;
  let seconds = 0;
  for (const line of (await (await fetchOk(url)).text()).split("\n")) {
    if (line.startsWith("#EXT-X-TARGETDURATION:")) list.target = Number(line.split(":")[1]);
    else if (line.startsWith("#EXT-X-MEDIA-SEQUENCE:")) number = Number(line.split(":")[1]);
    else if (line.startsWith("#EXT-X-MAP:")) list.map = new URL(attributes(line).URI, url);
    else if (line.startsWith("#EXT-X-PLAYLIST-TYPE:")) list.whole = true;
    else if (line.startsWith("#EXT-X-ENDLIST")) list.ended = true;
    else if (line.startsWith("#EXTINF:")) seconds = parseFloat(line.split(":")[1]);
    else if (line && !line.startsWith("#")) list.segments.push({ number: number++, seconds, url: new URL(line, url) });
  }
  return list;
}

const vttSeconds = (text) => text.split(":").reduce((sum, part) => 60 * sum + Number(part), 0);

// The cues of a WebVTT segment, in media time.
function readVtt(text) {
  const map = /X-TIMESTAMP-MAP=MPEGTS:(\d+),LOCAL:([\d:.]+)/.exec(text);
  const shift = map ? Number(map[1]) / 90000 - vttSeconds(map[2]) : 0;
  return text.split(/\n\n+/).flatMap((block) => {
    const cue = /(?:^|\n)([\d:.]+) --> ([\d:.]+)[^\n]*\n([\s\S]*)/.exec(block);
    return cue ? [new VTTCue(vttSeconds(cue[1]) + shift, vttSeconds(cue[2]) + shift, cue[3].trim())] : [];
  });
}

// Segments one after the other, those of a live stream as they come; ends with the stream.
async function* follow(url, begin) {
  let next = null;
  for (;;) {
    const list = await readPlaylist(url);
    if (next === null) next = begin(list);
    for (const segment of list.segments)
      if (segment.number >= next) {
        yield { segment, list };
        next = segment.number + 1;
      }
    if (list.ended) return;
    await pause(list.target * 500);
  }
}

// A recording is played from its beginning, also while it is made, a live stream three segments before its end.
const beginOf = (list) => (list.whole || list.ended ? list.segments : list.segments.slice(-3))[0]?.number ?? 0;

async function append(buffer, bytes) {
  buffer.appendBuffer(bytes);
  await event(buffer, "updateend");
}

async function playVideo(video, source, master) {
  const buffer = source.addSourceBuffer(`video/mp4; codecs="${master.codecs}"`);
  let map = null;
  for await (const { segment, list } of follow(master.video, beginOf)) {
    if (!map) await append(buffer, await (await fetchOk(map = list.map)).arrayBuffer());
    await append(buffer, await (await fetchOk(segment.url)).arrayBuffer());
    const { buffered } = buffer;
    if (video.currentTime < buffered.start(0)) video.currentTime = buffered.start(0) + 0.001;
    // Only so much is fetched ahead, and what is long past is dropped.
    while (buffered.length && buffered.end(buffered.length - 1) - video.currentTime > 60) await pause(500);
    if (video.currentTime - buffered.start(0) > 120) {
      buffer.remove(0, video.currentTime - 60);
      await event(buffer, "updateend");
    }
  }
  source.endOfStream();
}

async function playCaptions(video, master) {
  const track = video.addTextTrack("subtitles", master.name, master.language);
  track.mode = "showing";
  for await (const { segment } of follow(master.captions, beginOf)) {
    for (const cue of readVtt(await (await fetchOk(segment.url)).text())) {
      const last = track.cues[track.cues.length - 1];
      // A caption that a segment's edge has cut is one again.
      if (last?.text === cue.text && Math.abs(last.endTime - cue.startTime) < 0.0015) last.endTime = cue.endTime;
      else track.addCue(cue);
    }
    for (const cue of [...track.cues]) if (cue.endTime < video.currentTime - 120) track.removeCue(cue);
  }
}

// Plays `address`; ends, or fails, when all of it is there.
export async function play(video, address) {
  const master = await readMaster(new URL(address, location.href));
  const source = new MediaSource();
  video.src = URL.createObjectURL(source);
  await event(source, "sourceopen");
  video.play().catch(() => {}); // the person may have to ask for it
  await Promise.all([playVideo(video, source, master), master.captions && playCaptions(video, master)]);
}
