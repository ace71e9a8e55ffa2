"""The style sheet of the report: light, dark and print."""

from __future__ import annotations

STYLE = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1c2128;--soft:#57606a;--line:#d0d7de;--box:#f6f8fa;
--link:#0550ae;--error:#b3121f;--errorbg:#ffebe9;--warning:#7d4e00;--warningbg:#fff8c5;
--note:#0a4c8a;--notebg:#ddf4ff;--ok:#116329;--okbg:#dafbe1;--pack:#dafbe1;--packline:#116329;
--host:#fff8c5;--hostline:#7d4e00;--missing:#ffebe9;--missingline:#b3121f;--open:#ddf4ff;
--openline:#0a4c8a}
@media (prefers-color-scheme:dark){:root{--bg:#0d1117;--fg:#e6edf3;--soft:#9da7b1;--line:#3d444d;
--box:#161b22;--link:#79b8ff;--error:#ff9b94;--errorbg:#3d1518;--warning:#e3b341;
--warningbg:#332700;--note:#8cc8ff;--notebg:#0c2d4d;--ok:#6fdd8b;--okbg:#0f2e18;--pack:#0f2e18;
--packline:#6fdd8b;--host:#332700;--hostline:#e3b341;--missing:#3d1518;--missingline:#ff9b94;
--open:#0c2d4d;--openline:#8cc8ff}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:75rem;padding:1rem;background:var(--bg);color:var(--fg);
font:1rem/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.4rem;margin:.2rem 0}
h2{font-size:1.2rem;margin:2rem 0 .5rem;border-bottom:1px solid var(--line)}
h3{font-size:1rem;margin:1rem 0 .3rem}
p,ul,ol,figure{margin:.3rem 0}
a{color:var(--link)}
code,pre{font-family:ui-monospace,monospace;font-size:.9em;unicode-bidi:isolate}
code{background:var(--box);padding:.05rem .25rem;border-radius:3px}
summary{cursor:pointer}
:target{outline:2px solid var(--link);outline-offset:2px;scroll-margin-top:1rem}
details:has(:target)::details-content{content-visibility:visible;block-size:auto}
.soft{color:var(--soft)}
.verdict{border-left:.4rem solid;padding:.6rem .8rem;margin:.5rem 0 1rem}
.verdict p{margin:0}
.verdict strong{font-size:1.2rem}
.failed{border-color:var(--error);background:var(--errorbg)}
.passed{border-color:var(--ok);background:var(--okbg)}
.neutral{border-color:var(--soft);background:var(--box)}
.failed strong{color:var(--error)}
.passed strong{color:var(--ok)}
.cause{border:1px solid var(--line);border-left:.3rem solid;border-radius:4px;margin:.6rem 0;
padding:.5rem .8rem}
.cause h3{margin:0 0 .2rem}
.cause.error{border-left-color:var(--error)}
.cause.warning{border-left-color:var(--warning)}
.cause.note{border-left-color:var(--note)}
.tag{display:inline-block;white-space:nowrap;font-size:.8rem;font-weight:600;padding:0 .4rem;
border-radius:3px;margin:.1rem 0;
border:1px solid;background:var(--bg)}
.tag.error,.tag.missing{color:var(--error);border-style:dotted}
.tag.warning,.tag.host{color:var(--warning);border-style:dashed}
.tag.expected{color:var(--soft);border-style:dashed}
.tag.note,.tag.open{color:var(--note);border-style:double;border-width:3px}
.tag.ok,.tag.pack{color:var(--ok)}
.code{color:var(--soft);font-weight:400;font-size:.85rem}
.scroll{overflow-x:auto;max-width:100%}
table{border-collapse:collapse;width:100%;font-size:.9rem}
th,td{text-align:left;vertical-align:top;padding:.25rem .5rem;border-top:1px solid var(--line)}
table.objects td:first-child{width:38%}
td.number,th.number{text-align:right;white-space:nowrap}
.part{border:1px solid var(--line);border-radius:4px;margin:.5rem 0;padding:.3rem .7rem}
.head{font-weight:600}
svg{display:block;max-width:none}
svg.map{width:100%;height:auto}
svg text{fill:var(--fg);stroke:none;font:13px ui-monospace,monospace}
svg text.small{font-size:11px;fill:var(--fg)}
svg .shape{stroke-width:1.5}
svg .pack .shape{fill:var(--pack);stroke:var(--packline)}
svg .host .shape{fill:var(--host);stroke:var(--hostline);stroke-dasharray:6 3}
svg .missing .shape{fill:var(--missing);stroke:var(--missingline);stroke-dasharray:2 3;
stroke-width:2.5}
svg .open .shape{fill:var(--open);stroke:var(--openline)}
svg .expected .shape{fill:var(--box);stroke:var(--soft);stroke-dasharray:6 3}
svg .fold .shape{fill:var(--box);stroke:var(--soft)}
svg .edge path{fill:none;stroke:var(--soft);stroke-width:1.5}
svg .edge path.hit{stroke:transparent;stroke-width:9}
svg .edge.host path.line{stroke:var(--hostline);stroke-dasharray:6 3;stroke-width:2}
svg .edge.expected path.line{stroke-dasharray:6 3}
svg .edge.missing path.line{stroke:var(--missingline);stroke-dasharray:2 3;stroke-width:2.5}
svg .edge.open path.line{stroke:var(--openline);stroke-dasharray:9 3 2 3}
svg .edge:hover path.line,svg .edge:focus path.line{stroke:var(--link);stroke-width:3}
svg .tile{fill:var(--box);stroke:var(--soft)}
svg .tile.copy{fill:var(--host);stroke:var(--hostline);stroke-width:2;stroke-dasharray:6 3}
footer{margin-top:2rem;border-top:1px solid var(--line);font-size:.9rem;color:var(--soft)}
@media (max-width:40rem){body{padding:.6rem}.cause,.part{padding:.4rem}
table.objects thead{position:absolute;left:-9999px}
table.objects tr{display:block;border-top:1px solid var(--line);padding:.3rem 0}
table.objects td,table.objects td:first-child{display:block;width:auto;border:0;padding:.1rem 0}
table.objects td::before{content:attr(data-label) " ";color:var(--soft);font-size:.8rem}}
@media print{:root{color-scheme:light;--bg:#fff;--fg:#000;--soft:#444;--line:#999;--box:#fff;
--link:#000;--error:#8a0000;--errorbg:#fff;--warning:#553300;--warningbg:#fff;--note:#002f5f;
--notebg:#fff;--ok:#00410f;--okbg:#fff;--pack:#fff;--packline:#00410f;--host:#fff;
--hostline:#553300;--missing:#fff;--missingline:#8a0000;--open:#fff;--openline:#002f5f}
html{font-size:9pt}
body{max-width:none;padding:0}
.cause details::details-content{content-visibility:visible;block-size:auto}
svg{max-width:100%;height:auto}.cause{break-inside:avoid}a{text-decoration:none}
.scroll{overflow:visible}}
"""
"""CSS without ``<``, ``>`` and ``&``: XML escapes them, and HTML does not in a style sheet.

Colours have a contrast of at least 4.5:1.
"""
