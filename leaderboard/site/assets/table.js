"use strict";
// Makes every `table[data-table]` sortable, and, where its headings ask for it, filtered and with columns to choose.
// Headings say what may be done with a column (`heading` in parts.html.jinja):
//   data-key     its name in the address          data-kind    number or text
//   data-hidden  not shown until chosen           data-group   the heading it stands under in the chooser
//   data-filter  choice, most (at most) or least  data-first   the direction of the first click
// A cell's `data-value` is what it sorts by; an empty one is missing, and stands last whichever way is sorted.
(() => {
  const { element, say, state } = zoobench;
  const collator = new Intl.Collator(zoobench.language, { numeric: true });
  const valueOf = (cell) => cell.dataset.value ?? cell.textContent.trim();

  class Table {
    constructor(table) {
      this.table = table;
      this.name = table.dataset.table;
      this.heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
      this.columns = this.heads.map((head, place) => ({
        place,
        head,
        key: head.dataset.key,
        title: head.textContent.trim(),
        number: head.dataset.kind === "number",
        shown: !("hidden" in head.dataset),
        filter: head.dataset.filter ?? "",
        first: head.dataset.first ?? (head.dataset.kind === "number" ? "descending" : "ascending"),
      }));
      this.byKey = new Map(this.columns.map((column) => [column.key, column]));
      this.rows = [...table.tBodies[0].rows].map((row, place) => ({ row, place, text: null }));
      this.usual = this.columns.filter((each) => each.shown).map((each) => each.key);
      this.sorted = this.columns.find((each) => each.head.hasAttribute("aria-sort"));
      this.usualSort = this.sorted ? { key: this.sorted.key, way: this.sorted.head.getAttribute("aria-sort") } : null;
      this.sheet = new CSSStyleSheet();
      document.adoptedStyleSheets = [...document.adoptedStyleSheets, this.sheet];
      this.columns.forEach((column) => this.headButton(column));
      this.toolbar();
      this.restore();
      state.onChange(() => this.restore());
    }

    key(rest) {
      return `${this.name}.${rest}`;
    }

    headButton(column) {
      if (!column.key) return;
      const button = element("button", { type: "button" }, ...column.head.childNodes);
      column.head.replaceChildren(button);
      button.addEventListener("click", () => {
        const now = column.head.getAttribute("aria-sort");
        const other = { ascending: "descending", descending: "ascending" };
        this.sort(column.key, other[now] ?? column.first);
        state.set({ [this.key("sort")]: this.sortWord() });
      });
    }

    sortWord() {
      const now = this.sorted && { key: this.sorted.key, way: this.sorted.head.getAttribute("aria-sort") };
      if (!now || (this.usualSort && now.key === this.usualSort.key && now.way === this.usualSort.way)) return null;
      return (now.way === "descending" ? "-" : "") + now.key;
    }

    sort(key, way) {
      const column = this.byKey.get(key);
      if (!column) return;
      this.heads.forEach((head) => head.removeAttribute("aria-sort"));
      column.head.setAttribute("aria-sort", way);
      this.sorted = column;
      const sign = way === "descending" ? -1 : 1;
      const value = new Map(this.rows.map((each) => [each, valueOf(each.row.cells[column.place])]));
      const order = [...this.rows].sort((one, other) => {
        const [a, b] = [value.get(one), value.get(other)];
        if (a === "" || b === "") return (a === "") - (b === "") || one.place - other.place;
        const apart = column.number ? Number(a) - Number(b) : collator.compare(a, b);
        return sign * apart || one.place - other.place;
      });
      this.table.tBodies[0].append(...order.map((each) => each.row));
    }

    toolbar() {
      const filters = this.columns.filter((each) => each.filter && this.worthwhile(each));
      const chosen = this.columns.filter((each) => each.head.dataset.group);
      this.inputs = new Map();
      this.boxes = new Map();
      this.count = element("p", { class: "count", role: "status" });
      if (!("search" in this.table.dataset) && !filters.length && !chosen.length) return;
      const bar = element("div", { class: "toolbar", role: "group", "aria-label": say("js.table.tools") });
      bar.append(...(("search" in this.table.dataset) ? [this.search()] : []), ...filters.map((each) => this.filterInput(each)));
      if (chosen.length) bar.append(this.chooser(chosen));
      const reset = element("button", { type: "button", class: "tool" }, say("js.table.reset"));
      reset.addEventListener("click", () => this.reset());
      bar.append(reset, this.count);
      const wrapper = this.table.closest(".scroll") ?? this.table;
      wrapper.before(bar);
    }

    worthwhile(column) {
      if (column.filter !== "choice") return true;
      return new Set(this.rows.map(({ row }) => valueOf(row.cells[column.place]))).size > 1;
    }

    search() {
      const input = element("input", { type: "search", autocomplete: "off", spellcheck: "false" });
      this.inputs.set("q", input);
      input.addEventListener("input", () => this.filterChanged("q"));
      return element("label", { class: "grow" }, element("span", {}, say("js.table.search")), input);
    }

    filterInput(column) {
      const key = `f.${column.key}`;
      let input;
      if (column.filter === "choice") {
        const values = [...new Set(this.rows.map(({ row }) => valueOf(row.cells[column.place])))].filter(Boolean);
        input = element("select", {}, element("option", { value: "" }, say("js.table.all")));
        input.append(...values.sort(collator.compare).map((value) => element("option", { value }, value)));
        input.addEventListener("change", () => this.filterChanged(key));
      } else {
        input = element("input", { type: "number", min: "0", step: "any", inputmode: "decimal" });
        input.addEventListener("input", () => this.filterChanged(key));
      }
      this.inputs.set(key, input);
      const title = column.title + ({ most: " ≤", least: " ≥" }[column.filter] ?? "");
      input.setAttribute("aria-label", title); // without the choices, which a label around them would read out
      return element("label", {}, element("span", {}, title), input);
    }

    chooser(columns) {
      const groups = new Map();
      for (const column of columns) {
        const box = element("input", { type: "checkbox" });
        box.checked = column.shown;
        box.addEventListener("change", () => {
          column.shown = box.checked;
          this.showColumns();
          const now = this.columns.filter((each) => each.shown).map((each) => each.key);
          const same = now.join() === this.usual.join();
          state.set({ [this.key("cols")]: same ? null : now.filter((key) => this.boxes.has(key)).join(",") || "-" });
        });
        this.boxes.set(column.key, box);
        const group = column.head.dataset.group;
        if (!groups.has(group)) groups.set(group, element("fieldset", {}, element("legend", {}, group)));
        groups.get(group).append(element("label", {}, box, column.title));
      }
      const panel = element("div", { class: "panel" }, ...groups.values());
      const details = element("details", { class: "chooser" }, element("summary", {}, say("js.table.columns")), panel);
      details.addEventListener("keydown", (event) => {
        if (event.key !== "Escape" || !details.open) return;
        details.open = false;
        details.querySelector("summary").focus();
      });
      document.addEventListener("pointerdown", (event) => {
        if (!details.contains(event.target)) details.open = false;
      });
      return details;
    }

    filterChanged(key) {
      state.set({ [this.key(key)]: this.inputs.get(key).value });
      this.filter();
    }

    filter() {
      const words = (this.inputs.get("q")?.value ?? "").toLowerCase().split(/\s+/).filter(Boolean);
      const asked = this.columns
        .map((column) => ({ column, value: this.inputs.get(`f.${column.key}`)?.value ?? "" }))
        .filter(({ value }) => value !== "");
      let shown = 0;
      for (const each of this.rows) {
        const fits = asked.every(({ column, value }) => {
          const held = valueOf(each.row.cells[column.place]);
          if (column.filter === "choice") return held === value;
          return held !== "" && (column.filter === "most" ? Number(held) <= Number(value) : Number(held) >= Number(value));
        });
        const row = each.row;
        if (words.length) each.text ??= (row.dataset.text ?? row.textContent).toLowerCase();
        row.hidden = !fits || !words.every((word) => each.text.includes(word));
        shown += !row.hidden;
      }
      const count = this.rows.length;
      this.count.textContent = shown === count ? say("js.table.rows", { count }) : say("js.table.shown", { shown, count });
      this.table.dispatchEvent(new CustomEvent("rows"));
    }

    showColumns() {
      const hidden = this.columns.filter((each) => !each.shown).map((each) => `:nth-child(${each.place + 1})`);
      const table = `table[data-table="${this.name}"] > * > tr > `;
      this.sheet.replaceSync(hidden.length ? `${table}:is(${hidden.join(",")}) { display: none }` : "");
      for (const [key, box] of this.boxes) box.checked = this.byKey.get(key).shown;
    }

    restore() {
      const columns = state.get(this.key("cols"));
      const shown = columns === null ? new Set(this.usual) : new Set(columns.split(","));
      for (const column of this.columns) {
        column.shown = this.boxes.has(column.key) ? shown.has(column.key) : this.usual.includes(column.key);
      }
      this.showColumns();
      const word = state.get(this.key("sort"));
      const key = word?.replace(/^-/, "");
      if (this.byKey.has(key)) this.sort(key, word.startsWith("-") ? "descending" : "ascending");
      else if (this.usualSort) this.sort(this.usualSort.key, this.usualSort.way);
      for (const [name, input] of this.inputs) {
        input.value = state.get(this.key(name)) ?? "";
        if (input instanceof HTMLSelectElement && input.selectedIndex < 0) input.value = "";
      }
      this.filter();
    }

    reset() {
      const names = ["sort", "cols", ...this.inputs.keys()];
      state.set(Object.fromEntries(names.map((name) => [this.key(name), null])));
      this.restore();
    }

    get visible() {
      return this.rows.filter(({ row }) => !row.hidden).map(({ row }) => row.dataset.id);
    }
  }

  const tables = {};
  zoobench.tables = tables;
  zoobench.table = (table) => (tables[table.dataset.table] = new Table(table)); // of one that a script made
  zoobench.ready(() => {
    document.querySelectorAll("table[data-table]").forEach(zoobench.table);
  });
})();
