/** Sheets of images, and films of images under one clock. */

import { mounting } from "./base/canvas.js";
import { Film } from "./gallery/film.js";
import { Sheets } from "./gallery/sheets.js";

export default mounting(".fi", (root, data) => (data.kind === "film" ? new Film(root) : new Sheets(root)));
