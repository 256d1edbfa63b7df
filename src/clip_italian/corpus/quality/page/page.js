// The rating page. State lives in localStorage under the sample's fingerprint; nothing leaves the browser but the CSV
// that the rater downloads. Captions reach the page through textContent alone.
const { sample, columns, translations } = JSON.parse(document.getElementById("data").textContent);
const KEY = `clip-italian-sheet:${sample}`;
const $ = (id) => document.getElementById(id);
const buttons = [...document.querySelectorAll("#scale button")];

const empty = () => ({ name: "", at: 0, ratings: {}, comments: {} });
let state = { ...empty(), ...restore() };

function restore() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY));
    return kept && typeof kept === "object" ? kept : {};
  } catch {
    return {};
  }
}

function keep() {
  try {
    localStorage.setItem(KEY, JSON.stringify(state));
  } catch {
    tell("Questo browser non conserva i voti: scarica il CSV prima di chiudere la pagina.");
  }
}

function tell(text) {
  $("notice").textContent = text;
  $("notice").hidden = text === "";
}

const rated = (i) => translations[i].id in state.ratings;
const ratedCount = () => translations.filter((_, i) => rated(i)).length;

function nextOpen(from) {
  for (let step = 0; step < translations.length; step++) {
    const i = (from + step) % translations.length;
    if (!rated(i)) return i;
  }
  return -1;
}

function show() {
  const one = translations[state.at];
  const done = ratedCount();
  $("english").textContent = one.english;
  $("italian").textContent = one.italian;
  $("comment").value = state.comments[one.id] ?? "";
  $("position").textContent = `${state.at + 1} di ${translations.length}`;
  $("progress").value = done / translations.length;
  $("count").textContent = `${done} su ${translations.length}`;
  $("back").disabled = state.at === 0;
  $("forward").disabled = state.at === translations.length - 1;
  $("next-open").hidden = done === translations.length;
  for (const button of buttons) {
    button.setAttribute("aria-pressed", String(state.ratings[one.id] === Number(button.value)));
  }
  [...$("map").children].forEach((cell, i) => {
    cell.firstChild.classList.toggle("rated", rated(i));
    if (i === state.at) cell.firstChild.setAttribute("aria-current", "true");
    else cell.firstChild.removeAttribute("aria-current");
  });
}

function go(to) {
  state.at = Math.min(Math.max(0, to), translations.length - 1);
  keep();
  show();
}

function rate(value) {
  const { id } = translations[state.at];
  if (value === 0) delete state.ratings[id];
  else state.ratings[id] = value;
  if (ratedCount() === translations.length && value !== 0) {
    tell("Hai valutato tutte le traduzioni. Grazie! Ora scarica il CSV.");
    keep();
    show();
  } else {
    tell("");
    if (value === 0) go(state.at);
    else go(state.at + 1 < translations.length ? state.at + 1 : nextOpen(0));
  }
}

// As in the CSV written beside this page: an apostrophe before what a spreadsheet would run as a formula.
const START = /^\s*[=+\-@＝＋－＠]|^[\s]*['\t\r\n]/;
const guarded = (text) => (START.test(text) ? `'${text}` : text);
const quoted = (cell) => (/[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);

function csv() {
  const rows = translations.map(({ id, english, italian }) => [
    id, guarded(english), guarded(italian), String(state.ratings[id] ?? ""), guarded(state.comments[id] ?? ""),
  ]);
  return "\ufeff" + [columns, ...rows].map((row) => row.map(quoted).join(",") + "\r\n").join("");
}

function download() {
  const name = state.name.trim().toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "");
  if (name === "") {
    tell("Scrivi prima il tuo nome: dà il nome al file.");
    $("name").focus();
    return;
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv;charset=utf-8" }));
  link.download = `${name}.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  const left = translations.length - ratedCount();
  tell(left === 0 ? `Scaricato ${name}.csv.` : `Scaricato ${name}.csv; ne restano ${left} da valutare.`);
}

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches("input, textarea");
  if (event.key === "Escape") event.target.blur();
  if (typing) return;
  if (["0", "1", "2", "3", "4"].includes(event.key)) rate(Number(event.key));
  else if (event.key === "ArrowLeft") go(state.at - 1);
  else if (event.key === "ArrowRight") go(state.at + 1);
  else if (event.key === "c") {
    event.preventDefault();
    $("comment").focus();
  }
}

translations.forEach((_, i) => {
  const cell = document.createElement("li");
  const button = document.createElement("button");
  button.type = "button";
  button.setAttribute("aria-label", `Traduzione ${i + 1}`);
  button.addEventListener("click", () => go(i));
  cell.append(button);
  $("map").append(cell);
});
buttons.forEach((button) => button.addEventListener("click", () => rate(Number(button.value))));
$("back").addEventListener("click", () => go(state.at - 1));
$("forward").addEventListener("click", () => go(state.at + 1));
$("next-open").addEventListener("click", () => go(Math.max(0, nextOpen(state.at + 1))));
$("download").addEventListener("click", download);
$("name").value = state.name;
$("name").addEventListener("input", () => {
  state.name = $("name").value;
  keep();
});
$("comment").addEventListener("input", () => {
  const { id } = translations[state.at];
  if ($("comment").value.trim() === "") delete state.comments[id];
  else state.comments[id] = $("comment").value;
  keep();
});
$("reset").addEventListener("click", () => {
  if (!confirm("Cancellare tutti i voti e i commenti di questo foglio?")) return;
  state = { ...empty(), name: state.name };
  tell("");
  keep();
  show();
});
document.addEventListener("keydown", press);
show();
