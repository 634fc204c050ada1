/** The flow player: all frames come with the payload, and every moment is drawn in the browser. */

import { mounting } from "./base/canvas.js";
import { Player } from "./player/element.js";

export default mounting(".fv", (root) => new Player(root));
