#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""web_page.py - the page of palme-web in headless Chromium, used as a person does: clicks, keys, two schemes, a phone.

web_page.py PALME-WEB      meson sets the environment; the engine is the stand-in
"""

import json
import re
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))
from browser import Browser, chromium
from webserver import SNOW, Checks, Server, wait_for

program = str(Path(sys.argv[1]).resolve())
check = Checks()
TAB, ENTER, LEFT = ("Tab", 9), ("Enter", 13), ("ArrowLeft", 37)

# Texts whose colour is too near to that of what is behind them: less than 4.5 to 1.
PALE = """(() => {
  const parse = (c) => c.match(/[\\d.]+/g).map(Number);
  const linear = (x) => (x /= 255) <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement;
    if (!walk.currentNode.textContent.trim() || !e.checkVisibility()) continue;
    let back = [255, 255, 255], up = e;
    for (; up; up = up.parentElement) {
      const c = parse(getComputedStyle(up).backgroundColor);
      if (c.length === 3 || c[3] > 0.7) { back = c.slice(0, 3); break; }
    }
    const a = light(parse(getComputedStyle(e).color).slice(0, 3)), b = light(back);
    if ((Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5)
      found.push(e.tagName + "." + e.className + " " + e.textContent.slice(0, 20));
  }
  return found;
})()"""
# Whether a canvas shows more than one colour.
DRAWN = """[...document.querySelectorAll("figure canvas")].map((c) => {
  const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
  return c.width > 16 && d.some((v, i) => i % 4 < 3 && Math.abs(v - d[i % 4]) > 60);
})"""


def fill(page, selector: str, text: str):
    """Clicks into a field, and types in place of what is there."""
    page.click(selector)
    page.js(f"document.querySelector({json.dumps(selector)}).select()")
    if text:
        page.type(text)
    else:
        page.key("Backspace", 8)


def check_video(page):
    page.wait("document.querySelectorAll('figure').length === 3")
    check("the videos are drawn", page.wait(f"{DRAWN}.slice(0, 2).every((x) => x)"))
    names = page.js("[...document.querySelectorAll('.choose')].map((c) => c.textContent)")
    check("their names", names == ["yard", "ball", "door"], names)
    check(
        "one that is gone says so",
        page.wait("/Next attempt in/.test(document.querySelectorAll('.trouble')[2].textContent)"),
    )


def check_settings(page, server):
    free = dict(interval="0.2", scene_threshold="0", cut_threshold="0", switch_margin="0", caption_hold="0")
    for key, value in free.items():
        fill(page, f"#set-{key}", value)
    fill(page, "#set-prompt", "a photo of")
    page.click("#apply")
    page.wait("document.querySelector('#applied').textContent === 'Applied'")
    got = server.state()["sources"][0]["settings"]
    check(
        "what was typed is set", all(got[k] == float(v) for k, v in free.items()) and got["prompt"] == "a photo of", got
    )
    fill(page, "#set-interval", "-3")
    page.key(*ENTER)
    page.wait("document.querySelector('#problem').textContent")
    check("a wrong number is told by its name", page.text("#problem").startswith("interval: "), page.text("#problem"))
    check("and the field has the focus", page.js("document.activeElement.id") == "set-interval")
    fill(page, "#set-interval", "0.2")
    fill(page, "#set-prompt", "")
    page.click("#apply")
    page.wait("document.querySelector('#applied').textContent === 'Applied'")
    check("the prompt is the model's again", server.state()["sources"][0]["settings"]["prompt"] is None)


def check_captions(page):
    check(
        "captions run",
        page.wait("/^a <img src=x onerror=.*> \\d+$/.test(document.querySelector('.chosen .caption').textContent)"),
    )
    check("they are text", page.js("document.querySelectorAll('.caption img, #entries .text *').length") == 0)
    first = page.text(".chosen .caption")
    check("and change", page.wait(f"document.querySelector('.chosen .caption').textContent !== {json.dumps(first)}"))
    live = "[...document.querySelectorAll('.caption')].slice(0, 3).map((c) => c.getAttribute('aria-live'))"
    check("the chosen video's caption is the live region", page.js(live) == ["polite", "off", "off"], page.js(live))
    page.click("#announce")
    check("it can be switched off", page.js(live) == ["off", "off", "off"], page.js(live))
    page.click("#announce")
    page.click("figure:nth-of-type(2) .choose")
    check("another video is chosen", page.wait("document.querySelectorAll('figure')[1].classList.contains('chosen')"))
    check("and read out", page.js(live) == ["off", "polite", "off"], page.js(live))
    check("the settings are its own", page.js("document.querySelector('#set-interval').value") == "")
    page.click("figure:nth-of-type(1) .choose")


def check_history(page):
    page.wait("document.querySelectorAll('.entry').length > 15")
    check(
        "thumbnails are there",
        page.wait("[...document.querySelectorAll('.entry img')].some((i) => i.naturalWidth > 100)"),
    )
    fill(page, "#words", "IMG 7")
    check("search", page.wait("/found/.test(document.querySelector('#found').textContent)"))
    page.wait("[...document.querySelectorAll('.entry .text')].every((t) => /7/.test(t.textContent))")
    check("finds what has the words", page.js("document.querySelectorAll('.entry').length") >= 1)
    fill(page, "#words", "zebra")
    check("or nothing", page.wait("document.querySelector('#found').textContent === 'Nothing found'"))
    fill(page, "#words", "")
    page.wait("document.querySelectorAll('.entry').length > 15")
    text = page.text("li:nth-of-type(9) .text")
    entries = "[...document.querySelectorAll('.entry')]"
    page.js(f"{entries}.find((e) => e.querySelector('.text').textContent === {json.dumps(text)}).id = 'wanted'")
    page.click("#wanted")
    page.wait("!document.querySelector('#past').hidden")
    check("a moment is shown", page.text("#past-caption") == text, page.text("#past-caption"), text)
    check("with its picture", page.wait("document.querySelector('#past-picture').naturalWidth > 100"))
    check("and its time", re.search(r"\d\d:\d\d:\d\d.* · yard", page.text("#past-time")), page.text("#past-time"))
    check("the video makes room", page.js("document.querySelector('#figures').hidden"))
    page.click("#back")
    check(
        "back to live", page.js("document.querySelector('#past').hidden && !document.querySelector('#figures').hidden")
    )
    for name, begin in (("vtt", "WEBVTT"), ("json", "[{")):
        got = page.js(f"fetch(document.querySelector('#{name}').href).then((r) => r.text())")
        check(
            f"{name} to download",
            got.startswith(begin) and page.js(f"document.querySelector('#{name}').hasAttribute('download')"),
        )


def check_timeline(page):
    # Where the slider is, there is a bar; a click on it goes to what was shown then.
    place = """(() => { const c = document.querySelector('#bars'), b = c.getBoundingClientRect();
        const line = c.getContext('2d').getImageData(0, c.height - 2, c.width, 1).data;
        for (let x = c.width - 1; x >= 0; x--)
            if (line[4 * x + 3]) return [b.left + x * b.width / c.width, b.top + b.height / 2];
        return null; })()"""
    page.where("#bars")
    x, y = page.wait(place)
    page.click_at(x, y)
    check("a click on the timeline jumps", page.wait("!document.querySelector('#past').hidden"))
    check("to a caption", page.wait("/^[ab] <img/.test(document.querySelector('#past-caption').textContent)"))
    check("which the list shows", page.wait("document.querySelector('.entry[aria-current=true]')  !== null"))
    page.click("#back")
    page.js("document.querySelector('#time').focus()")
    page.key(*LEFT)
    check("so does an arrow key", page.wait("!document.querySelector('#past').hidden"))
    said = page.js("document.querySelector('#time').getAttribute('aria-valuetext')")
    check("which screen readers hear", re.match(r"\d\d:\d\d:\d\d.*: [ab] <img", said or ""), said)
    page.click("#back")


def check_controls(page, server):
    page.click("#pause")
    check("pause", page.wait("document.querySelector('#pause').textContent === 'Resume'"))
    check("is the server's", wait_for(lambda: server.state()["sources"][0]["state"] == "paused"))
    check("and pressed", page.js("document.querySelector('#pause').getAttribute('aria-pressed')") == "true")
    page.click("#pause")
    check("resume", wait_for(lambda: server.state()["sources"][0]["state"] == "playing"))
    page.click("#now")
    page.js("document.querySelector('#set-model').focus()")
    page.send("Input.dispatchKeyEvent", type="keyDown", key="b", code="KeyB", text="b")
    page.send("Input.dispatchKeyEvent", type="keyUp", key="b", code="KeyB")
    page.wait("document.querySelector('#set-model').value === 'b.safetensors'")
    page.click("#apply")
    check("another model", page.wait("/^b <img/.test(document.querySelector('.chosen .caption').textContent)"))
    numbers = page.wait("""(() => { const d = [...document.querySelectorAll('#numbers dd')].map((e) => e.textContent);
        return d[0] === 'b' ? d : null; })()""")
    check("statistics", numbers[1] == "320 × 180" and int(numbers[2].replace(",", "")) > 0, numbers)


def check_access(page):
    nodes = page.send("Accessibility.getFullAXTree")["nodes"]
    roles = ("button", "textbox", "searchbox", "slider", "checkbox", "combobox", "link", "img", "spinbutton", "Date")
    nameless = [
        n["role"]["value"]
        for n in nodes
        if not n.get("ignored") and n.get("role", {}).get("value") in roles and not n.get("name", {}).get("value")
    ]
    # Thumbnails repeat what stands beside them: they are left out by an empty alt, which makes them ignored.
    check("all controls have names", not nameless, nameless)
    page.js("document.body.focus(); document.activeElement.blur(); scrollTo(0, 0)")
    order = []
    for _ in range(40):
        page.key(*TAB)
        order.append(page.js("document.activeElement.id || document.activeElement.className"))
        if order[-1] == "apply":
            break
    expected = [
        "skip",
        "choose name",
        "pause",
        "now",
        "announce",
        "time",
        "words",
        "entry",
        "set-prompt",
        "set-interval",
    ]
    expected.append("apply")
    places = [order.index(e) if e in order else -1 for e in expected]
    check("Tab reaches all, in the order of the page", -1 not in places, list(zip(expected, places)), order)
    check("not jumping about", places == sorted(places), list(zip(expected, places)))
    check("the list is one stop", order.count("entry") == 1, order)
    page.js("document.querySelector('.entry[tabindex=\"0\"]').focus()")
    page.key("ArrowDown", 40)
    page.key("ArrowDown", 40)
    check(
        "in it, arrows go on",
        page.wait("document.activeElement.className === 'entry' && document.activeElement.tabIndex === 0"),
    )
    here = page.js("document.activeElement.dataset.id")
    page.key(*ENTER)
    check("Enter opens one", page.wait(f"document.querySelector('.entry[aria-current=true]')?.dataset.id === '{here}'"))
    page.click("#back")
    page.js("document.querySelector('#pause').focus({focusVisible: true})")
    outline = page.js("getComputedStyle(document.activeElement).outlineWidth")
    check("the focus is seen", outline == "3px", outline)


def check_looks(browser, server):
    for width, dark, phone in (
        (1280, False, False),
        (1280, True, False),
        (390, False, True),
        (390, True, True),
        (320, False, True),
        (1920, True, False),
    ):
        page = browser.page(server.address, width=width, height=850, dark=dark, phone=phone)
        page.wait("document.querySelectorAll('.entry').length > 5")
        name = f"{width} wide, {'dark' if dark else 'light'}"
        check(f"nothing sticks out, {name}", page.js("document.scrollingElement.scrollWidth <= innerWidth"))
        pale = page.js(PALE)
        check(f"contrast, {name}", not pale, pale)
        back = page.js("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
        check(f"the scheme, {name}", (max(back) < 60) == dark, back)
        check(f"no problem, {name}", not page.problems, page.problems)
        page.send("Page.close")


def check_lost(page, server, model, folder):
    port = server.port
    server.stop()
    check(
        "a server that is gone is told",
        page.wait("/does not answer/.test(document.querySelector('#connection').textContent)"),
    )
    again = Server(
        program, "--port", str(port), f"yard={SNOW}", f"ball={SNOW}", f"door={SNOW}", model=model, folder=folder
    )
    check("and found again", page.wait("/Connected/.test(document.querySelector('#connection').textContent)"))
    check("it ends well", again.stop() == 0, again.said)


def main() -> int:
    if not chromium():
        print("no chromium here: skipped")
        return 77
    with tempfile.TemporaryDirectory(prefix="web-page-") as name, Browser() as browser:
        folder = Path(name)
        for model in ("a", "b"):
            (folder / f"{model}.safetensors").write_text(
                f"standin\nname={model}\ntext={model} <img src=x onerror=alert(1)> {{n}}\n"
            )
        model = folder / "a.safetensors"
        gone = SNOW.replace("is-live=true", "is-live=true num-buffers=3")
        server = Server(
            program, "--models", name, f"yard={SNOW}", "ball=test:ball", f"door={gone}", model=model, folder=folder
        )
        page = browser.page(server.address)
        check_video(page)
        check_settings(page, server)
        check_captions(page)
        check_history(page)
        check_timeline(page)
        check_controls(page, server)
        check_access(page)
        origin = f"127.0.0.1:{server.port}"
        elsewhere = [r for r in page.requests if not re.match(rf"(http|ws)://{re.escape(origin)}/|data:|blob:", r)]
        check("no request to anywhere else", page.requests and not elsewhere, elsewhere)
        refused = [p for p in page.problems if "400" not in p]  # one setting was refused on purpose
        check("no script failed, nothing broke the policy", not refused, refused)
        check_looks(browser, server)
        check_lost(page, server, model, folder)
    return check.end()


if __name__ == "__main__":
    sys.exit(main())
