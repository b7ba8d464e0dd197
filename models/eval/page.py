# SPDX-License-Identifier: LGPL-2.1-or-later
"""page.py - writes an evaluation as one HTML page: the table, then photos with labels, captions and references: first
those whose caption names something absent, where that is known, then the best and the worst.

The page holds everything, photos too. All text is escaped, because captions and file names may contain anything.
"""

import base64
import html
import io

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882;
  --dim: color-mix(in srgb, currentColor 62%, transparent);
  --good: #1a7f4b; --bad: #b3402a; }
@media (prefers-color-scheme: dark) { :root { --good: #5fcf95; --bad: #f08a72; } }
* { box-sizing: border-box }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1320px; margin: 0 auto; padding: 2rem 1.2rem 4rem }
h1 { font-size: 1.5rem; margin: 0 0 .2rem; overflow-wrap: anywhere } h2 { font-size: 1.2rem; margin: 2.6rem 0 .2rem }
p { margin: .2rem 0 1rem; color: var(--dim) }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap }
th, td { padding: .35rem .8rem; text-align: right; border-bottom: 1px solid var(--line) }
th { font-weight: 600; font-size: .85rem } th:first-child, td:first-child { text-align: left; padding-left: 0 }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(290px, 1fr)); gap: 1.1rem; margin-top: 1rem }
article { border: 1px solid var(--line); border-radius: 10px; overflow: hidden; display: flex; flex-direction: column }
figure { margin: 0; position: relative } img { display: block; width: 100%; aspect-ratio: 1 }
.score { position: absolute; top: .6rem; right: .6rem; padding: .1rem .55rem; border-radius: 99px; color: #fff;
  background: #000b; font-size: .85rem; font-variant-numeric: tabular-nums }
.text { padding: .8rem 1rem 1rem } .text dl { margin: 0 }
dt { font-size: .72rem; color: var(--dim); margin-top: .5rem } dt:first-child { margin-top: 0 }
dd { margin: 0; font-weight: 600; line-height: 1.35 } .best dd { color: var(--good) }
.worst dd, .false dd { color: var(--bad) }
.labels { font-size: .82rem; margin: 0 0 .5rem }
ul { margin: .7rem 0 0; padding: .6rem 0 0 1.1rem; border-top: 1px solid var(--line); font-size: .88rem }
li { margin: .12rem 0 } .name { color: var(--dim); font-size: .72rem; margin: .7rem 0 0; overflow-wrap: anywhere }
"""


def picture(pixels):
    """uint8 [h, w, 3] -> a data: URL of a small JPEG; a page has many of them."""
    from PIL import Image

    image = Image.fromarray(pixels)
    image.thumbnail((256, 256))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()


def table(rows, metrics):
    head = "".join(f"<th>{html.escape(m)}</th>" for m in metrics)
    lines = []
    for row in rows:
        cells = "".join(f"<td>{row['scores'][m]:.3f}</td>" for m in metrics)
        cells += (
            f"<td>{100 * row['equal']:.1f} %</td><td>{row['cider_difference']:+.4f}</td>"
            if "equal" in row
            else "<td></td><td></td>"
        )
        lines.append(f"<tr><td>{html.escape(row['label'])}</td>{cells}</tr>")
    return (
        f'<div class="wide"><table><thead><tr><th></th>{head}<th>equal captions</th><th>CIDEr apart</th></tr>'
        "</thead>"
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def card(name, kind, rows, references, pixels, score):
    """One photo. Rows with the same caption share an entry."""
    said = {}
    for row in rows:
        said.setdefault(row["captions"][name][0], []).append(row["label"])
    captions = ""
    for text, labels in said.items():
        who = html.escape(", ".join(labels)) if len(said) > 1 else "all"
        captions += f"<dt>{who}</dt><dd>{html.escape(text or '(empty)')}</dd>"
    read = next((row["labels"][name] for row in rows if row.get("labels", {}).get(name)), [])
    if read:
        told = html.escape(", ".join(f"{label} {probability:.2f}" for label, probability in read))
        captions = f'<p class="labels">{told}</p>{captions}'
    wanted = "".join(f"<li>{html.escape(text)}</li>" for text in references)
    return (
        f'<article class="{kind}"><figure><img loading="lazy" alt="" src="{picture(pixels)}">'
        f'<span class="score">{html.escape(score)}</span></figure><div class="text"><dl>{captions}</dl>'
        f'<ul>{wanted}</ul><div class="name">{html.escape(name)}</div></div></article>'
    )


def make(model, rows, metrics, references, squares, lost, count):
    """The page's HTML. Photos are ordered by the CIDEr of the last row made in torch, else of the last row."""
    first = next((row for row in reversed(rows) if row["engine"] == "torch"), rows[-1])
    order = sorted(first["cider"], key=lambda name: (-first["cider"][name], name))
    count = min(count, (len(order) + 1) // 2)
    best, worst = order[:count], order[: count - 1 : -1][:count]
    parts = [
        f"<h1>{html.escape(str(model))}</h1><p>{len(order)} photos. CIDEr of a photo is 10 if caption and "
        f"references are the same sentence, and 0 if they share no word.</p>",
        table(rows, metrics),
    ]
    if lost:
        parts.append(f"<h2>Left out</h2><p>{len(lost)}: {html.escape('; '.join(lost[:20]))}</p>")
    absent = first.get("truth", {}).get("each", {})
    false = sorted(absent, key=lambda name: (-len(absent[name]), name))
    chosen = (
        ("false", "False", false, f"{len(false)} captions name something that is not in the photo, by its annotations"),
        ("best", "Best", best, f"{len(best)} photos, by CIDEr of {first['label']}"),
        ("worst", "Worst", worst, f"{len(worst)} photos, by CIDEr of {first['label']}"),
    )
    for kind, title, names, text in chosen:
        if names:
            cards = "".join(
                card(
                    name,
                    kind,
                    rows,
                    references[name],
                    squares[name],
                    "no " + ", ".join(absent[name]) if kind == "false" else f"CIDEr {first['cider'][name]:.2f}",
                )
                for name in names
            )
            parts.append(f'<h2>{title}</h2><p>{html.escape(text)}</p><div class="cards">{cards}</div>')
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(str(model))}</title><style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )
