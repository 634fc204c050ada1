// PNG and SVG of the Plotly figure with a given key, made in the browser by Plotly's own exporter.
// Streamlit keeps its Plotly to itself, so that the figure's own download button is pressed, which
// reads format and size from the figure's context at that moment.

const WAIT_MS = 5000;

function chart(key) {
  return document.querySelector(`.st-key-${CSS.escape(key)} .js-plotly-plot`);
}

async function drawn(key) {
  for (const start = performance.now(); performance.now() - start < WAIT_MS; ) {
    const figure = chart(key);
    const button = figure?.querySelector(".modebar-btn[data-title^='Download']");
    if (figure?._context && button) return { figure, button };
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return null;
}

async function save(key, filename, format, status) {
  status.textContent = "";
  const found = await drawn(key);
  if (!found) {
    status.textContent = "The figure is not drawn yet; try again.";
    return;
  }
  const { figure, button } = found;
  const usual = figure._context.toImageButtonOptions;
  // A PNG at three times the screen's resolution prints sharply at the width of a page.
  figure._context.toImageButtonOptions = { format, filename, scale: format === "png" ? 3 : 1 };
  button.click();
  figure._context.toImageButtonOptions = usual;
}

export default function ({ data, parentElement }) {
  const status = parentElement.querySelector("[role=status]");
  for (const button of parentElement.querySelectorAll("button")) {
    const format = button.dataset.format;
    button.setAttribute("aria-label", `Download ${data.title} as ${format.toUpperCase()}`);
    button.onclick = () => save(data.chart, data.filename, format, status);
  }
}
