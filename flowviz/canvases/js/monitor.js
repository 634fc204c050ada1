/** The training monitor: live samples beside live curves, and a slider over the training at its end. */

import { mounting } from "./base/canvas.js";
import { Monitor } from "./monitor/element.js";

export default mounting(".fm", (root) => new Monitor(root));
