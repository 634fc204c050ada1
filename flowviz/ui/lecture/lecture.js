// The way through a lecture: four buttons, and the keys of a keyboard or a presenter's clicker.

/** Where an arrow already means something: fields, menus, sliders, tabs. */
const OWN_ARROWS = "input, textarea, select, [contenteditable=true], [role=slider], [role=combobox], [role=listbox], [role=menu], [role=menuitem], [role=radio], [role=tab], [role=spinbutton]";

/** What a key asks for: "next", "previous" or null. Clickers send Page Down and Page Up. */
export function asked(key, target = null) {
  if (key === "PageDown") return "next";
  if (key === "PageUp") return "previous";
  if (target?.closest?.(OWN_ARROWS)) return null;
  return { ArrowRight: "next", ArrowLeft: "previous" }[key] ?? null;
}

/** Milliseconds after which a wish is told again. */
const PATIENCE = 1500;

/** The buttons of a lecture, and what its keys do. */
class Way {
  constructor(root) {
    this.root = root;
    this.onKey = this.onKey.bind(this);
    document.documentElement.dataset.lecture = ""; // a player leaves the arrows to it
    document.addEventListener("keydown", this.onKey, true);
    document.addEventListener("keydown", this.onKey);
  }

  leave() {
    clearTimeout(this.asking);
    document.removeEventListener("keydown", this.onKey, true);
    document.removeEventListener("keydown", this.onKey);
    delete document.documentElement.dataset.lecture;
  }

  show({ number, count }, { setTriggerValue }) {
    this.tell = setTriggerValue;
    if (number !== this.number) clearTimeout(this.asking);
    Object.assign(this, { number, count });
    this.root.replaceChildren(
      this.button("previous", "‹", "Previous step (←, Page Up)", number === 1),
      element("output", "fl-where", `${number} / ${count}`),
      this.button("next", "›", "Next step (→, Page Down)", number === count),
      this.button("leave", "Leave", "Leave the lecture, stay on this page"),
    );
  }

  button(where, text, title, disabled = false) {
    const node = element("button", `fl-${where}`, text);
    Object.assign(node, { type: "button", title, disabled });
    node.setAttribute("aria-label", title);
    node.addEventListener("click", () => { node.blur(); this.go(where); });
    return node;
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey || event.defaultPrevented) return;
    const where = asked(event.key, event.composedPath()[0]);
    if (!where) return;
    // A clicker's keys are the lecture's even where the player has the focus; arrows are not.
    if (event.eventPhase === Event.CAPTURING_PHASE && !event.key.startsWith("Page")) return;
    event.preventDefault();
    event.stopPropagation();
    this.go(where);
  }

  /** Streamlit drops a wish where another part of the page reports within the same moment, so it
   *  is told again; the server believes only what is asked from the step that it shows. */
  go(where, times = 3) {
    if (where === "previous" && this.number === 1) return;
    if (where === "next" && this.number === this.count) return;
    clearTimeout(this.asking);
    this.tell("go", { from: this.number, where });
    if (times) this.asking = setTimeout(() => this.go(where, times - 1), PATIENCE);
  }
}

export default mounting(".fl", Way);
