/** Numbers and their text. */

export const clamp = (v, low, high) => Math.min(high, Math.max(low, v));

/** a[i ...] + (b[j ...] - a[i ...]) * f into `out`, over the length of `out`. */
export function blend(a, i, b, j, f, out) {
  for (let q = 0; q < out.length; q++) out[q] = a[i + q] + (b[j + q] - a[i + q]) * f;
  return out;
}

/** Index of the number nearest to `wanted` in a list. */
export function nearest(list, wanted) {
  let best = 0;
  for (let i = 1; i < list.length; i++)
    if (Math.abs(list[i] - wanted) < Math.abs(list[best] - wanted)) best = i;
  return best;
}

/** The smallest of 1, 2, 5 x 10^e that divides `span` into at most `count` parts. */
export function niceStep(span, count) {
  const rough = span / count, power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((m) => m * power).find((step) => step >= rough * 0.999);
}

/** Round numbers inside [low, high], at most about `count`. */
export function ticks(low, high, count = 5) {
  const step = niceStep(high - low, count), out = [];
  for (let i = Math.ceil(low / step - 1e-6); i <= Math.floor(high / step + 1e-6); i++)
    out.push(Number((i * step).toPrecision(12)));
  return out;
}

/** Round numbers over [low, high] for a logarithmic axis: decades, or 1, 2, 5 where these are few. */
export function logTicks(low, high) {
  const out = [], marks = Math.log10(high / low) > 2.2 ? [1] : [1, 2, 5];
  for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++)
    for (const m of marks) {
      const value = m * 10 ** e;
      if (value >= low * 0.999 && value <= high * 1.001) out.push(value);
    }
  return out;
}

/** The range of positive numbers, extended to the next of 1, 2, 5 x 10^e so that axes seldom change. */
export function logRange(values) {
  const good = values.filter((v) => v > 0 && Number.isFinite(v));
  if (!good.length) return [0.01, 1];
  const snap = (v, up) => {
    const power = 10 ** Math.floor(Math.log10(v) + 1e-9), lead = v / power, marks = [1, 2, 5, 10];
    return power * (up ? marks.find((m) => m >= lead - 1e-9) : marks.findLast((m) => m <= lead + 1e-9));
  };
  const low = snap(Math.min(...good), false), high = snap(Math.max(...good), true);
  return high > low ? [low, high] : [low / 2, high * 2];
}

/** An integer with thousands separators. */
export const whole = (n) => Math.round(n).toLocaleString("en");

/** A number with three significant digits. */
export function short(v) {
  const plain = v === 0 || (Math.abs(v) >= 0.001 && Math.abs(v) < 10_000);
  return plain ? String(Number(v.toPrecision(3))) : v.toExponential(1);
}

/** A number or text with a true minus sign. */
export const signed = (v) => String(v).replace("-", "−");
