(() => {
  "use strict";
  const one = (selector) => document.querySelector(selector);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const MOST = 16, NEAR_PX = 26, STEP = 1.25;

  /* What is shown stays the same from one micrograph to the next, as far as a browser keeps it. */
  const KEPT = "clearice.viewer";
  const kept = (key, read) => {
    try { return read(sessionStorage.getItem(key)); } catch { return null; }
  };
  const shown = { view: null, other: null, split: 0.5, contrast: 0, patches: false, ...kept(KEPT, JSON.parse) };
  const keep = () => {
    try { sessionStorage.setItem(KEPT, JSON.stringify(shown)); } catch { /* no storage: no memory */ }
  };

  const stage = one(".stage"), slider = one("#split");
  let zoom = 1, x = 0, y = 0;

  const clamp = (value, least, most) => Math.min(Math.max(value, least), most);
  const field = () => one(".field:not([hidden])");

  const drawn = () => {
    const { width, height } = stage.getBoundingClientRect();
    x = clamp(x, width * (1 - zoom), 0);
    y = clamp(y, height * (1 - zoom), 0);
    const style = stage.style;
    style.setProperty("--x", `${x}px`);
    style.setProperty("--y", `${y}px`);
    style.setProperty("--zoom", zoom);
    style.setProperty("--split", `${100 * shown.split}%`);
    style.setProperty("--contrast", 2 ** shown.contrast);
    stage.classList.toggle("zoomed", zoom > 1);
    const image = field().querySelector("img");
    stage.classList.toggle("near", (width * zoom) / image.width > 2);
    one("#zoom").textContent = `${zoom < 10 ? zoom.toFixed(1).replace(".0", "") : Math.round(zoom)}×`;
    if (slider) {
      slider.value = Math.round(1000 * shown.split);
      slider.setAttribute("aria-valuetext", `raw up to ${Math.round(100 * shown.split)} %`);
    }
    scaleBar(width);
  };

  const scaleBar = (width) => {
    const bar = one(".stage .bar"), { widthPx, angstrom } = field().dataset;
    const across = (angstrom ? widthPx * angstrom / 10 : +widthPx) / zoom;  // of the stage, nm or px
    const power = 10 ** Math.floor(Math.log10(across / 5));
    const length = [5, 2, 1].map((n) => n * power).find((n) => n <= across / 5 * 1.0001);
    bar.style.width = `${width * length / across}px`;
    bar.firstElementChild.textContent = angstrom && length < 1 ? `${+(length * 10).toPrecision(2)} Å`
      : `${+length.toPrecision(2)} ${angstrom ? "nm" : "px"}`;
    bar.hidden = false;
  };

  const zoomTo = (wanted, atX, atY) => {
    const { width, height } = stage.getBoundingClientRect();
    const next = clamp(wanted, 1, MOST), px = atX ?? width / 2, py = atY ?? height / 2;
    x = px - (px - x) * next / zoom;
    y = py - (py - y) * next / zoom;
    zoom = next;
    drawn();
  };

  const splitTo = (share) => {
    shown.split = clamp(share, 0, 1);
    keep();
    drawn();
  };

  const choose = () => {
    for (const each of all(".field")) each.hidden = each.dataset.view !== shown.view;
    for (const layer of all(".layer[data-role]")) {
      layer.hidden = layer.dataset.role !== "raw" && layer.dataset.role !== shown.other;
    }
    for (const each of all(".of")) each.hidden = !each.classList.contains(shown.view);
    for (const each of all(".of-role")) each.hidden = !each.classList.contains(shown.other);
    const overlay = one(".overlay"), title = one(".name.right");
    if (overlay) overlay.hidden = !shown.patches;
    const label = one(`input[name="other"]:checked`);
    if (title && label) title.textContent = label.parentElement.textContent.trim();
    drawn();
  };

  const radios = (name) => {
    const inputs = all(`input[name="${name}"]`);
    const wanted = inputs.find((input) => input.value === shown[name]) ?? inputs[0];
    if (!wanted) return;
    wanted.checked = true;
    shown[name] = wanted.value;
    for (const input of inputs) {
      input.addEventListener("change", () => {
        shown[name] = input.value;
        if (name === "view") { zoom = 1; x = 0; y = 0; }
        keep();
        choose();
      });
    }
  };

  const otherView = () => {
    const inputs = all(`input[name="view"]`);
    inputs[(inputs.findIndex((input) => input.checked) + 1) % inputs.length].click();
  };

  const watchPointers = () => {
    const down = new Map();
    let mode = null, spread = 0;
    const place = (event) => {
      const box = stage.getBoundingClientRect();
      return { x: event.clientX - box.left, y: event.clientY - box.top, width: box.width };
    };
    const between = () => {
      const [a, b] = [...down.values()];
      return { apart: Math.hypot(a.x - b.x, a.y - b.y), x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
    };
    stage.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      const at = place(event);
      down.set(event.pointerId, at);
      stage.setPointerCapture(event.pointerId);
      if (down.size === 2) {
        mode = "pinch";
        spread = between().apart;
      } else if (down.size === 1) {
        const onHandle = slider && Math.abs(at.x - shown.split * at.width) < NEAR_PX;
        mode = slider && (zoom === 1 || onHandle) ? "split" : "pan";
        if (mode === "split" && event.pointerType === "mouse") splitTo(at.x / at.width);
      }
    });
    stage.addEventListener("pointermove", (event) => {
      const before = down.get(event.pointerId), at = place(event);
      if (!before) return;
      down.set(event.pointerId, at);
      if (mode === "pinch" && down.size === 2) {
        const now = between();
        zoomTo(zoom * now.apart / spread, now.x, now.y);
        spread = now.apart;
      } else if (mode === "split") {
        splitTo(at.x / at.width);
      } else if (mode === "pan") {
        x += at.x - before.x;
        y += at.y - before.y;
        drawn();
      }
    });
    const up = (event) => {
      const at = down.get(event.pointerId);
      down.delete(event.pointerId);
      if (event.type === "pointerup" && at && mode === "split") splitTo(at.x / at.width);
      mode = null;
    };
    stage.addEventListener("pointerup", up);
    stage.addEventListener("pointercancel", up);
    stage.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && document.activeElement !== stage) return;
      event.preventDefault();
      const at = place(event);
      zoomTo(zoom * STEP ** clamp(-event.deltaY / 60, -2, 2), at.x, at.y);
    }, { passive: false });
    stage.addEventListener("keydown", (event) => {
      const moves = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
      const move = moves[event.key];
      if (!move || event.altKey || event.ctrlKey || event.metaKey) return;
      if (zoom > 1) {
        x += 40 * move[0];
        y += 40 * move[1];
        drawn();
      } else if (slider && move[0]) {
        splitTo(shown.split - 0.02 * move[0]);
      } else {
        return;
      }
      event.preventDefault();
    });
  };

  if (stage) {
    radios("view");
    radios("other");
    const contrast = one("#contrast"), patches = one("#patches");
    contrast.value = shown.contrast;
    contrast.addEventListener("input", () => { shown.contrast = +contrast.value; keep(); drawn(); });
    if (patches) {
      patches.checked = shown.patches;
      patches.addEventListener("change", () => { shown.patches = patches.checked; keep(); choose(); });
    }
    slider?.addEventListener("input", () => splitTo(slider.value / 1000));
    one("#in").addEventListener("click", () => zoomTo(zoom * STEP));
    one("#out").addEventListener("click", () => zoomTo(zoom / STEP));
    one("#fit").addEventListener("click", () => zoomTo(1));
    watchPointers();
    addEventListener("resize", drawn);
    choose();
  }

  /* Neighbours: in the order of the table as it was filtered and sorted, else in that of order.js. */
  addEventListener("clearice-order", (event) => {
    const { keys, names } = event.detail, mine = document.body.dataset.key;
    const chosen = kept("clearice.order", JSON.parse), known = new Set(keys);
    const order = Array.isArray(chosen) && chosen.includes(mine) ? chosen.filter((key) => known.has(key)) : keys;
    const at = order.indexOf(mine);
    if (at < 0) return;
    one("#position").textContent = `${at + 1} of ${order.length}`;
    for (const [id, key, words] of [["previous", order[at - 1], "‹ "], ["next", order[at + 1], ""]]) {
      if (key === undefined) continue;
      const link = one(`#${id}`), name = names[key] ?? key;
      link.href = `${encodeURIComponent(key)}.html`;
      link.textContent = id === "next" ? `${name} ›` : `${words}${name}`;
      link.setAttribute("aria-label", `${id} micrograph: ${name}`);
      link.hidden = false;
    }
  });

  addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.defaultPrevented) return;
    if (event.target.closest?.("input, select, textarea, .stage") && event.key.startsWith("Arrow")) return;
    const turns = { j: "#next", ArrowRight: "#next", k: "#previous", ArrowLeft: "#previous" };
    const turn = turns[event.key], link = turn && one(turn);
    if (link && !link.hidden) link.click();
    if (!stage) return;
    const acts = { "+": () => zoomTo(zoom * STEP), "=": () => zoomTo(zoom * STEP), "-": () => zoomTo(zoom / STEP), 0: () => zoomTo(1), v: otherView };
    acts[event.key]?.();
  });
})();
