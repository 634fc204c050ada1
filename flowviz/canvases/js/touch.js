/** Vector field: the conditional trajectories through a point, computed while it is dragged. */

import { mounting } from "./base/canvas.js";
import { Touch } from "./touch/element.js";

export default mounting(".fw", (root) => new Touch(root));
