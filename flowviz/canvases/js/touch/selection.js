/** Which parts of a posterior are drawn, and how. */

/** Fixed numbers in (0, 1], one per part: with them the selection changes little while x moves. */
export function ranks(n) {
  const out = new Float64Array(n);
  for (let i = 0; i < n; i++) out[i] = ((i + 1) * 0.6180339887498949) % 1 || 1;
  return out;
}

/**
 * At most `max` parts: those of largest weight / rank (priority sampling: Duffield, Lund, Thorup 2007),
 * so that the probability to be drawn grows with the weight, and each represents max(weight, threshold).
 * Returns [{i, w}], lightest first; the sum of all w is about 1.
 */
export function selected(weights, rank, max) {
  const chosen = [];
  let light = 0, top = 0;
  for (const w of weights) if (w > top) top = w;
  for (let i = 0; i < weights.length; i++) if (weights[i] > 2e-3 * top) chosen.push(i);
  if (chosen.length > max) {
    chosen.sort((a, b) => weights[b] / rank[b] - weights[a] / rank[a]);
    light = weights[chosen[max]] / rank[chosen[max]];
    chosen.length = max;
  }
  return chosen.map((i) => ({ i, w: Math.max(weights[i], light) })).sort((a, b) => a.w - b.w);
}

/** Up to eight groups of similar weight, each drawn at once: [{alpha, items}], faintest first. */
export function grouped(items) {
  const groups = new Map();
  for (const item of items) {
    const level = Math.ceil(8 * Math.sqrt(Math.min(1, item.w)));
    if (!groups.has(level)) groups.set(level, { alpha: 0.1 + (0.85 * level) / 8, items: [] });
    groups.get(level).items.push(item);
  }
  return [...groups.entries()].sort(([a], [b]) => a - b).map(([, group]) => group);
}

/** Rows of the table through which a conditional trajectory is drawn: both ends if it is straight. */
export function rowsOf(alpha, sigma, max = 40) {
  const last = alpha.length - 1, rise = alpha[last] - alpha[0], fall = sigma[last] - sigma[0];
  const bend = (a, i) => Math.abs((a - alpha[0]) * fall - (sigma[i] - sigma[0]) * rise);
  const straight = alpha.every((a, i) => bend(a, i) < 1e-9);
  const count = straight ? 1 : Math.min(max, last);
  return Array.from({ length: count + 1 }, (_, i) => Math.round((i * last) / count));
}
