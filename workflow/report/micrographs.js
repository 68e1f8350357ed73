// The micrograph browser: sorts, filters and searches the rows of #micrographs-data, and shows a
// page of them. Its state is in the address: #micrographs?status=rejected&sort=-gain
(() => {
  const section = document.getElementById("micrographs");
  const find = (selector) => section.querySelector(selector);
  const { columns, states, rows } = JSON.parse(find("#micrographs-data").textContent);
  const [FILE, IMAGE, ALT, STATE, WARNED, SPLIT, TEXTS, SMALL, ORDER] = Array(9).keys(); // of a row
  const DEFAULTS = { search: "", status: "all", split: "all", sort: "status", rows: "50", page: 1 };
  const PRINTED = 300;
  const form = find("form.filters");
  const box = find(".scroll");
  const body = find("tbody");
  const heads = [...section.querySelectorAll("thead th")];
  const pages = find(".pages");
  const [previous, next] = pages.querySelectorAll("button");
  const template = find("#micrographs-row").content.querySelector("tr");
  const status = columns.indexOf("status");
  const haystacks = rows.map((row) => `${row[TEXTS][0]}\n${row[SMALL][status]}`.toLowerCase());
  const sorted = new Map(); // column -> indices of all rows, ascending, missing ones last
  let state = { ...DEFAULTS };
  let matches = []; // indices of the rows that are searched for, in the order of the table
  let timer = 0;

  function ascending(column) {
    if (!sorted.has(column)) {
      const values = Float64Array.from(rows, (row) => row[ORDER][column] ?? NaN);
      const known = [], missing = [];
      values.forEach((value, i) => (Number.isNaN(value) ? missing : known).push(i));
      sorted.set(column, { known: known.sort((a, b) => values[a] - values[b] || a - b), missing, values });
    }
    return sorted.get(column);
  }

  function inOrder() {
    const { known, missing, values } = ascending(columns.indexOf(state.sort.replace(/^-/, "")));
    if (!state.sort.startsWith("-")) return known.concat(missing);
    return [...known].sort((a, b) => values[b] - values[a] || a - b).concat(missing);
  }

  function match() {
    const words = state.search.toLowerCase().split(/\s+/).filter(Boolean);
    const hasStatus = (row) => state.status === "all"
      || (state.status === "warnings" ? row[WARNED] : states[row[STATE]] === state.status);
    const inSplit = (row) => state.split === "all" || row[SPLIT] === state.split;
    matches = inOrder().filter((i) => hasStatus(rows[i]) && inSplit(rows[i])
      && words.every((word) => haystacks[i].includes(word)));
  }

  function rowOf(i) {
    const row = rows[i];
    const made = template.cloneNode(true);
    made.className = states[row[STATE]] + (row[WARNED] ? " warned" : "");
    const link = made.querySelector("a");
    if (row[FILE]) link.href = `micrographs/${row[FILE]}`;
    if (row[IMAGE]) {
      const image = document.createElement("img");
      image.height = 64;
      image.alt = row[ALT];
      image.decoding = "async";
      image.src = row[IMAGE];
      link.prepend(image);
    }
    [...made.cells].forEach((cell, column) => {
      const text = row[TEXTS][column];
      cell.querySelector(".text").textContent = text || "–";
      if (column) {
        cell.classList.toggle("empty", !text);
        cell.querySelector("small").textContent = row[SMALL][column];
      }
    });
    return made;
  }

  const perPage = () => (state.rows === "all" ? Math.max(matches.length, 1) : Number(state.rows));
  const pageCount = () => Math.max(1, Math.ceil(matches.length / perPage()));
  const count = (number) => number.toLocaleString("en");

  function showRows(first, number) {
    body.replaceChildren(...matches.slice(first, first + number).map(rowOf));
    if (!matches.length) body.insertRow().insertCell().textContent = "No micrograph matches.";
    if (!matches.length) body.rows[0].cells[0].colSpan = columns.length;
  }

  function showPage() {
    showRows((state.page - 1) * perPage(), perPage());
    box.scrollTop = 0;
  }

  /** Show in words and controls what the rows are. */
  function showState() {
    const first = (state.page - 1) * perPage();
    const last = Math.min(first + perPage(), matches.length);
    pages.hidden = matches.length <= 50;
    find(".range").textContent = `${count(first + 1)} to ${count(last)} of ${count(matches.length)}`;
    previous.setAttribute("aria-disabled", state.page <= 1);
    next.setAttribute("aria-disabled", state.page >= pageCount());
    const column = state.sort.replace(/^-/, "");
    for (const head of heads) {
      if (head.dataset.key !== column) head.removeAttribute("aria-sort");
      else head.setAttribute("aria-sort", state.sort === column ? "ascending" : "descending");
    }
    form.elements["micrographs-search"].value = state.search;
    for (const group of ["status", "split"]) form.elements[`micrographs-${group}`].value = state[group];
    pages.querySelector("select").value = state.rows;
    find(".reset").hidden = ["search", "status", "split", "sort"].every((key) => state[key] === DEFAULTS[key]);
    const all = matches.length === rows.length;
    find("[role=status]").textContent = all ? `${count(rows.length)} micrographs`
      : `${count(matches.length)} of ${count(rows.length)} micrographs match`;
    const printed = Math.min(matches.length, PRINTED);
    find(".only-printed").textContent = printed < rows.length
      ? `${count(printed)} of ${count(rows.length)} micrographs are printed. All are in micrographs.tsv.` : "";
  }

  function show() {
    match();
    state.page = Math.min(Math.max(1, state.page), pageCount());
    showPage();
    showState();
  }

  function change(values) {
    state = { ...state, page: 1, ...values };
    show();
    clearTimeout(timer); // browsers slow down or refuse an address that changes with every key
    timer = setTimeout(writeAddress, 250);
  }

  function writeAddress() {
    const changed = Object.entries(state).filter(([key, value]) => value !== DEFAULTS[key]);
    const query = new URLSearchParams(changed).toString();
    history.replaceState(null, "", `#micrographs${query ? `?${query}` : ""}`);
  }

  /** Take the state from the address; a value that means nothing here is the default. */
  function readAddress() {
    clearTimeout(timer); // of an address before this one
    const [id, query] = location.hash.slice(1).split(/\?(.*)/s);
    if (id !== "micrographs") return false;
    const given = new URLSearchParams(query ?? "");
    const one = (key, allowed) => (allowed.includes(given.get(key)) ? given.get(key) : DEFAULTS[key]);
    const values = (group) => [...form.elements[`micrographs-${group}`]].map((input) => input.value);
    state = {
      search: given.get("search") ?? "",
      status: one("status", [...values("status"), ...states, "warnings"]),
      split: one("split", values("split")),
      sort: one("sort", columns.flatMap((key) => [key, `-${key}`])),
      rows: one("rows", ["50", "200", "all"]),
      page: Number.parseInt(given.get("page"), 10) || 1,
    };
    show();
    section.scrollIntoView();
    return true;
  }

  /** Keep the order of the pages, for "next" and "previous" on the page of a micrograph. */
  function keepOrder() {
    const files = matches.map((i) => rows[i][FILE]).filter(Boolean);
    const keys = files.map((file) => decodeURIComponent(file.replace(/\.html$/, "")));
    try {
      sessionStorage.setItem("clearice.order", JSON.stringify(keys));
    } catch { /* no storage, or no room: the pages then go by name */ }
  }

  for (const head of heads) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    button.addEventListener("click", () => {
      const key = head.dataset.key;
      change({ sort: state.sort === key ? `-${key}` : key });
    });
    head.replaceChildren(button);
  }
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", ({ target }) => change({ [target.name.replace("micrographs-", "")]: target.value }));
  find(".reset").addEventListener("click", () => {
    change({ ...DEFAULTS, rows: state.rows });
    form.elements["micrographs-search"].focus();
  });
  for (const button of [previous, next]) {
    button.addEventListener("click", () => {
      const page = state.page + Number(button.value);
      if (page >= 1 && page <= pageCount()) change({ page });
    });
  }
  pages.querySelector("select").addEventListener("change", ({ target }) => change({ rows: target.value }));
  for (const kind of ["click", "auxclick"]) {
    body.addEventListener(kind, (event) => event.target.closest("a[href]") && keepOrder());
  }
  addEventListener("hashchange", readAddress);
  addEventListener("beforeprint", () => showRows(0, PRINTED));
  addEventListener("afterprint", showPage);

  form.hidden = false;
  if (!readAddress()) {
    match(); // the first rows are there
    showState();
  }
})();
