/** The pages of the static site, which compute without a server. */

import { onceGone } from "./base/canvas.js";
import { decode } from "./base/wire.js";
import { Compare } from "./live/compare.js";
import { Cost } from "./live/cost.js";
import { guide } from "./live/guide.js";
import { Point } from "./live/point.js";
import { Schedules } from "./live/schedules.js";
import { shapeIn, shaped } from "./live/shape.js";

/** The script of each page, by the name that the page has in the app. */
const PAGES = { compare: Compare, why: Point, schedules: Schedules, nfe_quality: Cost };

/** Mounts the page of the model; `canvases` are all of the page by name, see js/page.js. */
export default function mount({ data, parentElement, canvases }) {
  const root = parentElement.querySelector(".live"), model = { ...decode(data), bytes: data };
  guide(root, model.lectures, canvases.lecture);
  if (!(model.page in PAGES)) return undefined;
  const { paths, shaper } = model, own = shapeIn(new URLSearchParams(location.search), shaper);
  if (own) Object.assign(shaper, own);
  paths.shaped = shaped(paths.shaped, shaper);
  const page = new PAGES[model.page](root, model, canvases);
  return onceGone(root, () => page.end());
}
