/** Sizes: each image pixel is a whole number of the screen's own pixels. */

import { clamp } from "../base/numbers.js";

/** Largest height of an image in CSS pixels. */
const MAX_HEIGHT = { sheet: 128, film: 224, strip: 76, choice: 32 };
const MIN_FILM = 96;
/** Width of a narrow page in CSS pixels. */
const NARROW = 560;
/** CSS pixels between panels, at least between sheets beside each other, between the images of a film. */
const GAP = { panels: 16, sheets: 4, film: 14, strip: 4 };

/** Screen pixels per image pixel: as many whole ones as fit into `space` CSS pixels, at least 1. */
export const zoom = (space, pixels, ratio) => Math.max(1, Math.floor((space * ratio) / pixels + 1e-6));

/** The largest zoom up to k of which the height fits, at least half of k: pages can scroll. */
function limit(k, tall, height) {
  let best = k;
  while (best > Math.max(1, Math.ceil(k / 2)) && tall(best) > height) best--;
  return best;
}

/**
 * Arrangement of `count` sheets: beside each other, or stacked if images then are larger by half and
 * all sheets still fit. `labels` of the sheets beside each other have row labels of width `label`.
 * Returns {sideBySide, k, gap}: k screen pixels per image pixel and `gap` CSS pixels between sheets.
 */
export function arranged({ width, height, count, cols, rows, h, w, label, labels = count, ratio }) {
  const largest = zoom(MAX_HEIGHT.sheet, h, ratio);
  const nativeW = cols * (w + 1) - 1, nativeH = rows * (h + 1) - 1;
  const free = width - labels * label, tall = (k) => (k * nativeH) / ratio;
  const stacked = Math.min(largest, zoom(width - label, nativeW, ratio));
  if (count === 1) return { sideBySide: true, k: limit(stacked, tall, height), gap: GAP.panels };
  const sideBySide = Math.min(largest, zoom((free - GAP.sheets * (count - 1)) / count, nativeW, ratio));
  const below = limit(stacked, tall, height / count);
  if (below > 1.5 * sideBySide) return { sideBySide: false, k: below, gap: GAP.panels };
  const k = limit(sideBySide, tall, height);
  const gap = (free - (count * k * nativeW) / ratio) / (count - 1);
  return { sideBySide: true, k, gap: clamp(gap, GAP.sheets, GAP.panels) };
}

/**
 * Sizes of films: screen pixels per image pixel of the two images, of the strip and of the choice, and
 * CSS pixels between the moments of the strip, whose row label is `label` wide.
 */
export function filmSizes({ width, count, moments, h, w, label, ratio }) {
  const columns = width < NARROW ? 1 : count; // films are stacked on a narrow page
  const space = (width - GAP.panels * (columns - 1)) / columns, moment = (width - label - 8) / moments;
  const fit = Math.min(zoom(MAX_HEIGHT.film, h, ratio), zoom((space - GAP.film) / 2, w, ratio));
  const strip = Math.min(zoom(MAX_HEIGHT.strip, h, ratio), zoom(moment - GAP.strip, w, ratio));
  return {
    film: Math.max(zoom(MIN_FILM, h, ratio), fit), strip, choice: zoom(MAX_HEIGHT.choice, h, ratio),
    gap: clamp(moment - (w * strip) / ratio, 1, GAP.strip),
  };
}
