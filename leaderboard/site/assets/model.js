"use strict";
// A model's page: each task's tables and charts are made from the page's JSON when its part is opened.
(() => {
  const { element, number, say } = zoobench;
  const parts = new Map(JSON.parse(document.getElementById("json-model").textContent).map((part) => [part.anchor, part]));
  const rates = (values) => values.map((value) => (value === null ? null : value / 1000));
  const { escaped, ink, style } = zoobench.charts;
  const span = { range: [-0.02, 1.02] };
  const quiet = () => ink("soft");
  const titled = (text, more = {}) => ({ ...more, title: { text, standoff: 10 } });
  const drawn = (trace, place, more = {}) => {
    const { color, symbol } = style(place);
    return { mode: "lines", ...trace, line: { color, width: 2, ...more }, marker: { color, symbol, size: 8, ...(trace.marker ?? {}) } };
  };

  // --- scores by label ---------------------------------------------------------------------------------------------
  const METRICS = ["f1", "precision", "recall", "specificity", "roc_auc", "average_precision"];

  const bar = (value) => {
    const fill = element("i");
    fill.style.width = `${100 * value}%`;
    return element("span", { class: "meter", "aria-hidden": "true" }, fill);
  };
  const score = (value) => {
    const cell = element("td", { class: "number", "data-value": value ?? "" }, number(value, 3));
    if (value !== null) cell.append(bar(value));
    return cell;
  };
  const count = (value) => element("td", { class: "number", "data-value": value ?? "" }, number(value));
  const share = (part, whole) => {
    const cell = element("td", { class: "number", "data-value": whole ? part / whole : "" });
    if (whole) cell.append(`${number((100 * part) / whole, 1)} % `, element("span", { class: "soft" }, `(${number(part)} / ${number(whole)})`));
    else cell.append("–");
    return cell;
  };

  // A table with a row for each label: `columns` are [key, title, what makes the cell of a label].
  const labelTable = (part, name, id, columns) => {
    const heads = [["label", say("js.model.label")], ...columns].map(([key, title]) =>
      element("th", { scope: "col", "data-key": key, "data-kind": key === "label" ? "text" : "number", class: key !== "label" && "number" }, title),
    );
    const rows = part.labels.map((label, place) =>
      element("tr", {}, element("th", { scope: "row" }, label), ...columns.map(([, , cell]) => cell(place))),
    );
    const caption = element("caption", {}, element("span", {}, say(`${id}.caption`)));
    const table = element("table", { "data-table": name }, caption, element("thead", {}, element("tr", {}, ...heads)));
    table.append(element("tbody", {}, ...rows));
    return [element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": say(id) }, table), table];
  };

  const scores = (part, name) => {
    const columns = [["support", say("js.model.rows"), (place) => count(part.scores.support?.[place])]];
    for (const metric of METRICS.filter((each) => part.scores[each])) {
      columns.push([metric, say(`js.model.${metric}`), (place) => score(part.scores[metric][place])]);
    }
    if (part.thresholds.length === part.labels.length) {
      const threshold = (place) => element("td", { class: "number", "data-value": part.thresholds[place] }, number(part.thresholds[place], 3));
      columns.push(["threshold", say("js.model.threshold"), threshold]);
    }
    return labelTable(part, name, "js.model.labels", columns);
  };

  // Counts of a label: positives, negatives, those that are rightly sure, and those that are wrongly.
  const sureness = (part, name) => {
    const of = (place) => part.figures.sure[place];
    return labelTable(part, name, "js.model.sure", [
      ["positives", say("js.model.sure.positives"), (place) => share(of(place)[2], of(place)[0])],
      ["negatives", say("js.model.sure.negatives"), (place) => share(of(place)[3], of(place)[1])],
      ["missed", say("js.model.sure.missed"), (place) => count(of(place)[4])],
      ["invented", say("js.model.sure.invented"), (place) => count(of(place)[5])],
    ]);
  };

  // --- curves ------------------------------------------------------------------------------------------------------
  const choice = {};

  const curve = (found, name, place, more) => ({
    ...drawn({ x: rates(found.x), y: rates(found.y), customdata: rates(found.t), name: escaped(name) }, place, more),
    hovertemplate: `${escaped(name)}: %{x:.3f}, %{y:.3f} (${say("js.model.threshold")} %{customdata:.3f})<extra></extra>`,
  });

  const operating = (part, label, which) => {
    const [tn, fp, fn, tp] = zoobench.counts(part, label);
    const precision = tp + fp ? tp / (tp + fp) : null;
    const [x, y] = which === "roc" ? [fp / (fp + tn), tp / (tp + fn)] : [tp / (tp + fn), precision];
    const name = say("js.model.decided");
    const { color } = style(0);
    return { x: [x], y: [y], mode: "markers", name, marker: { color, symbol: "star", size: 14 }, hovertemplate: `${name}: %{x:.3f}, %{y:.3f}<extra></extra>` };
  };

  const curves = (part, which) => {
    const { figures } = part;
    const chosen = choice[part.anchor] ?? "";
    const line = which === "roc" ? "linear" : "vh";
    const metric = which === "roc" ? "roc_auc" : "average_precision";
    const few = figures.drawn.length <= 7;
    const named = (label) => `${part.labels[label]} ${number(part.scores[metric][label], 3)}`;
    const traces = [];
    figures.drawn.forEach((label, at) => {
      const found = figures[which][at];
      if (!found || (chosen !== "" && Number(chosen) !== label)) return;
      const alone = chosen !== "";
      const more = few || alone ? { shape: line } : { shape: line, color: quiet(), width: 1 };
      const trace = curve(found, named(label), alone ? 0 : at, more);
      if (!few && !alone) Object.assign(trace, { showlegend: false, opacity: 0.55 });
      traces.push(trace);
      if (alone) traces.push(operating(part, label, which));
    });
    const micro = figures.micro[which];
    if (micro && !(few && chosen === "" && part.labels.length === 1)) {
      const more = few || chosen !== "" ? { shape: line, color: quiet(), dash: "dash" } : { shape: line, width: 3 };
      traces.push(curve(micro, say("js.model.pooled"), 0, more));
    }
    if (which === "roc") traces.push(chance());
    return { data: traces, layout: { hovermode: "closest", xaxis: titled(say(`js.model.${which}.x`), span), yaxis: titled(say(`js.model.${which}.y`), span) } };
  };

  const chance = () => ({ x: [0, 1], y: [0, 1], mode: "lines", line: { color: quiet(), width: 1, dash: "dot" }, hoverinfo: "skip", showlegend: false });

  const picker = (part, holder, charts) => {
    const select = element("select", {}, element("option", { value: "" }, say("js.model.all")));
    select.append(...part.figures.drawn.map((label) => element("option", { value: label }, part.labels[label])));
    select.addEventListener("change", () => {
      choice[part.anchor] = select.value;
      charts.forEach((name) => zoobench.redraw(name));
    });
    holder.append(element("label", { class: "pick" }, element("span", {}, say("js.model.curves.of")), " ", select));
  };

  // --- thresholds, reliability, history ----------------------------------------------------------------------------
  const sweep = (part) => {
    const words = part.kind === "multilabel" ? ["f1_weighted", "hamming"] : ["coverage", "accuracy"];
    const traces = ["validation", "test"].flatMap((fold, dashed) =>
      ["first", "second"].map((which, place) => {
        const found = part.figures.sweeps[fold];
        const name = `${say(`js.model.${words[place]}`)}, ${say(`js.model.${fold}`)}`;
        return {
          ...drawn({ x: rates(found.thresholds), y: rates(found[which]), name }, place, dashed ? { dash: "dash" } : {}),
          hovertemplate: `${name}: %{y:.3f} (%{x:.2f})<extra></extra>`,
        };
      }),
    );
    const shapes = part.kind === "multilabel" ? chosenAt(part.thresholds) : [];
    return { data: traces, layout: { shapes, xaxis: titled(say(part.kind === "multilabel" ? "js.model.threshold" : "js.model.confidence"), span), yaxis: span } };
  };

  const chosenAt = (thresholds) => {
    const [low, high] = [Math.min(...thresholds), Math.max(...thresholds)];
    const shape = { yref: "paper", y0: 0, y1: 1, line: { color: quiet(), width: 2, dash: "dot" }, name: say("js.model.chosen"), showlegend: true };
    if (low === high) return [{ ...shape, type: "line", x0: low, x1: low }];
    return [{ ...shape, type: "rect", x0: low, x1: high, fillcolor: quiet(), opacity: 0.18, line: { width: 0 } }];
  };

  const reliability = (part) => {
    const found = part.figures.reliability;
    const traces = ["before", "after"].map((when, place) => {
      const bins = found[when];
      const name = `${say(`js.model.${when}`)} (${number(bins.error, 3)})`;
      return {
        ...drawn({ x: rates(bins.confidence), y: rates(bins.frequency), customdata: bins.counts, name, mode: "lines+markers" }, place),
        hovertemplate: `${name}: ${say("js.model.said")} %{x:.3f}, ${say("js.model.true")} %{y:.3f} (%{customdata:,})<extra></extra>`,
      };
    });
    const axes = { xaxis: titled(say("js.model.said"), span), yaxis: titled(say("js.model.true"), span) };
    return { data: [...traces, chance()], layout: { hovermode: "closest", ...axes } };
  };

  const history = (part, wanted) => {
    const names = Object.keys(part.history.series).filter((name) => /loss/.test(name) === wanted);
    const traces = names.map((name, place) => ({
      ...drawn({ x: part.history.steps, y: part.history.series[name], name: escaped(name), mode: "lines+markers" }, place),
      hovertemplate: `${escaped(name)}: %{y:.4f} (%{x})<extra></extra>`,
    }));
    return { data: traces, layout: { xaxis: titled(say("js.model.step")) } };
  };

  // --- a part ------------------------------------------------------------------------------------------------------
  const fill = (holder) => {
    const part = parts.get(holder.id);
    if (!part || holder.dataset.filled) return;
    holder.dataset.filled = "yes";
    const tables = [[".labels", scores, "labels"], ...(part.figures.sure ? [[".sure", sureness, "sure"]] : [])];
    for (const [place, make, name] of tables) {
      const [scroll, table] = make(part, `${name}-${holder.dataset.place}`);
      holder.querySelector(place).append(scroll);
      zoobench.table(table);
    }
    holder.querySelector(".confusion")?.append(zoobench.confusion(part));
    const picks = holder.querySelector(".picks");
    if (picks && part.figures.drawn) picker(part, picks, ["roc", "recall"].map((which) => `${which}-${holder.dataset.place}`));
  };

  const announce = (holder) => {
    const part = parts.get(holder.id);
    if (!part) return;
    const at = (name) => `${name}-${holder.dataset.place}`;
    if (part.figures.drawn) {
      zoobench.chart(at("roc"), () => curves(part, "roc"));
      zoobench.chart(at("recall"), () => curves(part, "recall"));
      zoobench.chart(at("sweep"), () => sweep(part));
      zoobench.chart(at("reliability"), () => reliability(part));
    }
    zoobench.chart(at("losses"), () => history(part, true));
    zoobench.chart(at("scores"), () => history(part, false));
  };

  zoobench.ready(() => {
    const holders = [...document.querySelectorAll("details.part")];
    const jump = () => {
      const wanted = holders.find((each) => each.id === location.hash.slice(1));
      if (wanted) {
        wanted.open = true;
        wanted.scrollIntoView();
      }
    };
    for (const holder of holders) {
      announce(holder);
      holder.addEventListener("toggle", () => holder.open && fill(holder));
      if (holder.open) fill(holder);
    }
    jump();
    addEventListener("hashchange", jump);
    addEventListener("beforeprint", () => holders.forEach((holder) => (holder.open = true)));
  });
})();
