/**
 * PNG and SVG of the Plotly figure with a given key, made in the browser by Plotly's own exporter.
 * Streamlit does not expose its Plotly, so the figure's own download button is clicked, which reads
 * format and size from the figure's context at that moment.
 */

/** Milliseconds to wait for the figure. */
const WAIT = 5000;

/** The figure and its download button, or null if it has not been drawn in time. */
async function figureOf(key) {
  for (const start = performance.now(); performance.now() - start < WAIT; ) {
    /** @type {any} */
    const figure = document.querySelector(`.st-key-${CSS.escape(key)} .js-plotly-plot`);
    const button = figure?.querySelector(".modebar-btn[data-title^='Download']");
    if (figure?._context && button) return { figure, button };
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return null;
}

async function save({ chart, filename, font }, format, status) {
  status.textContent = "";
  const drawnFigure = await figureOf(chart);
  if (!drawnFigure) {
    status.textContent = "The figure is not drawn yet; try again.";
    return;
  }
  const { figure, button } = drawnFigure, { layout, _context: context } = figure;
  const defaults = { options: context.toImageButtonOptions, font: layout.font };
  // A PNG at three times the screen's resolution prints sharply at the width of a page.
  context.toImageButtonOptions = { format, filename, scale: format === "png" ? 3 : 1 };
  // The file has no font of its own: with the page's, text would be wider there than the room for it.
  layout.font = { ...defaults.font, family: font };
  button.click(); // copies the figure at once
  context.toImageButtonOptions = defaults.options;
  layout.font = defaults.font;
}

export default function mount({ data, parentElement }) {
  const status = parentElement.querySelector("[role=status]");
  for (const button of parentElement.querySelectorAll("button")) {
    const format = button.dataset.format;
    button.setAttribute("aria-label", `Download ${data.title} as ${format.toUpperCase()}`);
    button.onclick = () => save(data, format, status);
  }
}
