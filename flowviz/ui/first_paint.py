"""What the browser paints before the code of a page has run.

Streamlit serves one file for all pages, and its sidebar opens with the first control in it, which
moves the whole page. Here that file has rules that leave the sidebar's room from the start. app.py
gives these routes to the server, which is not running then: import nothing that draws.
"""

from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path

import streamlit
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route
from streamlit import config

_STATIC = Path(streamlit.__file__).parent / "static"

_USED = (
    "BidiComponent",
    "Button",
    "ButtonGroup",
    "Checkbox",
    "Html",
    "ImageList",
    "NumberInput",
    "PageLink",
    "Selectbox",
    "Slider",
    "rehype-katex",
    "rehype-raw",
)
"""Streamlit's scripts of elements that most pages have. Streamlit loads each when the first such
element arrives, and the page moves then."""

_RULES = """<style>
/* Streamlit leaves 96 px above a page, and in the sidebar. */
:root:not(:has(.st-key-lecture-banner)) {
  .stMainBlockContainer { max-width: none; padding: 4rem 2.5rem; }
  [data-testid="stSidebarHeader"] { height: 2.5rem; margin-bottom: 0; }
  /* A menu is beside its label where both fit, so that all controls of Compare fit a projector. */
  .stSidebar {
    [data-testid="stSidebarContent"] { padding-inline: 0.45rem; } /* beside room for a scrollbar */
    :is(.stVerticalBlock, .stHorizontalBlock) { gap: 0.5rem; }
    @supports (field-sizing: content) {
      :is(.stSelectbox, .stNumberInput) {
        display: flex; flex-wrap: wrap; align-items: center; column-gap: 0.4rem;
        > label { flex: 999 1 auto; width: auto; margin: 0; gap: 0.4rem; }
        > div { flex: 1 1 auto; min-width: 9.2rem; max-width: 100%; }
        input { field-sizing: content; flex: 1 1 auto; width: auto; min-width: 0; }
      }
      .stNumberInput > div { min-width: 5.2rem; }
    }
  }
  /* In a low window they are lower, so that those of four panels fit, too. */
  @media (max-height: 920px) and (min-width: 769px) {
    [data-testid="stSidebarHeader"] { height: 2rem; }
    .stSidebar {
      :is(.stVerticalBlock, .stHorizontalBlock) { gap: 0.2rem; }
      :is(.stSelectbox [role="group"], .stButton button, .stTab),
      [data-testid="stNumberInputContainer"] {
        height: 1.875rem; min-height: 0;
      }
      .stNumberInput [data-testid="stNumberInputField"] { padding-block: 0; height: 100%; }
      .stNumberInput [data-testid="stNumberInputContainer"] button { height: 100%; }
      .stTabs [role="tablist"] { height: 2rem; }
      .stTabs [role="tabpanel"] { padding-top: 0.25rem; }
      .stExpander summary { min-height: 0; padding-block: 0.15rem; }
      .stButton button { padding-block: 0; }
      .stSlider { margin-bottom: -0.5rem; }
      [data-testid="stCaptionContainer"] p { line-height: 1.3; }
    }
  }
  /* With wider margins, two grids of images would not fit side by side on a projector. */
  @media (max-width: 1100px) {
    .stMainBlockContainer { padding-inline: 1rem; }
  }
}
:is(.stSidebar, .st-key-lecture-every) [data-testid="stSkeleton"] {
  height: 40px;
}
.stMain {
  [class*="st-key-schedules-axis"] [data-testid="stSkeleton"] { height: 68px; }
  :is([class*="-section"], [class*="-view"], [class*="-figure"], [class*="-claim"])
    [data-testid="stSkeleton"] { height: 32px; } /* a row of buttons */
}
/* The rules of pages, and the pictures' data, take no room. */
[data-testid="stLayoutWrapper"]:has(> :is(.st-key-rules, [class*="-scenes"])) {
  display: none;
}
/* The least height of texts, pictures and canvases that are not there yet. */
.st-key-opening { min-height: 70px; }
.st-key-why-text-touch { min-height: 85px; }
.st-key-meanings { min-height: 210px; }
[class*="st-key-preset-"] > .stElementContainer:first-child { aspect-ratio: 2; }
.stMain .st-key-train-monitor {
  min-height: calc(max(230px, min(332px, 100vh - 568px)) + 70px);
}
.stMain .st-key-why { min-height: calc(max(300px, min(100vw - 620px, 100vh - 351px)) + 90px); }
/* The height of a player that is not there yet: its figures (markup/player.css) and its bars. */
.stMain :is([class*="-panels"], [class*="-loop"]) {
  --reserve: 415px; --bars: 164px; /* as in flowviz.ui.player */
  container-type: inline-size;
  > * {
    min-height: calc(
      min((100cqi - (var(--n) - 1) * 16px) / var(--n), max(230px, 100vh - var(--reserve)))
      + var(--bars)
    );
  }
}
@media (max-width: 1100px) { /* more lines above the player */
  .stMain [class*="-panels"] { --reserve: 479px; }
}
.stMain [class*="-loop"] { --bars: 58px; }
.stMain [class*="-panels1"] { --n: 1; }
.stMain :is([class*="-panels2"], [class*="-loop2"]) { --n: 2; }
.stMain [class*="-panels3"] { --n: 3; }
.stMain [class*="-panels4"] { --n: 4; }
/* Two rows of four panels, and of three or four on a phone. */
@container (max-width: 1199px) {
  .stMain [class*="-panels4"] > * {
    min-height: calc(max(300px, min(100cqi - 256px, 100vh - var(--reserve) + 54px)) + 100px);
  }
}
@container (max-width: 480px) {
  .stMain :is([class*="-panels3"], [class*="-panels4"]) > * { min-height: calc(100cqi + 340px); }
}
.stColumn:has(.st-key-shaper) { container-type: inline-size; }
.st-key-shaper { min-height: calc(min(100cqi, 460px) / 1.02 + 66px); }
@media (min-width: 1101px) { /* the buttons beside a title come one by one */
  .stMain .st-key-tools { justify-content: flex-end; }
  :is(.st-key-tools, [data-testid="stLayoutWrapper"]:has(> .st-key-tools)) { min-width: 24rem; }
}
@media (min-width: 769px) {
  :root[data-sidebar]:not(:has(.stSidebar, .st-key-rules)) .stAppViewContainer::before {
    content: ""; flex: none; width: var(--sidebar, 300px);
  }
}
</style>
"""

