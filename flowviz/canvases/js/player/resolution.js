/** Fewer pixels during a movement on machines on which painting makes frames late. */

/** Pixels along an edge, as a share of the screen's own, after frames [gap, paint] in milliseconds. */
export function qualityAfter(quality, frames, ratio) {
  const median = (i) => frames.map((f) => f[i]).sort((a, b) => a - b)[frames.length >> 1];
  if (median(0) > 23 && median(1) > 6) return Math.max(ratio > 1 ? 0.5 : 0.7, quality - 0.25);
  return median(0) < 18 && median(1) < 4 ? Math.min(1, quality + 0.25) : quality;
}

export class Resolution {
  /** @param {() => void} onRest Called when a movement has ended. */
  constructor(onRest) {
    this.onRest = onRest;
    this.quality = 1;
    this.moving = false;
    this.frames = [];
  }

  /** The share of pixels for the next picture. */
  get share() { return this.moving ? this.quality : 1; }

  /** One frame of a movement; a gap of 0 milliseconds is not counted. */
  move(gap = 0, paint = 0) {
    if (gap) this.frames.push([gap, paint]);
    if (this.frames.length >= 16) {
      this.quality = qualityAfter(this.quality, this.frames, devicePixelRatio || 1);
      this.frames = [];
    }
    this.moving = true;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => { this.moving = false; this.onRest(); }, 140);
  }

  end() { clearTimeout(this.timer); }
}
