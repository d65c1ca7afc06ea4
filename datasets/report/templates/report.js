"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const chosen = {};

  const recoloured = (value) => {
    if (typeof value === "string") return dark.matches && Object.hasOwn(data.dark, value) ? data.dark[value] : value;
    if (Array.isArray(value)) return value.map(recoloured);
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, recoloured(each)]));
    }
    return value;
  };

  const cut = (name, most) => (name.length > most ? `${name.slice(0, most - 1)}…` : name);

  // A long label may take a third of a wide page, not of a narrow one; its whole name stands in the hover text.
  const fitted = (layout, width) => {
    const narrow = width < 560;
    for (const [name, axis] of Object.entries(layout)) {
      if (!/^[xy]axis/.test(name) || !axis.ticktext) continue;
      const room = (0.75 * width) / axis.ticktext.length;
      const most = name[0] === "y" ? (narrow ? 18 : 44) : axis.tickangle ? 18 : Math.max(6, Math.floor(room / 7));
      axis.ticktext = axis.ticktext.map((text) => cut(text, most));
      // The columns of such a grid are its lines over again, in the same order.
      if (name[0] === "x" && room < 16) Object.assign(axis, { showticklabels: false, ticks: "" });
    }
    if (narrow && layout.yaxis2) {
      layout.height *= 1.8;
      for (const axis of [layout.xaxis, layout.xaxis2]) axis.domain = [0, 1];
      layout.yaxis.domain = [0.56, 1];
      layout.yaxis2.domain = [0, 0.44];
    }
    layout.font = { ...layout.font, size: narrow ? 11 : 12, family: getComputedStyle(document.body).fontFamily };
    layout.width = width;
    return layout;
  };

  const draw = (name) => {
    const holder = document.getElementById(`plot-${name}`);
    const { figure, variants } = data.plots[name];
    const traces = chosen[name] ? variants[chosen[name]] : figure.data;
    const layout = fitted(recoloured(figure.layout), holder.clientWidth);
    const drawn = recoloured(traces);
    if (holder.clientWidth < 560) {
      for (const trace of drawn) if (trace.type === "heatmap") Object.assign(trace, { showscale: false, xgap: 0.5, ygap: 0.5 });
    }
    return Plotly.react(holder, drawn, layout, { displayModeBar: false });
  };

  const sortBy = (table, column, button) => {
    const head = button.closest("th");
    const rising = head.getAttribute("aria-sort") === "descending";
    table.querySelectorAll("thead th").forEach((each) => each.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", rising ? "ascending" : "descending");
    const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
    const before = (one, other) => {
      const [a, b] = [key(one), key(other)];
      const numbers = a !== "" && b !== "" && !isNaN(a) && !isNaN(b);
      return numbers ? Number(a) - Number(b) : a.localeCompare(b);
    };
    const body = table.tBodies[0];
    const rows = [...body.rows].sort(before);
    body.append(...(rising ? rows : rows.reverse()));
  };

  document.querySelectorAll("table").forEach((table) => {
    table.querySelectorAll("thead button").forEach((button, column) => {
      const cell = table.tBodies[0].rows[0]?.cells[column];
      if (cell?.classList.contains("number")) button.closest("th").classList.add("number");
      button.addEventListener("click", () => sortBy(table, column, button));
    });
  });
  document.querySelectorAll("select[data-plot]").forEach((select) => {
    select.addEventListener("change", () => {
      chosen[select.dataset.plot] = Number(select.value);
      draw(select.dataset.plot);
    });
  });

  const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
  const seen = new IntersectionObserver(
    (entries) => {
      for (const entry of entries.filter((each) => each.isIntersecting)) {
        links.forEach((link) => link.removeAttribute("aria-current"));
        links.get(entry.target.id)?.setAttribute("aria-current", "true");
      }
    },
    { rootMargin: "-15% 0px -75%" },
  );
  document.querySelectorAll("main section").forEach((section) => seen.observe(section));

  const widths = {};
  const sized = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const name = target.id.slice("plot-".length);
      // Drawing changes the height, which is no business of the observer's own turn.
      if (widths[name] !== target.clientWidth) requestAnimationFrame(() => draw(name));
      widths[name] = target.clientWidth;
    }
  });
  for (const name of Object.keys(data.plots)) {
    const holder = document.getElementById(`plot-${name}`);
    draw(name);
    widths[name] = holder.clientWidth;
    sized.observe(holder);
  }
  dark.addEventListener("change", () => Object.keys(data.plots).forEach(draw));
})();
