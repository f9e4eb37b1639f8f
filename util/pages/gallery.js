"use strict";
(() => {
  // Images far below are loaded when they are near; on paper all are

  function loadAll() {
    for (const image of document.querySelectorAll('img[loading="lazy"]')) {
      image.decoding = "sync";
      image.loading = "eager";
    }
  }
  addEventListener("beforeprint", loadAll);
  matchMedia("print").addEventListener("change", (print) => { if (print.matches) loadAll(); });

  for (const scroller of document.querySelectorAll(".scroller"))
    scroller.addEventListener("scroll", () => scroller.classList.toggle("moved", scroller.scrollLeft > 0));

  const byId = (id) => document.getElementById(id);
  const list = byId("rows");
  if (!list) return;
  const given = [...list.children];
  const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
  const scores = new Map(given.map((row) => [row, JSON.parse(row.dataset.scores)]));
  const filter = byId("filter"), sort = byId("sort"), direction = byId("direction");
  let descending = false;
  let shown = given; // the rows that pass the filter, in the order on the page

  function scoreOf(row, name) {
    const value = scores.get(row)[name];
    return value === undefined ? NaN : Number(value);
  }

  function ordered() {
    const sign = descending ? -1 : 1;
    if (sort.value === "") return descending ? [...given].reverse() : given;
    if (sort.value === "name")
      return [...given].sort((a, b) => sign * collator.compare(a.dataset.name, b.dataset.name));
    const name = sort.value.slice("score:".length);
    return [...given].sort((a, b) => {
      const x = scoreOf(a, name), y = scoreOf(b, name);
      if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y); // last in both directions
      return x === y ? 0 : sign * (x < y ? -1 : 1);
    });
  }

  function arrange() {
    const wanted = filter.value.trim().toLowerCase();
    const all = ordered();
    for (const row of all) row.hidden = !row.dataset.name.toLowerCase().includes(wanted);
    shown = all.filter((row) => !row.hidden);
    if (all.some((row, i) => row !== list.children[i])) list.append(...all);
    for (const pair of list.querySelectorAll("[data-score]"))
      pair.classList.toggle("sorted", sort.value === "score:" + pair.dataset.score);
    direction.textContent = descending ? "Descending ↓" : "Ascending ↑";
    byId("count").textContent =
      shown.length === given.length ? `${given.length} shown` : `${shown.length} of ${given.length} shown`;
    byId("nothing").hidden = shown.length > 0;
  }

  filter.addEventListener("input", arrange);
  sort.addEventListener("change", arrange);
  direction.addEventListener("click", () => { descending = !descending; arrange(); });

  // The enlarged view: one column of a row, or a wipe between two

  const box = byId("lightbox"), stage = byId("stage"), handle = byId("handle");
  const first = byId("first"), second = byId("second");
  const columns = [...new Set([...list.querySelectorAll("[data-column]")].map((b) => b.dataset.column))];
  for (const select of [first, second])
    for (const column of columns) select.append(new Option(column, column));
  const view = { row: null, column: "", left: "", right: "", wiping: false, wipe: 50 }; // what was asked for
  const now = { column: "", left: "", right: "", wiping: false }; // what is on screen: the row may lack a column

  const buttonOf = (row, column) =>
    [...row.querySelectorAll("[data-column]")].find((button) => button.dataset.column === column);
  const columnsOf = (row) => [...row.querySelectorAll("[data-column]")].map((button) => button.dataset.column);

  function settle() {
    const has = columnsOf(view.row);
    const pick = (wishes, not) => [...wishes, ...has].find((column) => has.includes(column) && column !== not);
    now.column = pick([view.column]);
    now.left = pick([view.left, "visible"]);
    now.right = pick([view.right, "generated", "fused", "infrared"], now.left);
    now.wiping = view.wiping && now.right !== undefined;
    byId("wipe").disabled = now.right === undefined;
    for (const select of [first, second])
      for (const option of select.options) option.disabled = !has.includes(option.value);
  }

  function put(image, label, column) {
    const source = buttonOf(view.row, column).firstElementChild;
    image.src = source.src;
    image.alt = source.alt;
    label.textContent = column;
    return source.getAttribute("width") / source.getAttribute("height");
  }

  function moveWipe(percent) {
    view.wipe = Math.min(100, Math.max(0, percent));
    box.style.setProperty("--wipe", view.wipe + "%");
    handle.setAttribute("aria-valuenow", String(Math.round(view.wipe)));
    handle.setAttribute("aria-valuetext", `${Math.round(view.wipe)} % ${now.left}, the rest ${now.right}`);
  }

  function draw() {
    settle();
    const at = shown.indexOf(view.row);
    const aspect = put(byId("under"), byId("under-label"), now.wiping ? now.left : now.column);
    if (now.wiping) put(byId("over"), byId("over-label"), now.right);
    stage.style.setProperty("--aspect", String(aspect));
    box.classList.toggle("wiping", now.wiping);
    byId("wipe").setAttribute("aria-pressed", String(now.wiping));
    byId("first-word").textContent = now.wiping ? "Left" : "Show";
    first.value = now.wiping ? now.left : now.column;
    second.value = now.right ?? "";
    byId("box-name").textContent = view.row.dataset.name;
    byId("box-scores").textContent = [...view.row.querySelectorAll("[data-score]")]
      .map((pair) => `${pair.dataset.score} ${pair.lastElementChild.textContent}`).join(" · ");
    byId("place").textContent = `${at + 1} / ${shown.length}`;
    byId("previous-row").disabled = at <= 0;
    byId("next-row").disabled = at === shown.length - 1;
    byId("hint").textContent =
      `← → ${now.wiping ? "move the wipe" : "column"}   ·   ↑ ↓ row   ·   C ${now.wiping ? "one image" : "compare"}   ·   Esc close`;
    moveWipe(view.wipe);
    // A focused control that was just hidden or disabled would swallow the next key.
    const focused = document.activeElement;
    const lost = !box.contains(focused) || focused.disabled || focused.getClientRects().length === 0;
    if (box.open && lost) (now.wiping ? handle : box).focus();
  }

  function show(row, column, wiping) {
    view.row = row;
    view.column = column;
    view.wiping = wiping;
    draw();
    if (!box.open) box.showModal();
    (now.wiping ? handle : box).focus();
  }

  function stepRow(by) {
    const next = shown[shown.indexOf(view.row) + by];
    if (next) { view.row = next; draw(); }
  }

  function stepColumn(by) {
    const has = columnsOf(view.row);
    view.column = has[(has.indexOf(now.column) + by + has.length) % has.length];
    draw();
  }

  function toggleWipe() {
    if (byId("wipe").disabled) return;
    if (now.wiping) view.column = now.right;
    else if (now.column !== now.left) view.right = now.column;
    view.wiping = !now.wiping;
    draw();
  }

  function swap() {
    [view.left, view.right] = [now.right, now.left];
    draw();
  }

  list.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const row = button.closest(".row");
    const column = button.dataset.column;
    show(row, column ?? columnsOf(row)[0], column === undefined);
  });
  first.addEventListener("change", () => {
    if (!now.wiping) view.column = first.value;
    else if (first.value === now.right) return swap();
    else view.left = first.value;
    draw();
  });
  second.addEventListener("change", () => {
    if (second.value === now.left) return swap();
    view.right = second.value;
    draw();
  });
  byId("swap").addEventListener("click", swap);
  byId("wipe").addEventListener("click", toggleWipe);
  byId("close").addEventListener("click", () => box.close());
  byId("previous-row").addEventListener("click", () => stepRow(-1));
  byId("next-row").addEventListener("click", () => stepRow(1));
  byId("previous-column").addEventListener("click", () => stepColumn(-1));
  byId("next-column").addEventListener("click", () => stepColumn(1));
  box.addEventListener("close", () => {
    const back = now.wiping ? view.row.querySelector(".compare") : buttonOf(view.row, now.column);
    back.scrollIntoView({ block: "nearest" });
    back.focus({ preventScroll: true });
  });

  box.addEventListener("keydown", (event) => {
    if (event.target instanceof HTMLSelectElement || event.ctrlKey || event.metaKey || event.altKey) return;
    const across = (by) => (now.wiping ? moveWipe(view.wipe + by * (event.shiftKey ? 10 : 2)) : stepColumn(by));
    const keys = {
      ArrowLeft: () => across(-1), ArrowRight: () => across(1),
      ArrowUp: () => stepRow(-1), ArrowDown: () => stepRow(1),
      Home: () => now.wiping && moveWipe(0), End: () => now.wiping && moveWipe(100),
      c: toggleWipe, C: toggleWipe,
    };
    if (!Object.hasOwn(keys, event.key)) return;
    event.preventDefault();
    keys[event.key]();
  });

  function follow(event) {
    const { left, width } = stage.getBoundingClientRect();
    moveWipe(((event.clientX - left) / width) * 100);
  }
  stage.addEventListener("pointerdown", (event) => {
    if (!now.wiping || event.button !== 0) return;
    event.preventDefault();
    stage.setPointerCapture(event.pointerId);
    handle.focus({ focusVisible: false });
    follow(event);
  });
  stage.addEventListener("pointermove", (event) => {
    if (stage.hasPointerCapture(event.pointerId)) follow(event);
  });

  // A page that reloads itself keeps its place

  const key = "gallery:" + location.pathname;
  function remember() {
    const { row, ...rest } = view;
    const open = box.open ? { ...rest, name: row.dataset.name } : null;
    const focus = document.activeElement?.id;
    const state = { filter: filter.value, sort: sort.value, descending, open, scroll: scrollY, focus };
    try { sessionStorage.setItem(key, JSON.stringify(state)); } catch { /* storage may be forbidden */ }
  }
  function recall() {
    let state = null;
    try { state = JSON.parse(sessionStorage.getItem(key)); } catch { /* storage may be forbidden */ }
    if (!state) return;
    filter.value = state.filter;
    if ([...sort.options].some((option) => option.value === state.sort)) sort.value = state.sort;
    descending = state.descending;
    arrange();
    scrollTo(0, state.scroll);
    if (state.focus) document.getElementById(state.focus)?.focus({ preventScroll: true });
    const row = state.open && shown.find((r) => r.dataset.name === state.open.name);
    if (!row) return;
    const { name, ...rest } = state.open;
    Object.assign(view, rest);
    show(row, view.column, view.wiping);
  }

  arrange();
  if (document.querySelector('meta[http-equiv="refresh"]')) {
    recall();
    addEventListener("pagehide", remember);
  }
})();
