/** Colours of CSS as numbers and as packed pixels. */

/**
 * "#rgb", "#rrggbb" or "rgb(r, g, b)" as [r, g, b]; anything else is black.
 * @param {string} text
 * @returns {number[]}
 */
export function rgb(text) {
  const hex = /^#([0-9a-f]{6}|[0-9a-f]{3})/i.exec(text.trim());
  if (!hex) return (text.match(/[\d.]+/g) ?? [0, 0, 0]).slice(0, 3).map(Number);
  const full = hex[1].length === 3 ? [...hex[1]].map((c) => c + c).join("") : hex[1];
  return [0, 2, 4].map((i) => parseInt(full.slice(i, i + 2), 16));
}

/**
 * [r, g, b] as a pixel, in the byte order of ImageData on little-endian machines.
 * @param {number[]} colour
 */
export const pixel = ([r, g, b]) => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;

/**
 * Approximate relative luminance of [r, g, b] in [0, 1]; below 0.5 the page is dark.
 * @param {number[]} colour
 */
export const luminance = ([r, g, b]) => (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255;

/**
 * A ramp through evenly spaced colours as n packed pixels.
 * @param {string[]} stops
 */
export function ramp(stops, n = 1024) {
  const colours = stops.map(rgb), out = new Uint32Array(n);
  for (let i = 0; i < n; i++) {
    const x = (i / (n - 1)) * (colours.length - 1), k = Math.min(colours.length - 2, Math.floor(x));
    out[i] = pixel(colours[k].map((c, j) => Math.round(c + (colours[k + 1][j] - c) * (x - k))));
  }
  return out;
}
