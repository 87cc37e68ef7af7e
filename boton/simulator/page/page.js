"use strict";
// Plays customers by hand over the simulator's public API. Everything that comes from outside is set as text, never as HTML.

const DEFAULT_BUSINESS = "5491138620812";
const POLL_MS = 1000;
const READ_AFTER_MS = 500;
const SHOWN = 300;
const TICKS = { waiting: "◷", sent: "✓", delivered: "✓✓", read: "✓✓" };
const TICK_WORDS = { waiting: "en espera", sent: "enviado", delivered: "entregado", read: "leído" };

const $ = (id) => document.getElementById(id);
const state = { number: null, phone: null, phones: [], drawn: "" };

async function call(method, path, body) {
  const options = { method };
  if (body !== undefined) {
    options.headers = { "Content-Type": "application/json" };
    options.body = JSON.stringify(body);
  }
  const response = await fetch(path, options);
  const answer = response.status === 204 ? {} : await response.json();
  if (!response.ok) throw new Error(answer.detail || response.statusText);
  return answer;
}

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

let noticeTimer = 0;
function showNotice(text) {
  $("notice").textContent = text;
  $("notice").hidden = false;
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => { $("notice").hidden = true; }, 6000);
}

/** Runs what the user asked for; a refusal is shown in words. */
function attempt(action) {
  return (event) => {
    event.preventDefault();
    action().catch((error) => showNotice(error.message));
  };
}

const clock = (timestamp) => new Date(timestamp).toLocaleTimeString("es", { hour: "2-digit", minute: "2-digit" });
const day = (timestamp) => new Date(timestamp).toLocaleDateString("es", { weekday: "long", day: "numeric", month: "long" });

// ---------------------------------------------------------------- phones

function drawPhones() {
  const list = state.phones.map((phone) => {
    const item = element("li");
    const button = element("button");
    button.type = "button";
    button.dataset.number = phone.number;
    button.setAttribute("aria-current", String(phone.number === state.number));
    button.append(avatar(phone), element("span", "title", phone.name || `+${phone.number}`));
    button.append(element("time", "", phone.lastMessage ? clock(phone.lastMessage.timestamp) : ""));
    button.append(element("span", "preview", phone.lastMessage ? phone.lastMessage.text.slice(0, 120) : "Sin mensajes"));
    button.addEventListener("click", () => openChat(phone.number));
    item.append(button);
    return item;
  });
  const focused = document.activeElement?.dataset?.number;
  $("phones").replaceChildren(...list);
  if (focused) $("phones").querySelector(`[data-number="${focused}"]`)?.focus();
  $("no-phones").hidden = list.length > 0;
}

function avatar(phone) {
  const made = element("span", "avatar", initials(phone));
  made.setAttribute("aria-hidden", "true");
  made.classList.toggle("online", phone.online && phone.registered);
  made.classList.toggle("absent", !phone.registered);
  return made;
}

const initials = (phone) => (phone.name ? [...phone.name.trim()][0].toUpperCase() : phone.number.slice(-2));

function openChat(number) {
  state.number = number;
  state.drawn = "";
  toggleSettings(false);
  $("empty").hidden = true;
  $("chat").hidden = false;
  $("messages").replaceChildren();
  refresh();
  $("text").focus();
}

async function addPhone() {
  const phone = await call("PUT", `/phones/${encodeURIComponent($("new-number").value.trim() || "-")}`, {});
  $("new-number").value = "";
  openChat(phone.number);
}

// ---------------------------------------------------------------- one chat

function drawHeader(phone, typing) {
  $("chat-number").textContent = phone.name ? `${phone.name} · +${phone.number}` : `+${phone.number}`;
  $("chat-avatar").textContent = initials(phone);
  $("chat-avatar").className = avatar(phone).className;
  $("chat-state").textContent = typing ? "el negocio está escribiendo…" : stateWords(phone);
  $("chat-state").classList.toggle("typing", Boolean(typing));
  state.phone = phone;
}

function stateWords(phone) {
  if (!phone.registered) return "sin WhatsApp";
  return phone.online ? "en línea" : "sin conexión: lo que llegue espera";
}

