// Tables that can be sorted and filtered, by mouse and keyboard. Without this file they are plain tables in rank order.
"use strict";

const NEXT = { none: "first", first: "second", second: "none" };
const compare = new Intl.Collator("en", { numeric: true, sensitivity: "base" }).compare;

function keyOf(row, column, kind) {
  const cell = row.cells[column];
  if (kind === "number") {
    return "key" in cell.dataset ? Number(cell.dataset.key) : null;
  }
  return cell.textContent.trim();
}

function sorted(rows, column, kind, state) {
  if (state === "none" || kind === "rank") {
    return state === "second" ? [...rows].reverse() : rows;
  }
  const keyed = rows.map((row) => ({ row, key: keyOf(row, column, kind) }));
  const known = keyed.filter((item) => item.key !== null);
  const missing = keyed.filter((item) => item.key === null); // last, whichever way
  const ascending = (kind === "number") === (state === "second"); // numbers: the highest first
  const order = kind === "number" ? (a, b) => a.key - b.key : (a, b) => compare(a.key, b.key);
  known.sort((a, b) => (ascending ? order(a, b) : order(b, a)));
  return [...known, ...missing].map((item) => item.row);
}

function ariaOf(kind, state) {
  if (state === "none") return "none";
  return (kind === "number") === (state === "second") ? "ascending" : "descending";
}

function isFixed(row) {
  return "fixed" in row.dataset; // the classifier's own line, and numbers of others
}

function makeSortable(table) {
  const groups = [...table.tBodies].map((body) => ({ body, inRankOrder: [...body.rows] }));
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => {
    const kind = header.dataset.sort;
    if (!kind) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    header.setAttribute("aria-sort", "none");
    let state = "none";
    button.addEventListener("click", () => {
      state = NEXT[header.getAttribute("aria-sort") === "none" ? "none" : state];
      headers.forEach((other) => {
        if (other.dataset.sort) other.setAttribute("aria-sort", "none");
      });
      header.setAttribute("aria-sort", ariaOf(kind, state));
      groups.forEach(({ body, inRankOrder }) => {
        const moved = sorted(inRankOrder.filter((row) => !isFixed(row)), column, kind, state);
        body.append(...inRankOrder.map((row) => (isFixed(row) ? row : moved.shift())));
      });
    });
  });
}

function makeFilterable(controls) {
  const table = document.getElementById(controls.dataset.controls);
  const words = controls.querySelector("[data-filter]");
  const unflagged = controls.querySelector("[data-unflagged]");
  const status = controls.querySelector("[data-status]");
  const rows = [...table.tBodies].flatMap((body) => [...body.rows]).filter((row) => !isFixed(row));
  function update() {
    const asked = words.value.trim().toLowerCase().split(/\s+/);
    let shown = 0;
    rows.forEach((row) => {
      const text = `${row.cells[1].textContent} ${row.parentNode.dataset.of}`.toLowerCase();
      const fits = asked.every((word) => text.includes(word));
      row.hidden = !fits || (unflagged.checked && "flagged" in row.dataset);
      shown += row.hidden ? 0 : 1;
    });
    [...table.tBodies].forEach((body) => {
      body.hidden = shown < rows.length && ![...body.rows].some((row) => !isFixed(row) && !row.hidden);
    });
    status.textContent = shown === rows.length ? "" : `${shown} of ${rows.length} rows`;
  }
  words.addEventListener("input", update);
  unflagged.addEventListener("change", update);
  controls.hidden = false;
  update(); // a browser that goes back keeps what was typed
}

document.querySelectorAll("table[data-sortable]").forEach(makeSortable);
document.querySelectorAll("[data-controls]").forEach(makeFilterable);
