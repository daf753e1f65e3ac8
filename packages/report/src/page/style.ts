/** The page's style. Colours are variables with a light and a dark value; nothing is loaded. */

/** Text, surfaces and curves, light and dark: text has a contrast of 4.5 or more on either surface, curves of 3. */
export const PALETTES = {
  light: {
    paper: "#fcfbf9",
    card: "#f5f2ec",
    ink: "#211f1b",
    soft: "#625c53",
    line: "#e3ddd3",
    accent: "#1d5c87",
    alarm: "#9c2a1f",
    c0: "#1d5c87",
    c1: "#b0541a",
    c2: "#37793f",
    c3: "#853f8a",
    c4: "#75660f",
    c5: "#a93256",
  },
  dark: {
    paper: "#15161a",
    card: "#1d1f25",
    ink: "#e9e5dd",
    soft: "#aaa499",
    line: "#31343c",
    accent: "#8cc0ea",
    alarm: "#f29a8e",
    c0: "#7db8e8",
    c1: "#f0a468",
    c2: "#86c98c",
    c3: "#cf9ad6",
    c4: "#d6c463",
    c5: "#ee8fab",
  },
} as const;

const DASHES = ["none", "7 4", "2 3", "10 3 2 3", "4 4", "1 5"];

function variables(palette: Readonly<Record<string, string>>): string {
  return Object.entries(palette)
    .map(([name, color]) => `--${name}: ${color};`)
    .join(" ");
}

