// Shows the pictures that the kernel sends, and tells it which keys are held. See cockpit.py.
const ARROWS = ["ArrowLeft", "ArrowUp", "ArrowDown", "ArrowRight"];
const BUTTONS = { ArrowLeft: "◀", ArrowUp: "▲ gas", ArrowDown: "▼ brake", ArrowRight: "▶" };
const PATIENCE = 1500; // ms without a picture until we say so
const SILENT =
  "No picture comes: this machine or the kernel is busy, or the kernel was restarted. After a " +
  "restart, run the imports and constants at the notebook's top, then this cell.";

function make(tag, className, parent, text = "") {
  const node = parent.appendChild(document.createElement(tag));
  node.className = className;
  node.textContent = text;
  return node;
}

function render({ model, el }) {
  const root = make("div", "cockpit", el);
  const stage = make("div", "cockpit-stage", root);
  const picture = make("img", "cockpit-picture", stage);
  const hint = make("div", "cockpit-hint", stage);
  const line = make("div", "cockpit-line", root);
  const keys = make("div", "cockpit-keys", root);
  picture.alt = "The race car, seen from above";
  picture.draggable = false;
  stage.tabIndex = 0;
  stage.setAttribute("role", "application");
  const keysDo = "Drive with the arrow keys; R restarts the lap, Escape pauses, then ends";
  stage.setAttribute("aria-label", keysDo);
  stage.dataset.lmSuppressShortcuts = "true"; // or JupyterLab moves to another cell

  const held = new Set();
  let driving = false; // the keys are the car's
  let paused = false; // by Escape, after which the picture keeps the focus
  let silence; // a timer, while we wait for a picture
  let status = { message: "" };

  const say = (words) => {
    hint.textContent = words.trim();
    hint.hidden = !hint.textContent;
  };
  const tell = (more) => {
    try {
      model.send({ keys: [...held], focus: driving, ...more });
    } catch {
      say(SILENT); // a restarted kernel knows nothing of this widget
    }
  };
  const press = (key, down) => {
    if (held.has(key) === down) return; // a key's own repeats
    down ? held.add(key) : held.delete(key);
    buttons[key].classList.toggle("held", down);
    tell();
  };
  const listen = () => {
    clearTimeout(silence);
    if (driving && !status.ended) silence = setTimeout(() => say(SILENT), PATIENCE);
  };
  const show = () => {
    root.classList.toggle("driving", driving);
    root.classList.toggle("by-policy", status.human === false);
    const watch = "Click the picture: the policy drives";
    const click = "Click the picture, then drive with the arrow keys";
    const start = "Press an arrow key to drive: ▲ is gas";
    if (status.ended) say(status.message);
    else if (paused) say("Paused: click the picture or press an arrow key to go on, Esc to end");
    else if (!driving && status.human === false) say(`${watch}\n${status.message}`);
    else if (!driving) say(`${status.message}\n${click}`);
    else say(status.waiting ? `${status.message}\n${start}` : status.message);
    line.textContent = status.line ?? "";
  };
  const stay = () => driving && root.scrollIntoView({ block: "nearest" });
  const drive = (now, pause = false) => {
    driving = now;
    paused = pause;
    for (const key of ARROWS) {
      held.delete(key); // a key let go elsewhere would stay held
      buttons[key].classList.remove("held");
    }
    show();
    listen();
    tell();
    stay();
  };
  const sit = () => {
    stage.focus({ preventScroll: true });
    if (!driving) drive(true);
  };

  const buttons = {};
  const button = (text, title) => {
    const node = make("button", "cockpit-key", keys, text);
    Object.assign(node, { type: "button", title, tabIndex: -1 });
    return node;
  };
  for (const key of ARROWS) {
    const node = (buttons[key] = button(BUTTONS[key], `${key.slice(5)} arrow key`));
    node.onpointerdown = (event) => {
      event.preventDefault(); // the picture keeps the keys
      node.setPointerCapture(event.pointerId);
      sit();
      press(key, true);
    };
    node.onpointerup = node.onpointercancel = () => press(key, false);
    node.oncontextmenu = (event) => event.preventDefault(); // a long touch
  }
  button("Restart (R)", "Start this lap again").onclick = () => (tell({ do: "restart" }), sit());
  button("End (Esc twice)", "End the drive").onclick = () => tell({ do: "end" });

  stage.onfocus = () => drive(true);
  stage.onblur = () => drive(false);
  stage.onpointerdown = sit;
  stage.onkeydown = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.key === "Tab") return;
    event.preventDefault();
    event.stopPropagation();
    if (event.repeat) return;
    if (ARROWS.includes(event.key)) {
      sit();
      press(event.key, true);
    } else if (event.key.toLowerCase() === "r") tell({ do: "restart" });
    else if (event.key === "Escape") driving ? drive(false, true) : tell({ do: "end" });
  };
  stage.onkeyup = (event) => {
    event.stopPropagation();
    if (ARROWS.includes(event.key)) press(event.key, false);
  };

  const receive = (message, buffers) => {
    status = message.status;
    if (buffers?.length) {
      const url = URL.createObjectURL(new Blob([buffers[0]], { type: "image/jpeg" }));
      picture.onload = picture.onerror = () => {
        URL.revokeObjectURL(url);
        model.send({ seen: message.frame });
      };
      picture.src = url;
    }
    show();
    listen();
  };
  model.on("msg:custom", receive);
  window.addEventListener("resize", stay);
  show();
  tell({ do: "show" }); // the first picture; after a reload, the latest
  return () => {
    clearTimeout(silence);
    window.removeEventListener("resize", stay);
    model.off("msg:custom", receive);
    driving = false;
    held.clear();
    tell(); // the cell was cleared or run again
  };
}

export default { render };
