"use strict";
// The chart of a task: quality against what it costs, of the rows that the table shows, on one machine at a time.
(() => {
  const { data, state, say, number } = zoobench;
  const { style, ink, escaped } = zoobench.charts;
  const field = Object.fromEntries(data.fields.map((name, place) => [name, place]));
  const cost = document.getElementById("pareto-cost");
  const place = document.getElementById("pareto-place");
  const told = document.getElementById("pareto-front");
  if (!cost) return;

  // None of the others is as good for less, or better for as much.
  const front = (rows, by) => {
    const sign = data.higher ? -1 : 1;
    const order = [...rows].sort((a, b) => a[by] - b[by] || sign * (a[field.value] - b[field.value]));
    let best = Infinity;
    return order.filter((row) => {
      const better = sign * row[field.value] < best;
      best = Math.min(best, sign * row[field.value]);
      return better;
    });
  };

  const chosen = () => {
    const shown = new Set(zoobench.tables.board.visible);
    const by = field[cost.value];
    return data.rows.filter(
      (row) => shown.has(row[field.id]) && row[field.place] === Number(place.value) && row[by] > 0,
    );
  };

  // Powers of ten; within two decades, where those would leave the axis bare, 2 and 5 times them as well.
  const ticks = (costs) => {
    const steps = Math.max(...costs) < 100 * Math.min(...costs) ? [1, 2, 5] : [1];
    const each = (digits) => Array.from({ length: 24 }, (_, power) => digits.map((digit) => digit * 10 ** (power - 9))).flat();
    const values = each(steps);
    // By itself plotly sets as many minor ticks to each unit of the last decade as to the first.
    return {
      tickvals: values,
      ticktext: values.map((value) => value.toLocaleString(zoobench.language, { maximumSignificantDigits: 3 })),
      minor: { ticks: "outside", tickmode: "array", tickvals: each([1, 2, 3, 4, 5, 6, 7, 8, 9]) },
    };
  };
  const bounds = (row) => (row[field.low] === null ? "" : ` [${number(row[field.low], 3)}; ${number(row[field.high], 3)}]`);

  const traces = (rows, best, by) => {
    const unit = cost.selectedOptions[0].textContent;
    const points = data.frameworks.map((name, framework) => {
      const mine = rows.filter((row) => row[field.framework] === framework);
      const { color, symbol } = style(framework);
      return {
        type: "scatter",
        mode: "markers",
        name: escaped(name),
        x: mine.map((row) => row[by]),
        y: mine.map((row) => row[field.value]),
        error_y: {
          type: "data",
          symmetric: false,
          array: mine.map((row) => (row[field.high] ?? row[field.value]) - row[field.value]),
          arrayminus: mine.map((row) => row[field.value] - (row[field.low] ?? row[field.value])),
          color,
          thickness: 1,
          width: 0,
        },
        text: mine.map(
          (row) =>
            `<b>${escaped(row[field.name])}</b><br>${escaped(data.metric)} ${number(row[field.value], 3)}${bounds(row)}<br>${escaped(unit)} ${number(row[by])}`,
        ),
        hovertemplate: "%{text}<extra></extra>",
        marker: { opacity: 1, size: mine.map((row) => (best.includes(row) ? 12 : 8)), color, symbol, line: { width: 1, color: ink("card") } },
      };
    });
    const line = {
      type: "scatter",
      mode: "lines",
      x: best.map((row) => row[by]),
      y: best.map((row) => row[field.value]),
      line: { shape: "hv", dash: "dot", width: 1.6, color: ink("soft") },
      hoverinfo: "skip",
      name: say("js.pareto.front"),
    };
    return [line, ...points.filter((trace) => trace.x.length)];
  };

  zoobench.chart("pareto", () => {
    const by = field[cost.value];
    const rows = chosen();
    const best = front(rows, by);
    return {
      data: traces(rows, best, by),
      layout: {
        hovermode: "closest",
        showlegend: true,
        xaxis: {
          type: "log",
          title: { text: escaped(cost.selectedOptions[0].textContent) + say("js.pareto.log") },
          tickmode: "array",
          ...ticks(rows.map((row) => row[by])),
        },
        yaxis: { title: { text: escaped(data.metric) } },
      },
    };
  });

  const tell = () => {
    const by = field[cost.value];
    const best = front(chosen(), by);
    const names = best.map((row) => `${row[field.name]} (${number(row[field.value], 3)}, ${number(row[by])})`);
    told.textContent = best.length ? say("js.pareto.told", { names: names.join("; ") }) : say("js.pareto.none");
    zoobench.redraw("pareto");
  };

  const changed = () => {
    state.set({ "pareto.cost": cost.selectedIndex ? cost.value : null, "pareto.place": place.selectedIndex ? place.value : null });
    tell();
  };
  const restore = () => {
    for (const [name, select] of [["pareto.cost", cost], ["pareto.place", place]]) {
      select.value = state.get(name) ?? select.options[0].value;
      if (select.selectedIndex < 0) select.selectedIndex = 0;
    }
    tell();
  };
  cost.addEventListener("change", changed);
  place.addEventListener("change", changed);
  state.onChange(restore);
  restore();
  zoobench.tables.board.table.addEventListener("rows", tell);
})();