export const STYLE = `
:root {
  color-scheme: light dark;
  ${variables(PALETTES.light)}
  --serif: "Iowan Old Style", "Palatino Linotype", Palatino, "URW Palladio L", P052, Charter, Georgia, serif;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", "Liberation Sans", sans-serif;
  --mono: ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, "Liberation Mono", monospace;
}
@media (prefers-color-scheme: dark) { :root { ${variables(PALETTES.dark)} } }

*, ::before, ::after { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; scroll-behavior: smooth; scroll-padding-top: 1.5rem; }
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
body { margin: 0; background: var(--paper); color: var(--ink); font: 400 1rem/1.6 var(--sans); overflow-wrap: break-word; }
.page { max-width: 1080px; margin: 0 auto; padding: clamp(2rem, 6vw, 5rem) 0 4rem; }
@media (max-width: 1180px) { .page { margin: 0 clamp(1rem, 4vw, 3rem); } }
h1, h2 { font-family: var(--serif); font-weight: 600; line-height: 1.15; letter-spacing: -0.012em; text-wrap: balance; }
h1 { font-size: clamp(2.1rem, 5.5vw, 3.4rem); margin: 0 0 1.25rem; }
h2 { font-size: clamp(1.5rem, 3vw, 1.9rem); margin: 0 0 0.75rem; }
h3 { font-size: 1rem; font-weight: 650; line-height: 1.35; margin: 0; }
p { margin: 0 0 1rem; max-width: 42rem; text-wrap: pretty; }
a { color: var(--accent); text-decoration-thickness: 1px; text-underline-offset: 0.18em; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: 3px; }
section { margin-top: clamp(3.5rem, 8vw, 5.5rem); }
figure { margin: 1.75rem 0 0; }
figcaption, .note { color: var(--soft); font-size: 0.875rem; line-height: 1.5; }
figcaption { max-width: 46rem; margin-top: 0.6rem; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.mono, code, pre { font-family: var(--mono); font-size: 0.8125em; font-variant-ligatures: none; }
.number { font-variant-numeric: tabular-nums lining-nums; }

.eyebrow { color: var(--soft); font-size: 0.8125rem; letter-spacing: 0.09em; text-transform: uppercase; margin: 0 0 0.75rem; }
.lead { font: 400 clamp(1.125rem, 2.2vw, 1.3125rem)/1.5 var(--serif); max-width: 44rem; margin-bottom: 2rem; }
.lead strong { font-weight: 650; white-space: nowrap; }
.alarm { border-left: 3px solid var(--alarm); background: var(--card); padding: 1rem 1.25rem; margin: 0 0 2rem; max-width: 46rem; }
.alarm strong { color: var(--alarm); }
.alarm ul { margin: 0.5rem 0 0; padding-left: 1.1rem; }
.facts { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); margin: 0; border: 1px solid var(--line); border-radius: 8px; overflow: hidden; }
@media (min-width: 44rem) { .facts { grid-template-columns: repeat(4, minmax(0, 1fr)); } }
.facts > div { padding: 0.9rem 1.1rem 1rem; box-shadow: 1px 1px 0 var(--line); }
.facts dt { color: var(--soft); font-size: 0.8125rem; line-height: 1.35; }
.facts dd { margin: 0.15rem 0 0; font: 600 1.5rem/1.2 var(--serif); font-variant-numeric: tabular-nums lining-nums; }
.contents { margin-top: 1.75rem; font-size: 0.9375rem; }
.contents ul { display: flex; flex-wrap: wrap; gap: 0.35rem 1.35rem; list-style: none; margin: 0; padding: 0; }

img { display: block; height: auto; max-width: 100%; background: var(--card); }
.tiles { display: flex; flex-wrap: wrap; gap: 8px; list-style: none; margin: 0; padding: 0; }
.tiles img { border-radius: 3px; }
.fit { container-type: inline-size; }
.strip { display: flex; gap: 1.25rem; list-style: none; margin: 0; padding: 0 0 0.75rem; }
.strip li { flex: none; }
.strip .step { display: block; color: var(--soft); font-size: 0.875rem; margin-top: 0.4rem; }
.scroll { overflow-x: auto; overscroll-behavior-x: contain; scrollbar-width: thin; }

table { border-collapse: collapse; font-size: 0.9375rem; line-height: 1.4; }
.scroll > table { min-width: 100%; }
caption { text-align: left; color: var(--soft); font-size: 0.875rem; padding-bottom: 0.6rem; }
th, td { text-align: left; padding: 0.5rem 1.25rem 0.5rem 0; border-bottom: 1px solid var(--line); vertical-align: baseline; }
thead th { color: var(--soft); font-size: 0.8125rem; font-weight: 500; white-space: nowrap; border-bottom-color: var(--soft); }
tbody th { font-weight: 500; white-space: nowrap; }
th:last-child, td:last-child { padding-right: 0; }
td.number, th.number { text-align: right; white-space: nowrap; }
tfoot th, tfoot td { border-bottom: 0; font-weight: 600; }
tr.main > * { font-weight: 650; }

.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 0 2rem; align-items: start; }
.plot { margin-top: 2.25rem; min-width: 0; }
.plot.wide { grid-column: 1 / -1; }
.plot-head { display: flex; flex-wrap: wrap; justify-content: space-between; align-items: center; gap: 0.25rem 1rem; margin-bottom: 0.4rem; min-height: 2rem; }
.chart { display: block; width: 100%; height: auto; overflow: visible; }
.on-phone { display: none; }
@media (max-width: 40rem) { .at-desk { display: none; } .on-phone { display: block; } }
.scales { border: 1px solid var(--line); border-radius: 6px; padding: 0; margin: 0; display: inline-flex; overflow: hidden; font-size: 0.8125rem; }
.scales input { position: absolute; opacity: 0; }
.scales span { display: block; padding: 0.2rem 0.7rem; cursor: pointer; color: var(--soft); }
.scales :checked + span { background: var(--card); color: var(--ink); font-weight: 600; }
.scales :focus-visible + span { outline: 2px solid var(--accent); outline-offset: -2px; border-radius: 6px; }
.plot:has(input[value="log"]:checked) .linear, .plot:has(input[value="linear"]:checked) .log { display: none; }
.legend { display: flex; flex-wrap: wrap; gap: 0.2rem 1.25rem; list-style: none; margin: 0 0 0.5rem; padding: 0; font-size: 0.875rem; }
.legend li { display: flex; align-items: center; gap: 0.45rem; }
.chart text { fill: var(--soft); font: 400 12px var(--sans); font-variant-numeric: tabular-nums; }
.chart .dots text { fill: var(--ink); font-weight: 600; }
.grid line { stroke: var(--line); stroke-width: 1; }
.base { stroke: var(--soft); stroke-width: 1; }
.curve { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.bar { fill: none; stroke-width: 1.25; opacity: 0.7; }
circle.aim { fill: transparent; stroke: none; }
circle.aim:hover { fill: var(--line); fill-opacity: 0.6; }
.raw { fill: none; stroke-width: 1; stroke-linejoin: round; opacity: 0.32; }
${DASHES.map((dash, i) => `.s${i} { stroke: var(--c${i}); } .curve.s${i} { stroke-dasharray: ${dash}; } circle.s${i} { fill: var(--c${i}); stroke: var(--paper); stroke-width: 1.5; }`).join("\n")}

.lineage { display: grid; grid-template-columns: auto minmax(0, 1fr); gap: 2.5rem 3.5rem; align-items: start; margin-top: 2rem; }
.graph { display: block; max-width: 100%; height: auto; }
.graph-box { position: sticky; top: 1.5rem; }
@media (max-width: 60rem) { .lineage { grid-template-columns: minmax(0, 1fr); } .graph-box { position: static; } .graph { margin: 0 auto; } }
.edges path { fill: none; stroke: var(--soft); stroke-width: 1.25; opacity: 0.75; }
.node rect { fill: var(--card); stroke: var(--line); }
.node.main rect { stroke: var(--accent); stroke-width: 1.5; }
.node:hover rect { stroke: var(--accent); }
.node text { fill: var(--ink); font: 500 11.5px var(--sans); }
.node text.mono { fill: var(--soft); font: 400 10.5px var(--mono); }
.stages { list-style: none; margin: 0; padding: 0; }
.stage { border-top: 1px solid var(--line); padding: 1.25rem 0 1.5rem; }
.stage:target { border-top-color: var(--accent); }
.stage:target h3 { color: var(--accent); }
.stage-head { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 1rem; margin-bottom: 0.6rem; }
.pairs { display: grid; grid-template-columns: minmax(5.5rem, auto) minmax(0, 1fr); gap: 0.2rem 1.25rem; margin: 0 0 0.75rem; font-size: 0.9375rem; }
.pairs dt { color: var(--soft); }
.pairs dd { margin: 0; }
.pairs ul { list-style: none; margin: 0; padding: 0; }
.digest { white-space: nowrap; }
button { font: inherit; color: inherit; }
.digest button { background: none; border: 0; padding: 0 0.15em; margin: 0 -0.15em; border-radius: 3px; cursor: copy; text-decoration: underline dotted var(--soft) 1px; text-underline-offset: 0.25em; }
.digest button:hover { background: var(--card); color: var(--accent); }
.digest button[data-copied]::after { content: " copied"; color: var(--accent); font-family: var(--sans); }
.quiet-button { background: none; border: 1px solid var(--line); border-radius: 6px; padding: 0.3rem 0.8rem; font-size: 0.875rem; cursor: pointer; }
.quiet-button:hover { border-color: var(--soft); }
.missing { color: var(--soft); }
.differs { color: var(--alarm); font-weight: 600; }
details { font-size: 0.9375rem; }
details + details { margin-top: 0.15rem; }
summary { cursor: pointer; color: var(--soft); width: fit-content; }
summary:hover { color: var(--ink); }
details[open] > summary { margin-bottom: 0.4rem; color: var(--ink); }
details table { margin-bottom: 1rem; font-size: 0.875rem; }
details .scroll > table { min-width: min(100%, 28rem); }
details td, details th { padding-top: 0.25rem; padding-bottom: 0.25rem; }
details tbody th { font-family: var(--mono); font-size: 0.8125rem; font-weight: 400; color: var(--soft); white-space: nowrap; }
details td { overflow-wrap: anywhere; }
pre { background: var(--card); border-radius: 8px; padding: 1rem 1.25rem; margin: 1.25rem 0; overflow-x: auto; font-size: 0.875rem; line-height: 1.6; max-width: 46rem; tab-size: 2; }
pre code { font-size: inherit; }
footer { margin-top: 5rem; padding-top: 1.25rem; border-top: 1px solid var(--line); color: var(--soft); font-size: 0.875rem; }

@media print {
  :root { ${variables(PALETTES.light)} --paper: #fff; }
  body { font-size: 10pt; }
  .page { margin: 0; max-width: none; padding: 0; }
  .contents, .scales, .quiet-button { display: none; }
  .scroll { overflow: visible; }
  .strip { flex-wrap: wrap; }
  .lineage { grid-template-columns: minmax(0, 1fr); }
  .graph-box { position: static; }
  .plots { grid-template-columns: 1fr 1fr; }
  .plot, .tiles li, .strip li, tr, svg, pre { break-inside: avoid; }
  h2, h3, .stage-head { break-after: avoid; }
  details::details-content { content-visibility: visible; block-size: auto; }
}
`;
