"use strict";
// Differences of any pair of configurations from their stored bootstrap replicates: as benchmarks/paired.py, in the page.
(() => {
  const { data, state, say, number, element } = zoobench;
  const { style, ink, escaped } = zoobench.charts;
  const LEVEL = 0.95;
  const SIGNIFICANCE = 0.05;
  const rows = new Map(data.rows.map((row) => [row.id, row]));
  const metrics = new Map(data.metrics.map((metric) => [metric.name, metric]));
  const unpacked = new Map();

  const replicates = (row, metric) => {
    const held = row.drawn[metric];
    if (!held) return null;
    const key = `${row.id} ${metric}`;
    if (!unpacked.has(key)) {
      const bytes = Uint8Array.from(atob(held.steps), (letter) => letter.charCodeAt(0));
      const view = new DataView(bytes.buffer);
      const values = new Float64Array(bytes.length / 2);
      for (let place = 0; place < values.length; place += 1) {
        const steps = view.getUint16(2 * place, true);
        values[place] = steps === 65535 ? NaN : held.low + steps * held.step;
      }
      unpacked.set(key, values);
    }
    return unpacked.get(key);
  };

  // NumPy's linear quantile of sorted values.
  const quantile = (sorted, share) => {
    const at = share * (sorted.length - 1);
    const below = Math.floor(at);
    const above = Math.min(below + 1, sorted.length - 1);
    return sorted[below] + (sorted[above] - sorted[below]) * (at - below);
  };

  const holm = (values) => {
    const known = values.map((p, place) => ({ p, place })).filter(({ p }) => p !== null);
    known.sort((a, b) => a.p - b.p);
    const corrected = values.map(() => null);
    let highest = 0;
    known.forEach(({ p, place }, rank) => {
      highest = Math.max(highest, Math.min(1, (known.length - rank) * p));
      corrected[place] = highest;
    });
    return corrected;
  };

  const between = (one, other, defined, coarse) => {
    const apart = new Float64Array(defined.length);
    let [below, above] = [0, 0];
    defined.forEach((at, place) => {
      const gap = one[at] - other[at];
      apart[place] = Math.abs(gap) < coarse ? 0 : gap; // what steps cannot tell apart is no difference
      below += apart[place] <= 0;
      above += apart[place] >= 0;
    });
    apart.sort();
    return {
      low: quantile(apart, (1 - LEVEL) / 2),
      high: quantile(apart, (1 + LEVEL) / 2),
      p: Math.min(1, (2 * (Math.min(below, above) + 1)) / (apart.length + 1)),
    };
  };

  const differences = (chosen, metric) => {
    const samples = chosen.map((row) => replicates(row, metric));
    const length = Math.max(0, ...samples.map((each) => each?.length ?? 0));
    const known = samples.map((each) => each !== null && each.length === length);
    const defined = [];
    for (let at = 0; at < length; at += 1) {
      // A replicate that leaves the metric undefined for one is left out for all.
      if (samples.every((each, place) => !known[place] || !Number.isNaN(each[at]))) defined.push(at);
    }
    const enough = 2 * defined.length > length;
    const found = [];
    chosen.forEach((a, i) => {
      chosen.slice(i + 1).forEach((b, offset) => {
        const j = i + 1 + offset;
        const [one, other] = [a.figures[metric] ?? null, b.figures[metric] ?? null];
        const difference = one === null || other === null ? null : one - other;
        const coarse = Math.max(2e-7, (a.drawn[metric]?.step ?? 0) + (b.drawn[metric]?.step ?? 0));
        const interval = enough && known[i] && known[j] ? between(samples[i], samples[j], defined, coarse) : { low: null, high: null, p: null };
        found.push({ metric, a, b, difference, ...interval });
      });
    });
    const corrected = holm(found.map(({ p }) => p));
    return found.map((each, place) => ({ ...each, holm: corrected[place], better: better(each, corrected[place]) }));
  };

  const better = ({ metric, a, b, difference }, p) => {
    if (p === null || p >= SIGNIFICANCE || !difference) return null;
    return difference > 0 === metrics.get(metric).higher ? a : b;
  };
  zoobench.differences = (ids, metric) => differences(ids.map((id) => rows.get(id)), metric);

  const signed = (value) => (value === null ? "–" : (value > 0 ? "+" : value < 0 ? "−" : "") + number(Math.abs(value), 4));
  const p = (value) => (value === null ? "–" : value < 0.0005 ? `<${number(0.001, 3)}` : number(value, 3));
  const words = (found) => {
    const title = metrics.get(found.metric).title;
    const names = { a: found.a.name, b: found.b.name, metric: title };
    if (found.p === null) return say("js.compare.unknown", names);
    if (!found.better) return say("js.compare.tie", names);
    const [one, other] = found.better === found.a ? [found.a, found.b] : [found.b, found.a];
    return say("js.compare.better", { a: one.name, b: other.name, metric: title });
  };

  const pick = document.getElementById("pick");
  const metricSelect = document.getElementById("metric");
  const selects = [];
  const cell = (text, attributes = {}) => element("td", { class: "number", ...attributes }, text);
  const chosenRows = () => [...new Set(selects.map((select) => select.value))].filter(Boolean).map((id) => rows.get(id));
  const chosenMetrics = () => (metricSelect.value ? [metricSelect.value] : data.paired);
  let found = [];

  const showSide = (chosen) => {
    const table = document.getElementById("side");
    const head = element("tr", {}, element("th", { scope: "col" }, say("js.compare.what")));
    head.append(...chosen.map((row) => element("th", { scope: "col", class: "number" }, row.name)));
    const line = (title, cells) => element("tr", {}, element("th", { scope: "row" }, title), ...cells);
    const lines = data.metrics.map((metric) => {
      const values = chosen.map((row) => row.figures[metric.name] ?? null);
      const known = values.filter((value) => value !== null);
      const best = metric.higher === null || !known.length ? null : metric.higher ? Math.max(...known) : Math.min(...known);
      const title = metric.higher === false ? `${metric.title} (${say("js.compare.lower")})` : metric.title;
      const cells = values.map((value) =>
        value !== null && value === best
          ? element("td", { class: "number" }, element("b", {}, number(value, 3)))
          : cell(number(value, 3)),
      );
      return line(title, cells);
    });
    const text = (name) => chosen.map((row) => cell(row[name]));
    lines.push(...data.costs.map((cost) => line(cost.title, chosen.map((row) => cell(number(row.figures[cost.name] ?? null))))));
    lines.push(line(say("js.compare.place"), text("place")), line(say("js.compare.seeds"), text("seeds")));
    table.tHead.replaceChildren(head);
    table.tBodies[0].replaceChildren(...lines);
  };

  const showPairs = () => {
    const table = document.getElementById("pairs");
    const titles = ["metric", "a", "b", "difference", "interval", "p", "holm", "verdict"];
    const head = titles.map((name) => element("th", { scope: "col" }, say(`js.compare.${name}`)));
    table.tHead.replaceChildren(element("tr", {}, ...head));
    table.tBodies[0].replaceChildren(
      ...found.map((each) =>
        element(
          "tr",
          {},
          element("td", {}, metrics.get(each.metric).title),
          element("th", { scope: "row" }, each.a.name),
          element("td", {}, each.b.name),
          cell(signed(each.difference)),
          cell(each.low === null ? "–" : `[${signed(each.low)}; ${signed(each.high)}]`),
          cell(p(each.p)),
          cell(p(each.holm)),
          element("td", {}, words(each)),
        ),
      ),
    );
  };

  const show = () => {
    const chosen = chosenRows();
    document.getElementById("machines").hidden = new Set(chosen.map((row) => row.place)).size < 2;
    found = chosenMetrics().flatMap((metric) => differences(chosen, metric));
    showSide(chosen);
    showPairs();
    const first = data.paired[0];
    const verdict = document.getElementById("verdict");
    if (chosen.length < 2) verdict.textContent = say("js.compare.two");
    else if (!first) verdict.textContent = say("js.compare.nothing");
    else verdict.textContent = differences(chosen, first).map(words).join(" ");
    zoobench.redraw("differences");
  };

  zoobench.chart("differences", () => {
    const drawn = found.filter((each) => each.low !== null && each.difference !== null);
    if (!drawn.length) return null;
    const label = (each) =>
      `${escaped(each.a.name)} − ${escaped(each.b.name)}${metricSelect.value ? "" : `: ${escaped(metrics.get(each.metric).title)}`}`;
    const { color } = style(0);
    return {
      data: [
        {
          type: "scatter",
          mode: "markers",
          x: drawn.map((each) => each.difference),
          y: drawn.map((_, place) => place),
          text: drawn.map((each) => `<b>${label(each)}</b><br>${signed(each.difference)} [${signed(each.low)}; ${signed(each.high)}]<br>p ${p(each.holm)} (Holm)`),
          hovertemplate: "%{text}<extra></extra>",
          error_x: {
            type: "data",
            symmetric: false,
            array: drawn.map((each) => Math.max(0, each.high - each.difference)),
            arrayminus: drawn.map((each) => Math.max(0, each.difference - each.low)),
            color,
            thickness: 1.6,
            width: 4,
          },
          marker: { color, size: 9, symbol: drawn.map((each) => (each.better ? "circle" : "circle-open")) },
        },
      ],
      layout: {
        height: 90 + 30 * drawn.length,
        hovermode: "closest",
        showlegend: false,
        shapes: [{ type: "line", x0: 0, x1: 0, y0: 0, y1: 1, yref: "paper", line: { color: ink("soft"), width: 1.4, dash: "dot" } }],
        xaxis: { title: { text: say("js.compare.axis") } },
        yaxis: {
          tickmode: "array",
          tickvals: drawn.map((_, place) => place),
          ticktext: drawn.map((each) => (label(each).length > 60 ? `${label(each).slice(0, 59)}…` : label(each))),
          range: [drawn.length - 0.5, -0.5],
          zeroline: false,
        },
      },
    };
  });

  const changed = () => {
    state.set({
      models: chosenRows().map((row) => row.id).join(","),
      metric: metricSelect.selectedIndex ? metricSelect.value || "all" : null,
    });
    show();
  };

  const restore = () => {
    const asked = (state.get("models") ?? "").split(",").filter((id) => rows.has(id));
    const ids = asked.length ? asked : data.rows.slice(0, 2).map((row) => row.id);
    selects.forEach((select, place) => {
      select.value = ids[place] ?? "";
    });
    const metric = state.get("metric");
    metricSelect.value = metric === "all" ? "" : metric ?? data.paired[0] ?? "";
    if (metricSelect.selectedIndex < 0) metricSelect.selectedIndex = 0;
    show();
  };

  for (let place = 0; place < Math.min(data.most, data.rows.length); place += 1) {
    const select = element("select", { id: `model-${place + 1}` });
    select.append(element("option", { value: "" }, say("js.compare.none")));
    select.append(...data.rows.map((row) => element("option", { value: row.id }, row.name)));
    select.addEventListener("change", changed);
    selects.push(select);
    pick.append(element("label", {}, element("span", {}, say("js.compare.model", { number: place + 1 })), select));
  }
  metricSelect.append(...data.paired.map((name) => element("option", { value: name }, metrics.get(name).title)));
  metricSelect.append(element("option", { value: "" }, say("js.compare.all")));
  metricSelect.addEventListener("change", changed);
  state.onChange(restore);
  restore();
})();
