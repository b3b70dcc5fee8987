// Shows the pictures that the kernel sends, and tells it which keys are held. See cockpit.py.
const ARROWS = ["ArrowLeft", "ArrowUp", "ArrowDown", "ArrowRight"];
const BUTTONS = { ArrowLeft: "◀", ArrowUp: "▲ gas", ArrowDown: "▼ brake", ArrowRight: "▶" };
const KERNEL_PATIENCE = 1500; // ms without a picture until we say that the kernel is silent

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
  stage.setAttribute("aria-label", "Drive with the arrow keys; R restarts the lap, Escape ends");
  stage.dataset.lmSuppressShortcuts = "true"; // or JupyterLab moves to another cell

  const held = new Set();
  let focused = false;
  let silence; // a timer, while we wait for a picture
  let status = { message: "" };

  const say = (words) => {
    hint.textContent = words.trim();
    hint.hidden = !hint.textContent;
  };
  const tell = (more) => model.send({ keys: [...held], focus: focused, ...more });
  const press = (key, down) => {
    if (held.has(key) === down) return; // a key's own repeats
    down ? held.add(key) : held.delete(key);
    buttons[key].classList.toggle("held", down);
    tell();
  };
  const listen = () => {
    clearTimeout(silence);
    const words = "The kernel is silent: it is busy, or was restarted. Run this cell again.";
    if (focused && !status.ended) silence = setTimeout(() => say(words), KERNEL_PATIENCE);
  };
  const show = () => {
    root.classList.toggle("driving", focused);
    root.classList.toggle("by-policy", status.human === false);
    const watch = "Click the picture: the policy drives";
    const click = "Click the picture, then drive with the arrow keys";
    const start = "Press an arrow key to start: ▲ is gas";
    if (status.ended) say(status.message);
    else if (!focused) say(`${status.message}\n${status.human === false ? watch : click}`);
    else say(status.waiting ? `${status.message}\n${start}` : status.message);
    line.textContent = status.line ?? "";
  };
  const focus = (now) => {
    focused = now;
    for (const key of ARROWS) {
      held.delete(key); // a key let go elsewhere would stay held
      buttons[key].classList.remove("held");
    }
    show();
    tell();
    listen();
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
      stage.focus({ preventScroll: true });
      press(key, true);
    };
    node.onpointerup = node.onpointercancel = () => press(key, false);
    node.oncontextmenu = (event) => event.preventDefault(); // a long touch
  }
  button("Restart lap (R)", "R").onclick = () => (tell({ do: "restart" }), stage.focus());
  button("End (Esc)", "Escape").onclick = () => tell({ do: "end" });

  stage.onfocus = () => focus(true);
  stage.onblur = () => focus(false);
  stage.onpointerdown = () => stage.focus({ preventScroll: true });
  stage.onkeydown = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.key === "Tab") return;
    event.preventDefault();
    event.stopPropagation();
    if (ARROWS.includes(event.key)) press(event.key, true);
    else if (event.repeat) return;
    else if (event.key.toLowerCase() === "r") tell({ do: "restart" });
    else if (event.key === "Escape") tell({ do: "end" });
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
  show();
  tell({ do: "show" }); // the first picture; after a reload, the latest
  return () => {
    clearTimeout(silence);
    model.off("msg:custom", receive);
    focused = false;
    held.clear();
    tell(); // the cell was cleared or run again
  };
}

export default { render };
