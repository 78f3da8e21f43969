"use strict";
(() => {
  const BUCKETS = 1200; // of the screen; each shows its smallest and its largest value
  const MOST_EXPECTED = 6; // rows in one of them: with more, the expected values hide the values
  const data = JSON.parse(document.getElementById("data").textContent);
  const plot = document.getElementById("plot");
  if (typeof Plotly === "undefined") {
    plot.innerHTML = '<p class="failed">plotly.min.js must lie in the folder of this page: copy it along.</p>';
    return;
  }
  const unpack = (text, type) => new type(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  const time = unpack(data.time, Float64Array), value = unpack(data.value, Float64Array);
  const [expected, lower, upper, score] = ["expected", "lower", "upper", "score"].map((k) => unpack(data[k], Float32Array));
  const trouble = unpack(data.trouble, Uint8Array);
  const rows = time.length;
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();

  // The first row at or after a moment.
  const rowAt = (moment) => {
    let low = 0, high = rows;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (time[middle] < moment) low = middle + 1; else high = middle;
    }
    return low;
  };
  // The row in [start, end) where `of` is most extreme; -1 where it is never a number.
  const extreme = (of, sign, start, end) => {
    let best = -1;
    for (let i = start; i < end; i++) if (!Number.isNaN(of[i]) && (best < 0 || sign * of[i] > sign * of[best])) best = i;
    return best;
  };
  const mean = (of, start, end) => {
    let sum = 0, count = 0;
    for (let i = start; i < end; i++) if (Number.isFinite(of[i])) { sum += of[i]; count++; }
    return count ? sum / count : null;
  };
  const number = (x) => (Number.isFinite(x) ? x : null);
  // The columns to draw for the rows [first, last), thinned to the screen.
  const columns = (first, last) => {
    const c = { valueX: [], valueY: [], x: [], lower: [], upper: [], expected: [], score: [], badX: [], badY: [], badText: [] };
    const size = Math.max(1, Math.ceil((last - first) / BUCKETS));
    for (let start = first; start < last; start += size) {
      const end = Math.min(start + size, last);
      const low = extreme(value, -1, start, end), high = extreme(value, 1, start, end);
      if (low < 0) { c.valueX.push(time[start]); c.valueY.push(null); }
      else for (const i of low === high ? [low] : [Math.min(low, high), Math.max(low, high)]) { c.valueX.push(time[i]); c.valueY.push(value[i]); }
      c.x.push(time[start]);
      c.lower.push(mean(lower, start, end));
      c.upper.push(mean(upper, start, end));
      c.expected.push(size > MOST_EXPECTED ? null : mean(expected, start, end));
      c.score.push(number(score[Math.max(extreme(score, 1, start, end), start)]));
      let worst = -1;
      for (let i = start; i < end; i++) if (trouble[i] && (worst < 0 || score[i] > score[worst])) worst = i;
      if (worst >= 0) { c.badX.push(time[worst]); c.badY.push(number(value[worst])); c.badText.push("score " + score[worst].toFixed(2)); }
    }
    return c;
  };
  // The band may be far wider than the values: the axis follows the values, and the band as far as there is room.
  const heights = (c) => {
    let low = Infinity, high = -Infinity;
    for (const y of c.valueY) if (y !== null) { low = Math.min(low, y); high = Math.max(high, y); }
    if (low > high) return [0, 1];
    const room = high - low || Math.abs(high) || 1;
    const bandLow = Math.min(...c.lower.filter((y) => y !== null)), bandHigh = Math.max(...c.upper.filter((y) => y !== null));
    return [Math.max(Math.min(low, bandLow), low - room * 0.35) - room * 0.05, Math.min(Math.max(high, bandHigh), high + room * 0.35) + room * 0.05];
  };
  const traces = (c) => {
    const line = { mode: "lines", hoverinfo: "skip", type: "scatter" };
    return [
      { ...line, x: c.x, y: c.lower, line: { width: 0, shape: "linear" } },
      { ...line, x: c.x, y: c.upper, line: { width: 0 }, fill: "tonexty", fillcolor: colour("band") },
      { ...line, x: c.x, y: c.expected, name: "expected", hoverinfo: "y+name", line: { width: 1.2, dash: "dash", color: colour("accent") } },
      { ...line, x: c.valueX, y: c.valueY, name: "value", hoverinfo: "x+y+name", line: { width: 1.3, color: colour("value") } },
      { x: c.badX, y: c.badY, text: c.badText, name: "anomalous", mode: "markers", type: "scatter", hoverinfo: "x+y+text",
        marker: { size: 8, color: colour("bad"), line: { width: 1.5, color: colour("card") } } },
      { ...line, x: c.x, y: c.score, yaxis: "y2", name: "score", hoverinfo: "y+name", line: { width: 1, color: colour("bad"), shape: "hv" }, fill: "tozeroy", fillcolor: colour("band") },
    ];
  };
  const axis = () => ({ gridcolor: colour("line"), zerolinecolor: colour("line"), linecolor: colour("line"), tickfont: { color: colour("soft") } });
  const layout = (c, range) => ({
    margin: { l: 62, r: 14, t: 8, b: 34 }, showlegend: false, hovermode: "x unified", dragmode: "zoom", uirevision: "one",
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { family: "inherit", color: colour("ink"), size: 12 },
    hoverlabel: { bgcolor: colour("card"), bordercolor: colour("line"), font: { color: colour("ink") } },
    xaxis: { ...axis(), type: "date", range, anchor: "y2" },
    yaxis: { ...axis(), domain: [0.27, 1], range: heights(c), fixedrange: true },
    yaxis2: { ...axis(), domain: [0, 0.2], range: [0, 1.02], fixedrange: true, tickvals: [0, data.threshold, 1], title: { text: "score", font: { size: 11, color: colour("soft") } } },
    shapes: [{ type: "line", xref: "paper", x0: 0, x1: 1, yref: "y2", y0: data.threshold, y1: data.threshold, line: { color: colour("soft"), width: 1, dash: "dot" } }],
  });
  const whole = () => {
    const low = time.reduce((a, b) => Math.min(a, b), Infinity), high = time.reduce((a, b) => Math.max(a, b), -Infinity);
    return low === high ? [low - 1000, high + 1000] : [low, high];
  };
  let shown = whole();
  const draw = () => {
    const c = columns(Math.max(rowAt(shown[0]) - 1, 0), Math.min(rowAt(shown[1]) + 2, rows));
    return Plotly.react(plot, traces(c), layout(c, shown), { responsive: true, scrollZoom: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] });
  };
  const show = (range) => { shown = range; draw(); };
  const moment = (x) => (typeof x === "number" ? x : Date.parse(String(x).replace(" ", "T") + "Z"));

  const list = document.getElementById("list"), body = list.querySelector("tbody");
  const cell = (row, text, kind) => { const made = row.insertCell(); made.textContent = text ?? "–"; if (kind) made.className = kind; return made; };
  for (const e of data.episodes) {
    const row = body.insertRow(), button = document.createElement("button");
    button.type = "button";
    button.textContent = e.from;
    row.insertCell().append(button);
    cell(row, e.rows.toLocaleString("en"), "number");
    cell(row, e.value, "number");
    cell(row, e.expected, "number");
    cell(row, e.lower === null && e.upper === null ? null : (e.lower ?? "−∞") + " … " + (e.upper ?? "∞"), "number");
    cell(row, e.verdict === "anomalous" ? e.view : e.verdict + ", " + e.view);
    cell(row, e.rarity, "number");
    cell(row, e.score.toFixed(3), "number");
    row.addEventListener("click", () => {
      body.querySelector(".is-shown")?.classList.remove("is-shown");
      row.classList.add("is-shown");
      const around = Math.max(60, 3 * e.rows);
      show([time[Math.max(e.first - around, 0)], time[Math.min(e.last + around, rows - 1)]]);
      plot.scrollIntoView({ block: "nearest", behavior: "smooth" });
    });
  }
  list.hidden = data.episodes.length === 0;
  list.querySelector("h2").textContent = data.count > data.episodes.length
    ? `The ${data.episodes.length} rarest of ${data.count} anomalies` : data.count === 1 ? "The anomaly" : `${data.count} anomalies`;
  document.getElementById("all").addEventListener("click", () => show(whole()));

  draw().then(() => {
    plot.on("plotly_relayout", (change) => {
      if (change["xaxis.autorange"]) show(whole());
      else if (change["xaxis.range[0]"] !== undefined) show([moment(change["xaxis.range[0]"]), moment(change["xaxis.range[1]"])]);
    });
    plot.on("plotly_doubleclick", () => { show(whole()); return false; });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
    document.body.dataset.drawn = "yes";
  });
})();
