import { html, type Content, type Html } from "../html/html.js";
import type { Picture } from "../read/pictures.js";
import type { Run } from "../run.js";

/**
 * Images as large as they can be seen well, by rules of style made for their widths: small ones are enlarged by whole
 * factors with hard pixels, and shrunk smoothly only where not even their own size has room. On dense screens halves
 * and thirds are whole numbers of the screen's pixels too.
 */

/** Sides of samples and examples, CSS pixels: at a desk and on a phone. */
const TILE = { desk: 128, phone: 80, densePhone: 104 };
/** Width of a sample grid in the film strip: four images of 64 pixels and the gaps between them have room. */
const FRAME = 280;
/** The page's widest column. */
const COLUMN = 1080;

/** One of many: a sample or an example. */
export function tile(picture: Picture, alt: string): Html {
  return image(picture, "tile", alt, alt);
}

/** A frame of the film strip. */
export function frame(picture: Picture, alt: string): Html {
  return image(picture, "frame", alt);
}

/** As wide as its column allows. */
export function fitted(picture: Picture, alt: string): Html {
  return html`<div class="fit">${image(picture, "fit", alt)}</div>`;
}

function image({ src, width, height }: Picture, kind: string, alt: string, title?: string): Html {
  const hover: Content = title !== undefined && html` title="${title}"`;
  return html`<img class="${kind}-${width}" src="${src}" width="${width}" height="${height}" alt="${alt}" ${hover} />`;
}

/** The rules for all pictures of a page. */
export function pictureRules(run: Run): string {
  const tiles = [...run.samples, ...run.examples].map(({ picture }) => picture.width);
  const frames = run.film.frames.map(({ picture }) => picture.width);
  const fits = [run.order, run.reconstructions].flatMap((picture) => picture?.width ?? []);
  return [
    ...unique(tiles).map(tileRules),
    ...unique(frames).map((width) => `.frame-${width} { ${enlarged(width, FRAME)} }`),
    ...unique(fits).map(fitRules),
  ].join("\n");
}

/** The rules for tiles of these widths. */
export function tilesRules(widths: readonly number[]): string {
  return unique(widths).map(tileRules).join("\n");
}

function tileRules(width: number): string {
  return [
    `.tile-${width} { ${enlarged(width, TILE.desk)} }`,
    `@media (max-width: 40rem) { .tile-${width} { ${enlarged(width, TILE.phone)} } }`,
    `@media (max-width: 40rem) and (min-resolution: 2dppx) { .tile-${width} { ${enlarged(width, TILE.densePhone, 2)} } }`,
  ].join("\n");
}

/** The largest whole multiple of `1 / density` that fits; smooth where not even one does. */
function enlarged(width: number, room: number, density = 1): string {
  const steps = Math.floor((room / width) * density);
  if (steps < density) return `width: ${Math.min(width, room)}px;`;
  return `width: ${(steps / density) * width}px; image-rendering: pixelated;`;
}

function fitRules(width: number): string {
  const rules = [`.fit-${width} { width: 100%; }`];
  for (const density of [1, 2, 3]) {
    const steps: string[] = [];
    for (let k = 1; (k * width) / density <= COLUMN && k <= 4 * density; k++) {
      const size = (k * width) / density;
      if (density > 1 && k < density && size < 240) continue; // too small to look at: better smooth and wide
      const px = Math.floor(size * 100) / 100;
      steps.push(`@container (min-width: ${px}px) { .fit-${width} { width: ${px}px; image-rendering: pixelated; } }`);
    }
    rules.push(density === 1 ? steps.join("\n") : `@media (min-resolution: ${density}dppx) { ${steps.join("\n")} }`);
  }
  return rules.join("\n");
}

function unique(widths: readonly number[]): number[] {
  return [...new Set(widths)].sort((a, b) => a - b);
}
