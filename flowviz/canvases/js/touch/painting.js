/**
 * Marks of the plane on a 2D context. `p` holds the context g, the maps X and Y from the plane to
 * CSS pixels, `scale` (pixels per unit of the plane), `dot` (size of marks) and `look` (colours).
 */

const TURN = 2 * Math.PI;

/** Arrows [x0, y0, x1, y1] in pixels, in the colours of the context. */
export function arrows(g, list, width, head) {
  const tips = [];
  g.lineWidth = width;
  g.lineCap = "butt";
  g.beginPath();
  for (const [x0, y0, x1, y1] of list) {
    const length = Math.hypot(x1 - x0, y1 - y0);
    if (length < 1) continue;
    const h = Math.min(head, length * 0.6), ux = (x1 - x0) / length, uy = (y1 - y0) / length;
    g.moveTo(x0, y0); g.lineTo(x1 - ux * h * 0.9, y1 - uy * h * 0.9);
    tips.push([x1, y1, x1 - ux * h, y1 - uy * h, -uy * h * 0.42, ux * h * 0.42]);
  }
  g.stroke();
  g.beginPath();
  for (const [x, y, bx, by, wx, wy] of tips) {
    g.moveTo(x, y); g.lineTo(bx + wx, by + wy); g.lineTo(bx - wx, by - wy); g.closePath();
  }
  g.fill();
}

export function diamond(g, x, y, r, fill, edge) {
  g.beginPath();
  g.moveTo(x, y - r); g.lineTo(x + r, y); g.lineTo(x, y + r); g.lineTo(x - r, y);
  g.closePath();
  g.fillStyle = fill; g.strokeStyle = edge; g.lineWidth = 2;
  g.stroke(); g.fill();
}

/** Data points in five groups: the heavier, the greener and larger. */
export function paintPoints({ g, X, Y, dot, look }, post) {
  const top = post.w.reduce((a, b) => Math.max(a, b), 0), levels = [[], [], [], [], []];
  for (let i = 0; i < post.n; i++)
    levels[Math.min(4, Math.ceil(4.99 * Math.sqrt(post.w[i] / top) - 0.5))].push(i);
  levels.forEach((items, level) => {
    g.fillStyle = level ? look.data : look.noise;
    g.globalAlpha = level ? 0.3 + 0.17 * level : 0.28;
    g.beginPath();
    for (const i of items) {
      const r = (1.5 + (level ? 5 * Math.sqrt(post.w[i]) : 0)) * dot;
      const x = X(post.data[2 * i]), y = Y(post.data[2 * i + 1]);
      g.moveTo(x + r, y); g.arc(x, y, r, 0, TURN);
    }
    g.fill();
  });
  g.globalAlpha = 1;
}

function paintBox({ g, X, Y }, { cells, edges_x, edges_y }, k, shade, outlined) {
  const [i, j] = cells[k], x = X(edges_x[i]), y = Y(edges_y[j + 1]);
  const w = X(edges_x[i + 1]) - x, h = Y(edges_y[j]) - y;
  g.globalAlpha = shade; g.fillRect(x, y, w, h);
  if (outlined) { g.globalAlpha = 0.5; g.strokeRect(x + 0.5, y + 0.5, w - 1, h - 1); }
}

/** A Gaussian at one and two standard deviations. */
function paintGaussian({ g, X, Y, scale }, { means, covariances }, k, shade, outlined) {
  const [xx, xy, yy] = covariances.subarray(3 * k, 3 * k + 3), turn = Math.atan2(2 * xy, xx - yy) / 2;
  const middle = (xx + yy) / 2, half = Math.hypot((xx - yy) / 2, xy); // its variances are middle ± half
  const spreads = [middle + half, Math.max(0, middle - half)].map(Math.sqrt);
  for (const times of [1, 2]) {
    const [rx, ry] = spreads.map((spread) => Math.max(2, times * spread * scale));
    g.beginPath();
    g.ellipse(X(means[2 * k]), Y(means[2 * k + 1]), rx, ry, -turn, 0, TURN);
    g.globalAlpha = shade * (times === 1 ? 0.7 : 0.45); g.fill();
    if (outlined) { g.globalAlpha = 0.3; g.stroke(); }
  }
}

/** Boxes or Gaussians, shaded by weight. */
export function paintParts(p, post, parts) {
  const { g, look } = p, paintPart = parts.kind === "boxes" ? paintBox : paintGaussian;
  g.fillStyle = g.strokeStyle = look.data;
  g.lineWidth = 1;
  for (let k = 0; k < post.n; k++)
    paintPart(p, parts, k, 0.85 * Math.sqrt(post.w[k]), post.n < 60);
  g.globalAlpha = 1;
}

/** Conditional trajectories through (t, x) over rows of the table, from noise (grey) to data. */
export function paintTrajectories({ g, X, Y, dot, look }, groups, post, { alpha, sigma }, rows) {
  const at = (i, row) => [
    X(alpha[row] * post.data[2 * i] + sigma[row] * post.noise[2 * i]),
    Y(alpha[row] * post.data[2 * i + 1] + sigma[row] * post.noise[2 * i + 1]),
  ];
  g.lineJoin = "round";
  for (const { alpha: opacity, items } of groups) {
    g.globalAlpha = opacity * 0.8;
    g.strokeStyle = look.role;
    g.lineWidth = (0.7 + 1.3 * opacity) * dot;
    g.beginPath();
    for (const { i } of items) rows.forEach((row, q) => {
      const [x, y] = at(i, row);
      if (q) g.lineTo(x, y); else g.moveTo(x, y);
    });
    g.stroke();
    g.fillStyle = look.noise;
    g.globalAlpha = Math.min(1, opacity + 0.25);
    g.beginPath();
    for (const { i } of items) {
      const [x, y] = at(i, 0);
      g.moveTo(x + 2.2 * dot, y); g.arc(x, y, 2.2 * dot, 0, TURN);
    }
    g.fill();
  }
  g.globalAlpha = 1;
}