_SIDEBAR = """<script>
// Streamlit keeps whether a visitor has closed the sidebar, and its width.
if (localStorage.getItem("stSidebarCollapsed-") !== "true")
  document.documentElement.dataset.sidebar = "";
const width = Number.parseInt(localStorage.getItem("sidebarWidth"), 10);
if (width) document.documentElement.style.setProperty("--sidebar", `${width}px`);
</script>
"""


def routes(sidebars: Mapping[str, bool]) -> list[Route]:
    """The routes of all pages.

    Args:
        sidebars: for each path, such as "compare", whether its page has a sidebar.
    """
    base = config.get_option("server.baseUrlPath").strip("/")
    return [
        Route("/" + "/".join(filter(None, (base, path))), partial(_index, sidebar=has))
        for path, has in sidebars.items()
    ]


async def _index(request: Request, *, sidebar: bool) -> HTMLResponse:
    """Streamlit's file with our rules; a lecture has no sidebar."""
    page = _page(sidebar and "lecture" not in request.query_params)
    return HTMLResponse(page, headers={"Cache-Control": "no-cache"})


@cache
def _page(sidebar: bool) -> str:
    """The file for a page with or without a sidebar; it does not change while the server runs."""
    head = _RULES + (_SIDEBAR if sidebar else "")
    for name in _USED:
        for file in _STATIC.glob(f"static/js/{name}.*.js"):
            head += f'<link rel="modulepreload" crossorigin href="./static/js/{file.name}">\n'
    page = (_STATIC / "index.html").read_text(encoding="utf-8")
    return page.replace("</head>", f"{head}</head>", 1)
