// A small line chart of values over steps, one line a series, drawn as SVG; what it shows is said in words too.
import { say } from "./rpc.js";

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, LEFT, TOP, BOTTOM, RIGHT] = [600, 200, 56, 14, 28, 14];

export class LineChart {
  constructor(figure) {
    this.figure = figure;
    this.svg = figure.querySelector("svg");
    this.words = figure.querySelector("figcaption ul");
    this.clear();
  }

  clear() {
    this.series = new Map();
    this.figure.hidden = true;
  }

  add(name, x, y) {
    const points = this.series.get(name) ?? [];
    // A training that goes on after a checkpoint tells of its last look again.
    if (points.length && points.at(-1)[0] >= x) points.pop();
    this.series.set(name, [...points, [x, y]]);
    this.draw();
  }

  draw() {
    this.figure.hidden = false;
    const every = [...this.series.values()].flat();
    const [low, high] = range(every.map(([, y]) => y));
    const right = Math.max(...every.map(([x]) => x), 1);
    const at = ([x, y]) => [
      LEFT + (x / right) * (WIDTH - LEFT - RIGHT),
      TOP + (1 - (y - low) / (high - low)) * (HEIGHT - TOP - BOTTOM),
    ];
    const parts = [];
    for (const value of [low, (low + high) / 2, high]) {
      const [, y] = at([0, value]);
      parts.push(element("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y, y2: y, class: "grid" }));
      parts.push(element("text", { x: LEFT - 8, y: y + 4, "text-anchor": "end" }, figure(value)));
    }
    parts.push(element("text", { x: WIDTH - RIGHT, y: HEIGHT - 6, "text-anchor": "end" }, say("train.steps", { n: right })));
    let number = 0;
    for (const points of this.series.values()) {
      const drawn = points.map(at);
      const line = drawn.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ");
      parts.push(element("polyline", { points: line, class: `series series-${number % 3}` }));
      for (const [cx, cy] of drawn) parts.push(element("circle", { cx, cy, r: 3.5, class: `dot series-${number % 3}` }));
      number += 1;
    }
    this.svg.replaceChildren(...parts);
    this.words.replaceChildren(...[...this.series].map(([name, points], index) => {
      const values = points.map(([, y]) => y);
      const item = document.createElement("li");
      item.className = `key series-${index % 3}`;
      item.textContent = say("train.chart", {
        stage: name, n: values.length, first: figure(values[0]), last: figure(values.at(-1)), best: figure(Math.min(...values)),
      });
      return item;
    }));
  }
}

const figure = (value) => Number(value.toPrecision(4)).toString();

// A little room above and below, and something to divide by.
function range(values) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const room = (high - low) * 0.08 || Math.abs(high) * 0.1 || 1;
  return [low - room, high + room];
}

function element(name, attributes, text = "") {
  const one = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) one.setAttribute(key, value);
  one.textContent = text;
  return one;
}
