"""How the page looks: light, dark, narrow and printed. Its classes are those that page.py and svg.py write."""

STYLE = """
:root { --page: #fdfdfc; --ink: #1d2329; --quiet: #59636e; --rule: #dde1e5; --panel: #f3f5f6; --heat: #56b4e9;
  --pass: #0b6b4f; --fail: #a63a10; --warn: #fff3d6; --shade: #1d232938; color-scheme: light; }
@media screen and (prefers-color-scheme: dark) { :root { --page: #14181c; --ink: #e3e7ea; --quiet: #9ba6b0; --rule: #333b43;
  --panel: #1c2227; --heat: #0072b2; --pass: #5fcfa6; --fail: #ff9d78; --warn: #3a2f12; --shade: #c8d2dc4d;
  color-scheme: dark; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 74rem; padding: 1.5rem 1rem 4rem; background: var(--page); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.3rem; margin: 3rem 0 .6rem; padding-top: .9rem; border-top: 1px solid var(--rule); }
h3 { font-size: 1rem; margin: 1.8rem 0 .4rem; }
p, ul { max-width: 46rem; margin: .5rem 0; } main ul:not(.legend) { padding-left: 1.5rem; } li { margin: .25rem 0; }
.note, .sub { color: var(--quiet); font-size: .875rem; }
nav { font-size: .875rem; margin: 1rem 0; }
nav a { color: inherit; margin-right: 1rem; display: inline-block; }
.banner { background: var(--warn); border-left: 4px solid #e69f00; padding: .7rem 1rem; max-width: none; font-weight: 600; }
.choice { background: var(--panel); border-radius: 6px; padding: .7rem 1rem; font-size: 1.15rem;
  font-weight: 600; max-width: none; }
/* A shade at the right edge while there is more; at the end the first layer, which scrolls along, covers it. */
.scroll { overflow-x: auto; margin: 0 0 1.2rem; background: linear-gradient(to left, var(--page) 40%, transparent) right / 3.5rem
  100% no-repeat local, linear-gradient(to left, var(--shade), transparent) right / 1.4rem 100% no-repeat scroll; }
details { margin: 1rem 0; } summary { cursor: pointer; }
.caption { margin: 1.2rem 0 .2rem; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .55rem; text-align: right; border-bottom: 1px solid var(--rule); white-space: nowrap; }
thead th { vertical-align: bottom; white-space: normal; min-width: 3.6rem; font-weight: 600; }
tbody th { text-align: left; font-weight: 500; background: var(--page); white-space: normal; max-width: 22rem; }
tr > th:first-child { position: sticky; left: 0; }
thead th:first-child { background: var(--page); text-align: left; }
td small { color: var(--quiet); font-size: .92em; white-space: nowrap; }
.pass { color: var(--pass); } .fail { color: var(--fail); font-weight: 700; }
.grid { display: grid; gap: 1rem 1.4rem; align-items: start;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr)); }
.grid.four { grid-template-columns: repeat(auto-fill, minmax(min(100%, 14.5rem), 1fr)); }
.grid.four figure { max-width: 20rem; }
.grid.panels { gap: .6rem .8rem; grid-template-columns: repeat(auto-fill, minmax(min(46%, 12rem), 1fr)); }
.grid.panels figure { max-width: 16rem; margin: .3rem 0; } .grid.panels figcaption { font-size: .8rem; }
.grid.two { grid-template-columns: repeat(auto-fill, minmax(min(100%, 25rem), 1fr)); }
.grid.small { gap: .6rem .8rem; align-items: end; grid-template-columns: repeat(auto-fill, minmax(7rem, 1fr)); }
.grid.small figcaption { font-size: .8rem; }
figure { margin: .6rem 0; max-width: 28rem; break-inside: avoid; }
figcaption { font-weight: 600; font-size: .9rem; margin-bottom: .3rem; }
figure svg { display: block; width: 100%; height: auto; }
svg text { font: 11px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; fill: var(--ink); }
svg text.small { font-size: 10px; } svg text.quiet { fill: var(--quiet); }
svg .halo { fill: var(--ink); paint-order: stroke; stroke: var(--page); stroke-width: 3px; stroke-linejoin: round; }
line.grid { stroke: var(--rule); } .heat { fill: var(--heat); } .hollow { fill: var(--page); stroke-width: 1.4px; }
.guide { stroke: var(--quiet); stroke-dasharray: 3 3; stroke-width: 1.2px; }
.faint { stroke: var(--quiet); stroke-opacity: .35; stroke-width: 1.1px; }
.legend { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; font-size: .875rem; max-width: none; }
.swatch { width: 28px; height: 10px; margin-right: .4rem; }
@media (max-width: 40rem) {
  body { padding-top: .8rem; } h1 { font-size: 1.35rem; } h2 { margin-top: 2rem; } .choice { font-size: 1.05rem; }
  nav { overflow-x: auto; white-space: nowrap; padding-bottom: .4rem; }
  tbody th { min-width: 7.5rem; max-width: 9rem; } th, td { padding: .35rem .5rem; }
  tr > th:first-child { border-right: 1px solid var(--rule); } }
@media print {
  details::details-content { content-visibility: visible; display: block; } /* what is folded is printed, too */
  html { font-size: 9.5pt; } body { max-width: none; padding: 0; } nav { display: none; }
  .scroll { overflow: visible; background: none; } .keep, tr { break-inside: avoid; }
  table { font-size: 7pt; } th, td { padding: .2rem .25rem; white-space: normal; } thead th { min-width: 0; }
  h2 { margin-top: 1.6rem; } h2, h3, figcaption, .note, .legend, summary { break-after: avoid; }
  .note:last-child { break-after: auto; }
  .banner, .choice { border: 1px solid #999; } figure { max-width: 11cm; } .grid.small figcaption { font-size: .68rem; }
  .grid { grid-template-columns: repeat(3, 1fr); } .grid:is(.four, .panels) { grid-template-columns: repeat(4, 1fr); }
  .grid.two { grid-template-columns: repeat(2, 1fr); } .grid.small { grid-template-columns: repeat(9, 1fr); } }
"""
