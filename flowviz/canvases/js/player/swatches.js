/** The small pictures on the buttons of the layers. */

const WIDTH = 18, HEIGHT = 12;

function dots(c, colours) {
  colours.forEach((colour, i) => {
    c.fillStyle = colour;
    c.beginPath();
    c.arc(WIDTH * ((i + 0.5) / colours.length), HEIGHT / 2, colours.length > 2 ? 2.6 : 3.4, 0, 7);
    c.fill();
  });
}

function scale(c, stops, { muted }) {
  const gradient = c.createLinearGradient(0, 0, WIDTH, 0);
  stops.forEach((stop, i) => gradient.addColorStop(i / (stops.length - 1), stop));
  c.fillStyle = gradient;
  c.fillRect(0, 1, WIDTH, 10);
  c.strokeStyle = muted;
  c.lineWidth = 1;
  c.strokeRect(0.5, 1.5, WIDTH - 1, 9);
}

const SWATCHES = {
  particles: (c, theme, roles) => dots(c, roles),
  trails: (c, theme, roles) => roles.forEach((colour, i) => {
    c.strokeStyle = colour;
    c.beginPath(); c.moveTo(1, 10 - 4 * i); c.quadraticCurveTo(9, 9 - 6 * i, 17, 5 - 3 * i); c.stroke();
  }),
  density: (c, theme) => scale(c, theme.density, theme),
  field: (c, theme) => {
    c.strokeStyle = c.fillStyle = theme.ink;
    c.beginPath(); c.moveTo(2, 9); c.lineTo(12, 4.5); c.stroke();
    c.beginPath(); c.moveTo(16, 2.6); c.lineTo(11.5, 7.4); c.lineTo(9.6, 3); c.fill();
  },
  data: (c, theme) => dots(c, [theme.roles.data, theme.roles.data]),
  difference: (c, theme) => scale(c, theme.difference, theme),
};

/** Draws the canvas of a layer's button in the colours of the theme and of the panels. */
export function drawSwatch(canvas, layer, theme, colours) {
  const ratio = devicePixelRatio || 1, c = canvas.getContext("2d");
  canvas.width = WIDTH * ratio;
  canvas.height = HEIGHT * ratio;
  c.scale(ratio, ratio);
  c.lineWidth = 1.6;
  SWATCHES[layer](c, theme, [...new Set(colours)]);
}