function drawMessages(messages) {
  const drawn = $("business").value + JSON.stringify(messages);
  if (drawn === state.drawn) return;
  state.drawn = drawn;
  const list = $("messages");
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 60;
  let lastDay = "";
  const items = [];
  for (const message of messages) {
    if (day(message.timestamp) !== lastDay) {
      lastDay = day(message.timestamp);
      items.push(element("li", "day", lastDay));
    }
    items.push(bubble(message));
  }
  const first = list.childElementCount === 0;
  list.replaceChildren(...items);
  if (atEnd || first) list.scrollTop = list.scrollHeight;
}

function bubble(message) {
  const mine = message.from === state.number;
  const item = element("li", mine ? "mine" : "theirs");
  item.classList.toggle("described", message.type !== "text");
  item.append(element("span", "body", message.text));
  const other = mine ? message.to : message.from;
  const elsewhere = other === $("business").value ? "" : `+${other} · `;
  const meta = element("span", "meta", elsewhere + clock(message.timestamp));
  const ticks = element("span", `ticks ${message.status}`, TICKS[message.status] || "");
  ticks.title = TICK_WORDS[message.status] || message.status;
  ticks.setAttribute("aria-label", ticks.title);
  meta.append(ticks);
  item.append(meta);
  return item;
}

async function sendMessage() {
  const type = $("type").value;
  const text = $("text").value;
  const body = { to: $("business").value, type };
  if (text.trim() || type === "text") body.text = text;
  await call("POST", `/phones/${state.number}/messages`, body);
  $("text").value = "";
  $("type").value = "text";
  await refresh();
  $("messages").scrollTop = $("messages").scrollHeight;
}

// ---------------------------------------------------------------- settings of a phone

function loadSettings(phone) {
  $("online").checked = phone.online;
  $("registered").checked = phone.registered;
  $("reads").checked = phone.readAfterMs !== null;
  $("name").value = phone.name || "";
  $("auto-reply").value = phone.autoReply || "";
}

async function saveSettings() {
  await call("PUT", `/phones/${state.number}`, {
    online: $("online").checked,
    registered: $("registered").checked,
    readAfterMs: $("reads").checked ? (state.phone.readAfterMs ?? READ_AFTER_MS) : null,
    name: $("name").value.trim() || null,
    autoReply: $("auto-reply").value.trim() || null,
  });
  toggleSettings(false);
  await refresh();
}

function toggleSettings(open) {
  if (open && state.phone) loadSettings(state.phone);
  $("settings").hidden = !open;
  $("settings-toggle").setAttribute("aria-expanded", String(open));
}

// ---------------------------------------------------------------- polling

function drawBusinesses(businesses) {
  const known = businesses.map((each) => ({ ...each }));
  if (known.length === 0) known.push({ phone: DEFAULT_BUSINESS, connected: false });
  known.sort((one, other) => Number(other.phone === DEFAULT_BUSINESS) - Number(one.phone === DEFAULT_BUSINESS));
  const words = known.map((each) => `+${each.phone}${each.connected ? "" : " (desconectado)"}`);
  const select = $("business");
  if (words.join() === [...select.options].map((option) => option.textContent).join()) return;
  const chosen = select.value;
  select.replaceChildren(...known.map((each, index) => {
    const option = element("option", "", words[index]);
    option.value = each.phone;
    return option;
  }));
  if (known.some((each) => each.phone === chosen)) select.value = chosen;
}

async function refreshLists() {
  const [phones, businesses] = await Promise.all([call("GET", "/phones"), call("GET", "/businesses")]);
  state.phones = phones.phones;
  drawPhones();
  drawBusinesses(businesses.businesses);
}

async function refreshChat() {
  const number = state.number;
  if (number === null) return;
  const [phone, chat] = await Promise.all([
    call("GET", `/phones/${number}`),
    call("GET", `/phones/${number}/messages?limit=${SHOWN}`),
  ]);
  if (number !== state.number) return;
  drawHeader(phone, chat.typing);
  drawMessages(chat.messages);
}

async function refresh() {
  try {
    await Promise.all([refreshLists(), refreshChat()]);
  } catch (error) {
    showNotice(`El simulador no responde: ${error.message}`);
  }
}

async function poll() {
  if (!document.hidden) await refresh();
  setTimeout(poll, POLL_MS);
}

$("new-phone").addEventListener("submit", attempt(addPhone));
$("composer").addEventListener("submit", attempt(sendMessage));
$("settings").addEventListener("submit", attempt(saveSettings));
$("settings-toggle").addEventListener("click", () => toggleSettings($("settings").hidden));
poll();
